"""Make src/whichland/geo/borders.npz and territories.csv from country-coder's polygons and OpenStreetMap's lines.

    npm pack @rapideditor/country-coder@5.6.1 @geo-maps/countries-maritime-10m@0.6.0
    for package in *.tgz; do mkdir -p $package.d; tar xzf $package -C $package.d; done
    python scripts/borders.py rapideditor*.d/package/src/data/borders.json geo-maps*.d/package/map.geo.json

country-coder says which polygons there are, whose they are, and how far they reach out to sea, with coarse lines; the
other map has OpenStreetMap's lines of 2017, to 10 m. Both are cut along each other. A piece that one country alone has
on the fine map goes to it; one that two have, or none, stays where country-coder drew it, but for CLAIMED. What comes
of it is simplified, so that neighbours share every vertex. docs/decisions/borders.md reasons it and lists what moved.

`borders.npz` holds rings of whole 1e-5 degrees, the exterior anticlockwise, holes clockwise; `territories.csv` says
for each polygon which country is answered, and why. Licences of the data: ODbL for the lines, ISC for the rest, see
src/whichland/geo/borders.LICENSE.
"""

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from whichland.geo.countries import COUNTRIES

GEO = Path(__file__).parent.parent / "src/whichland/geo"
UNITS = 100_000  # to a degree: the precision that country-coder is written in
TOLERANCE = 0.004  # degrees: how coarse the lines become
ENCLOSED = 0.98  # the share of a country within another's polygon from which on the other only counts it as its own

# Reserved codes that ISO has not assigned: their land belongs to a country proper. XK is not ISO's either, but in
# general use, and nothing else says Kosovo.
RESERVED = {"AC": "SH", "CP": "FR", "CQ": "GG", "DG": "IO", "EA": "ES", "FX": "FR", "IC": "ES", "TA": "SH"}
NOT_A_COUNTRY = {"EU", "UN"}

# The border of Morocco and Western Sahara is the parallel of 27°40' N; country-coder divides the territory along
# the berm, and gives what lies west of it to Morocco.
SAHARA_PARALLEL = round((27 + 40 / 60) * UNITS)
SAHARA_WEST = "EH-west"

# Land that two countries have on the fine map, which becomes a polygon of its own: name, code, why.
CLAIMED = {
    ("SD", "SS", "abyei"): ("Abyei", "SD", "ISO and UN maps keep it with Sudan until its status is settled"),
    ("SD", "SS", "kafia-kingi"): ("Kafia Kingi", "SD", "held by Sudan, claimed by South Sudan as its own until 1960"),
    ("IL", "PS", "east-jerusalem"): ("East Jerusalem", "PS", "Palestinian by the UN; Israel has held it since 1967"),
}
BETWEEN_THEM = 26 * UNITS  # the meridian: Kafia Kingi lies west, Abyei east of it

DATE_LINE = 179.5 * UNITS  # what lies beyond

# Territories with a border to their state on land. Around others, the fine map counts the sea as the state's.
BORDER_ON_LAND = ("HK", "MO", "AX", "GF", "SX", "MF")

# Land that changed hands after the fine map was made, in which the coarse one is right: west, south, east, north.
CHANGED_SINCE = {"Barak": (72.72, 40.63, 72.81, 40.71)}

# What is answered otherwise than by the rule in `answer`: feature -> (code, why).
DECIDED = {
    "Q7835": ("UA", "ISO 3166-2 and the UN list it under Ukraine; Russia has held it since 2014"),
    "Q23681": ("CY", "ISO has no code for it; the UN knows one Cyprus. The buffer zone lies in it"),
    "Q620634": ("", "claimed by nobody: Egypt and Sudan each hold it to be the other's"),
    SAHARA_WEST: ("EH", "ISO's EH is the whole territory; Morocco holds the part west of the berm"),
}
NOTES = {
    "AZ": "with Nagorno-Karabakh and Nakhchivan",
    "CU": "with the naval base at Guantanamo Bay",
    "CY": "without the north and the British bases, which are polygons of their own",
    "EG": "with Hala'ib, which Sudan claims",
    "EH": "the part east of the berm",
    "FX": "the part of France in Europe",
    "GE": "with Abkhazia and South Ossetia, which have no ISO code",
    "IL": "with the Golan Heights, for which neither source has a polygon",
    "KR": "with the Liancourt Rocks (Dokdo)",
    "MD": "with Transnistria, which has no ISO code",
    "MA": "north of 27°40' N",
    "PK": "with the parts of Kashmir that it holds; the line of control is the border",
    "Q6736667": "with the part of Kashmir that it holds, and Arunachal Pradesh",
    "Q19188": "with Aksai Chin and the Paracel Islands",
    "Q27329": "with the southern Kurils, which Japan claims",
    "Q36678": "West Bank without East Jerusalem",
    "Q39760": "Gaza Strip",
    "Q9143535": "British sovereign base on Cyprus, without an ISO code",
    "Q9206745": "British sovereign base on Cyprus, without an ISO code",
    "SO": "with Somaliland, which has no ISO code",
    "SS": "with the Ilemi Triangle, which Kenya holds",
    "TW": "ISO 3166-1 has the code",
    "UA": "with Donetsk and Luhansk, within the borders of 1991; Crimea is a polygon of its own",
    "XK": "a code that ISO leaves to users, and in general use; Serbia claims it",
}


def main() -> None:
    """Read both maps, write both files."""
    features, fine = (json.loads(Path(path).read_text(encoding="utf-8"))["features"] for path in sys.argv[1:3])
    drawn = [feature for feature in features if feature["geometry"]]
    names = [feature["properties"].get("iso1A2") or feature["properties"]["wikidata"] for feature in drawn]
    polygons = dict(zip(names, disjoint([polygon(feature) for feature in drawn]), strict=True))
    south = shapely.box(-20 * UNITS, 20 * UNITS, 0, SAHARA_PARALLEL)
    polygons[SAHARA_WEST] = polygons["MA"] & south
    polygons["MA"] -= south
    rows = territories(drawn)
    code_of = {country.alpha3: code for code, country in COUNTRIES.items()}
    claims = {code_of[feature["properties"]["A3"]]: polygon(feature) for feature in fine}
    polygons = refined(polygons, {row["id"]: row for row in rows}, claims, cut([*polygons.values(), *claims.values()]))
    for (*_, name), (title, code, why) in CLAIMED.items():
        rows.append({"id": name, "name": title, "code": code, "sovereign": code, "why": why})
    rows.sort(key=lambda row: (row["code"], row["name"]))
    coverage = shapely.coverage_simplify([polygons[row["id"]] for row in rows], TOLERANCE * UNITS)
    write_polygons("borders.npz", disjoint([shapely.transform(one, np.rint) for one in coverage]))
    with (GEO / "territories.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


Polygons = dict[str, shapely.Geometry]


def refined(coarse: Polygons, rows: dict[str, dict[str, str]], claims: Polygons, faces: np.ndarray) -> Polygons:
    """The coarse polygons, by id, with lines where the fine map, the polygons of each code, has them."""
    inside = shapely.point_on_surface(faces)
    drawn_in, claimed_by = owners(inside, list(coarse.values())), owners(inside, list(claims.values()))
    code, area = list(claims), shapely.area(faces)
    parent = enclosing(claimed_by, area)
    own = {one: [name for name, row in rows.items() if row["code"] == one] for one in code}
    near = {one: shapely.STRtree([coarse[name] for name in names]) for one, names in own.items()}
    changed = shapely.multipolygons([shapely.box(*np.array(box) * UNITS) for box in CHANGED_SINCE.values()])
    pieces: dict[str, list[int]] = defaultdict(list)
    for number, claimants in enumerate(claimed_by):
        name = list(coarse)[drawn_in[number][0]] if drawn_in[number] else None
        who = sorted(code[one] for one in claimants if one not in {parent.get(other) for other in claimants})
        only = who[0] if len(who) == 1 and not changed.contains(inside[number]) else None
        # country-coder's polygons leave a gap along the date line
        if only and (goes_over(rows[name], only) if name else abs(inside[number].x) > DATE_LINE):
            name = own[only][near[only].nearest(inside[number])]  # of the country's polygons
        west = inside[number].x < BETWEEN_THEM
        for *both, claimed in CLAIMED:
            if who == both and claimed != ("abyei" if west else "kafia-kingi"):
                name = claimed
        if name is not None:
            pieces[name].append(number)
    return {name: shapely.coverage_union_all(faces[some]) for name, some in pieces.items()}


def goes_over(row: dict[str, str], to: str) -> bool:
    """Whether what lies in a coarse polygon goes to the country that has it on the fine map."""
    own = row["code"]
    around_territory = to == row["sovereign"] != own and own not in BORDER_ON_LAND
    # China counts as its own what lies off Taiwan
    return to != own and not around_territory and (own, to) != ("TW", "CN")


def owners(points: Sequence[shapely.Point], polygons: list[shapely.Geometry]) -> list[list[int]]:
    """The numbers of the polygons that each point lies in."""
    parts, owner = shapely.get_parts(np.array(polygons), return_index=True)
    shapely.prepare(parts)
    point, part = shapely.STRtree(parts).query(points)
    within = shapely.contains_properly(parts[part], np.array(points)[point])
    found: list[list[int]] = [[] for _ in points]
    for number, one in zip(point[within], owner[part[within]], strict=True):
        found[number].append(int(one))
    return found


def enclosing(claimed_by: list[list[int]], area: np.ndarray) -> dict[int, int]:
    """The country that counts another, a territory or an enclave, as within its own polygon."""
    total: dict[int, float] = defaultdict(float)
    both: dict[tuple[int, int], float] = defaultdict(float)
    for who, size in zip(claimed_by, area, strict=True):
        for one in who:
            total[one] += size
            for other in who:
                both[one, other] += size
    return {a: b for (a, b), size in both.items() if size > ENCLOSED * total[a] and total[b] > total[a]}


def polygon(feature: dict[str, Any]) -> shapely.Geometry:
    """The feature's polygons, in whole units."""
    drawn = shapely.make_valid(shapely.geometry.shape(feature["geometry"]))
    parts = shapely.get_parts(shapely.make_valid(shapely.transform(drawn, lambda degrees: np.rint(degrees * UNITS))))
    return shapely.union_all(parts[shapely.area(parts) > 0])


def disjoint(polygons: list[shapely.Geometry]) -> list[shapely.Geometry]:
    """Cut polygons along each other's edges; what lies in two goes to the smaller."""
    faces = cut(polygons)
    face, owner = shapely.STRtree(polygons).query(shapely.point_on_surface(faces), predicate="within")
    smallest_first = np.argsort(shapely.area(np.array(polygons))[owner], kind="stable")
    face, owner = face[smallest_first], owner[smallest_first]
    _, first = np.unique(face, return_index=True)
    face, owner = face[first], owner[first]
    return [shapely.coverage_union_all(faces[face[owner == number]]) for number in range(len(polygons))]


def cut(polygons: list[shapely.Geometry]) -> np.ndarray:
    """The pieces that the edges of all polygons part each other into."""
    lines = shapely.union_all(shapely.boundary(np.array(polygons)), grid_size=1)
    return np.array(shapely.get_parts(shapely.polygonize(shapely.get_parts(lines))))


def territories(drawn: list[dict[str, Any]]) -> list[dict[str, str]]:
    """One row a polygon: its id, name, the code answered, the sovereign state, and why."""
    rows = [territory(feature["properties"]) for feature in drawn]
    code, why = DECIDED[SAHARA_WEST]
    west = {"id": SAHARA_WEST, "name": "Western Sahara west of the berm", "code": code, "sovereign": "EH"}
    return [*rows, {**west, "why": why}]


def territory(p: dict[str, Any]) -> dict[str, str]:
    """The row of one polygon."""
    name = p.get("iso1A2") or p["wikidata"]
    code, why = DECIDED[name] if name in DECIDED else (answer(p), NOTES.get(name, ""))
    sovereign = code if name in DECIDED else p.get("country", code)
    if not why and code != sovereign:
        why = f"ISO gives it {code}; it belongs to {sovereign}"
    return {"id": name, "name": p["nameEn"], "code": code, "sovereign": sovereign, "why": why}


def answer(p: dict[str, Any]) -> str:
    """The polygon's own ISO code, else that of the territory it is a part of, else the state it belongs to."""
    own = p.get("iso1A2")
    if own:
        return RESERVED.get(own, own)
    groups = [group for group in p["groups"] if len(group) == 2 and group.isalpha()]
    assigned = [RESERVED.get(group, group) for group in groups if group not in NOT_A_COUNTRY]
    return assigned[0] if assigned else p["country"]


def write_polygons(name: str, polygons: Sequence[shapely.Geometry]) -> None:
    """Write the rings of polygons in whole units, as differences between one vertex and the next: so they pack best.

    Rings are closed, the outer ones run anticlockwise, holes clockwise; `feature` numbers the polygon of each.
    """
    parts, owner = shapely.get_parts(shapely.orient_polygons(np.array(polygons)), return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    vertices = np.rint(shapely.get_coordinates(rings)).astype(np.int32)
    np.savez_compressed(
        GEO / name,
        lon=np.diff(vertices[:, 0], prepend=np.int32(0)),
        lat=np.diff(vertices[:, 1], prepend=np.int32(0)),
        vertices=shapely.get_num_coordinates(rings).astype(np.int32),
        feature=owner[part].astype(np.int16),
    )
    print(f"{name}: {len(parts):,} polygons, {len(vertices):,} vertices, {(GEO / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
