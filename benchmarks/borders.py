"""Where the packaged borders and other maps say different countries: every area of land over 100 km² and 5 km deep.

    npm pack @rapideditor/country-coder@5.6.1 world-atlas@2.0.2
    for package in *.tgz; do mkdir -p $package.d; tar xzf $package -C $package.d; done
    python benchmarks/borders.py rapideditor*.d/package/src/data/borders.json world-atlas*.d/package/countries-10m.json

country-coder's polygons are where ours come from, with its own lines; the other is Natural Earth's map 1:10m, an
independent one. The land is asked every 0.05 degrees. An area's depth is how far its deepest point lies from the next
border of ours.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.ndimage import label

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))

STEP = 0.05  # degrees
LEAST_KM2, LEAST_KM = 100, 5


def country_coder(file: Path) -> tuple[list[str], list[shapely.Geometry]]:
    """Codes and polygons of country-coder's borders.json, by our rule for territories."""
    from borders import territories

    drawn = [f for f in json.loads(file.read_text(encoding="utf-8"))["features"] if f["geometry"]]
    code = {row["id"]: row["code"] for row in territories(drawn)}
    ids = [f["properties"].get("iso1A2") or f["properties"]["wikidata"] for f in drawn]
    return [code[name] for name in ids], [shapely.geometry.shape(f["geometry"]) for f in drawn]


def natural_earth(file: Path) -> tuple[list[str], list[shapely.Geometry]]:
    """Codes and polygons of world-atlas' TopoJSON; what has no ISO code is empty."""
    from whichland.geo.countries import find_country

    topology = json.loads(file.read_text(encoding="utf-8"))
    scale, translate = (np.array(topology["transform"][name]) for name in ("scale", "translate"))
    arcs = [np.cumsum(arc, axis=0) * scale + translate for arc in topology["arcs"]]

    def polygon(rings: list[list[int]]) -> shapely.Geometry:
        lines = [np.concatenate([arcs[n] if n >= 0 else arcs[~n][::-1] for n in ring]) for ring in rings]
        lines = [line for line in lines if len(line) > 3]
        return shapely.make_valid(shapely.Polygon(lines[0], lines[1:])) if lines else shapely.Polygon()

    codes, shapes = [], []
    for country in topology["objects"]["countries"]["geometries"]:
        parts = {"Polygon": [country.get("arcs")], "MultiPolygon": country.get("arcs")}.get(country["type"], [])
        for part in parts:
            codes.append(find_country(country["properties"]["name"]) or "")
            shapes.append(polygon(part))
    return codes, shapes


def ask(codes: list[str], shapes: list[shapely.Geometry], lat: NDArray[Any], lon: NDArray[Any]) -> NDArray[Any]:
    """The code of the smallest polygon that each point lies in."""
    parts, owner = shapely.get_parts(np.array(shapes), return_index=True)
    order = np.argsort(-shapely.area(parts))
    parts, owner = parts[order], owner[order]
    shapely.prepare(parts)
    found = np.full(len(lat), "", dtype="<U2")
    for part, of in zip(parts, owner, strict=True):
        west, south, east, north = part.bounds
        near = slice(*np.searchsorted(lat, [south, north + 1e-9]))
        some = np.flatnonzero((lon[near] >= west) & (lon[near] <= east)) + near.start
        found[some[shapely.contains_xy(part, lon[some], lat[some])]] = codes[of]
    return found


def areas(ours: NDArray[Any], theirs: NDArray[Any], lat: NDArray[Any], lon: NDArray[Any]) -> list[tuple[Any, ...]]:
    """Each area where the two differ and both know a country: km², depth in km, its deepest point, both codes."""
    from whichland.geo.borders import border_km

    rows = []
    at = np.rint(np.stack([(lat + 90) / STEP - 0.5, (lon + 180) / STEP - 0.5], axis=1)).astype(int)
    differ = (ours != theirs) & (ours != "") & (theirs != "")
    for pair in sorted(set(zip(ours[differ], theirs[differ], strict=True))):
        some = np.flatnonzero(differ & (ours == pair[0]) & (theirs == pair[1]))
        corner = at[some].min(0)
        raster = np.zeros(np.ptp(at[some], axis=0) + 1, dtype=bool)
        raster[tuple((at[some] - corner).T)] = True
        number = label(raster, np.ones((3, 3)))[0][tuple((at[some] - corner).T)]
        for one in range(1, number.max() + 1):
            own = some[number == one]
            km2 = (np.cos(np.radians(lat[own])) * (STEP * 111.195) ** 2).sum()
            km = border_km(lat[own], lon[own])
            deepest = own[km.argmax()]
            if km2 >= LEAST_KM2 and km.max() >= LEAST_KM:
                rows.append((km2, km.max(), lat[deepest], lon[deepest], *pair))
    return sorted(rows, reverse=True)


def main() -> None:
    """Print a table for each map."""
    from whichland.geo.borders import country_of
    from whichland.geo.land import on_land

    lat, lon = np.meshgrid(np.arange(-60, 84, STEP) + STEP / 2, np.arange(-180, 180, STEP) + STEP / 2, indexing="ij")
    dry = on_land(lat, lon)
    lat, lon = lat[dry], lon[dry]
    ours = country_of(lat, lon, coast_km=0)
    for file, read in zip(map(Path, sys.argv[1:3]), (country_coder, natural_earth), strict=True):
        theirs = ask(*read(file), lat, lon)
        both = (ours != "") & (theirs != "")
        print(f"\n{file.name}: {np.mean(ours[both] == theirs[both]):.3%} of {both.sum():,} places of the land alike\n")
        print("| ours | theirs | km² | km deep | at |\n|---|---|---|---|---|")
        for km2, km, y, x, one, other in areas(ours, theirs, lat, lon):
            print(f"| {one} | {other} | {km2:,.0f} | {km:.0f} | {y:.2f}, {x:.2f} |")


if __name__ == "__main__":
    main()
