"""Make src/whichland/geo/land.npz, where there is land, from Natural Earth.

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python scripts/land.py package/land-50m.json package/land-10m.json

The coasts of the 1:50m map; and of the 1:10m map the islands of the countries that have no land on the other, so
that every country has some. Rings in whole thousandths of a degree.
Natural Earth is in the public domain, the package under the ISC licence, see src/whichland/geo/land.LICENSE.
"""

import json
import sys
from pathlib import Path

import numpy as np
import shapely

from whichland.geo.borders import borders

GEO = Path(__file__).parent.parent / "src/whichland/geo"
UNITS = 1_000  # to a degree


def main() -> None:
    """Read both maps, write the file."""
    medium, fine = (polygons(Path(path)) for path in sys.argv[1:3])
    known = {"", *countries(medium)}  # no country: the map's joke, an island at 0° N 0° E
    missing = fine[[country not in known for country in countries(fine)]]
    land = shapely.transform(np.concatenate([medium, missing]), lambda degrees: np.rint(degrees * UNITS))
    land = shapely.get_parts(shapely.make_valid(land))
    land = land[shapely.area(land) > 0]
    rings, part = shapely.get_rings(land, return_index=True)
    vertices = shapely.get_coordinates(rings).astype(np.int32)
    np.savez_compressed(
        GEO / "land.npz",
        lon=np.diff(vertices[:, 0], prepend=np.int32(0)),
        lat=np.diff(vertices[:, 1], prepend=np.int32(0)),
        vertices=shapely.get_num_coordinates(rings).astype(np.int32),
        polygon=part.astype(np.int32),
    )
    size = f"{len(vertices):,} vertices, {(GEO / 'land.npz').stat().st_size:,} bytes"
    print(f"{len(land)} polygons, {len(missing)} of them of the finer map, {size}")


def countries(land: np.ndarray) -> list[str]:
    """The country that a point inside each polygon lies in."""
    inside = shapely.get_coordinates(shapely.point_on_surface(land))
    found = borders()
    return list(found.codes[found.country_index(inside[:, 1], inside[:, 0])])


def polygons(path: Path) -> np.ndarray:
    """The polygons of the object `land` of a TopoJSON file, in degrees."""
    topology = json.loads(path.read_text(encoding="utf-8"))
    scale, translate = (np.array(topology["transform"][name]) for name in ("scale", "translate"))
    arcs = [np.cumsum(arc, axis=0) * scale + translate for arc in topology["arcs"]]

    def ring(numbers: list[int]) -> np.ndarray:
        lines = [arcs[number] if number >= 0 else arcs[~number][::-1] for number in numbers]
        return np.concatenate([lines[0], *(line[1:] for line in lines[1:])])

    shapes = [shape for geometry in topology["objects"]["land"]["geometries"] for shape in geometry["arcs"]]
    return np.concatenate([cut([ring(numbers) for numbers in shape]) for shape in shapes])


def cut(rings: list[np.ndarray]) -> np.ndarray:
    """The polygons of one whose rings cross the date line, and around the South Pole do not close."""
    outer, *holes = [unrolled(ring) for ring in rings]
    west = outer[:, 0].min()
    holes = [hole - [360 * np.floor((hole[:, 0].min() - west) / 360), 0] for hole in holes]
    whole = shapely.make_valid(shapely.Polygon(outer, holes))
    turned = [shapely.transform(whole, lambda xy, turn=turn: xy + np.array([turn, 0])) for turn in (-360, 0, 360)]
    parts = shapely.get_parts(shapely.intersection(turned, shapely.box(-180, -90, 180, 90)))
    parts = shapely.get_parts(parts)  # what make_valid gathers with lines
    return parts[shapely.area(parts) > 0]


def unrolled(ring: np.ndarray) -> np.ndarray:
    """Longitudes without jumps; a ring that goes around the globe is closed over the South Pole."""
    lon = np.unwrap(ring[:, 0], period=360)
    ring = np.stack([lon, ring[:, 1]], axis=1)
    if abs(lon[-1] - lon[0]) < 180:
        return ring
    return np.concatenate([ring, [[lon[-1], -90], [lon[0], -90]]])


if __name__ == "__main__":
    main()
