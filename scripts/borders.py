"""Make src/whichland/geo/borders.npz and territories.csv from country-coder's borders.

    npm pack @rapideditor/country-coder && tar xzf rapideditor-country-coder-*.tgz
    python scripts/borders.py package/src/data/borders.json

The polygons are cut along each other, so that no two overlap and neighbours share every vertex; one is cut in two
along a line that is known exactly (Western Sahara). `borders.npz` holds rings of whole 1e-5 degrees, the exterior
anticlockwise, holes clockwise; `territories.csv` says for each polygon which country is answered, and why.
Licence of the data: ISC, see src/whichland/geo/countries.LICENSE.
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import shapely

GEO = Path(__file__).parent.parent / "src/whichland/geo"
UNITS = 100_000  # to a degree: the precision that the source is written in

# Reserved codes that ISO has not assigned: their land belongs to a country proper. XK is not ISO's either, but in
# general use, and nothing else says Kosovo.
RESERVED = {"AC": "SH", "CP": "FR", "CQ": "GG", "DG": "IO", "EA": "ES", "FX": "FR", "IC": "ES", "TA": "SH"}
NOT_A_COUNTRY = {"EU", "UN"}

# The border of Morocco and Western Sahara is the parallel of 27°40' N; country-coder divides the territory along
# the berm, and gives what lies west of it to Morocco.
SAHARA_PARALLEL = round((27 + 40 / 60) * UNITS)
SAHARA_WEST = "EH-west"

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
    "IL": "with the Golan Heights and East Jerusalem, for which the source has no polygon",
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
    "SS": "with Abyei, which Sudan claims, and the Ilemi Triangle, which Kenya holds",
    "TW": "ISO 3166-1 has the code",
    "UA": "with Donetsk and Luhansk, within the borders of 1991; Crimea is a polygon of its own",
    "XK": "a code that ISO leaves to users, and in general use; Serbia claims it",
}


def main() -> None:
    """Read borders.json, write both files."""
    features = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["features"]
    drawn = [feature for feature in features if feature["geometry"]]
    names = [feature["properties"].get("iso1A2") or feature["properties"]["wikidata"] for feature in drawn]
    polygons = dict(zip(names, disjoint([polygon(feature) for feature in drawn]), strict=True))
    south = shapely.box(-20 * UNITS, 20 * UNITS, 0, SAHARA_PARALLEL)
    polygons[SAHARA_WEST] = polygons["MA"] & south
    polygons["MA"] -= south
    polygons = dict(zip(polygons, disjoint(list(polygons.values())), strict=True))
    table = territories(drawn)
    write_polygons([polygons[row["id"]] for row in table])
    with (GEO / "territories.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    print(f"{len(table)} polygons, {(GEO / 'borders.npz').stat().st_size:,} bytes")


def polygon(feature: dict[str, Any]) -> shapely.Geometry:
    """The feature's polygons, in whole units."""
    drawn = shapely.geometry.shape(feature["geometry"])
    return shapely.transform(drawn, lambda degrees: np.rint(degrees * UNITS))


def disjoint(polygons: list[shapely.Geometry]) -> list[shapely.Geometry]:
    """Cut polygons along each other's edges; what lies in two goes to the smaller."""
    lines = shapely.union_all(shapely.boundary(np.array(polygons)), grid_size=1)
    faces = np.array(shapely.get_parts(shapely.polygonize(shapely.get_parts(lines))))
    face, owner = shapely.STRtree(polygons).query(shapely.point_on_surface(faces), predicate="within")
    smallest_first = np.argsort(shapely.area(np.array(polygons))[owner], kind="stable")
    face, owner = face[smallest_first], owner[smallest_first]
    _, first = np.unique(face, return_index=True)
    face, owner = face[first], owner[first]
    return [shapely.coverage_union_all(faces[face[owner == number]]) for number in range(len(polygons))]


def territories(drawn: list[dict[str, Any]]) -> list[dict[str, str]]:
    """One row a polygon: its id, name, the code answered, the sovereign state, and why; sorted by name."""
    rows = [territory(feature["properties"]) for feature in drawn]
    code, why = DECIDED[SAHARA_WEST]
    west = {"id": SAHARA_WEST, "name": "Western Sahara west of the berm", "code": code, "sovereign": "EH"}
    return sorted([*rows, {**west, "why": why}], key=lambda row: (row["code"], row["name"]))


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


def write_polygons(polygons: list[shapely.Geometry]) -> None:
    """Write all rings, closed, as differences between one vertex and the next, which compress best."""
    parts, owner = shapely.get_parts(shapely.orient_polygons(np.array(polygons)), return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    vertices = np.rint(shapely.get_coordinates(rings)).astype(np.int32)
    np.savez_compressed(
        GEO / "borders.npz",
        lon=np.diff(vertices[:, 0], prepend=np.int32(0)),
        lat=np.diff(vertices[:, 1], prepend=np.int32(0)),
        vertices=shapely.get_num_coordinates(rings).astype(np.int32),
        feature=owner[part].astype(np.int16),
    )


if __name__ == "__main__":
    main()
