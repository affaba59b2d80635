"""Make src/whichland/geo/land.npz, where there is land, from OpenStreetMap's coastlines.

    npm pack @geo-maps/earth-seas-10m@0.6.0 && tar xzf geo-maps-earth-seas-10m-0.6.0.tgz
    python scripts/land.py package/map.geo.json

The map has the seas, in 2017, to 10 m; land is what is left of the globe. Coasts are simplified by up to TOLERANCE,
and an islet below SMALL is left out where other land is near. Licence of the data: ODbL, see
src/whichland/geo/borders.LICENSE.
"""

import json
import sys
from pathlib import Path

import numpy as np
import shapely

from borders import UNITS, write_polygons

TOLERANCE = 0.01  # degrees
ROUGH = 0.002  # degrees: what vertices are rounded to
SMALL = 2.0  # square kilometres
NEAR = 0.03  # degrees


def main() -> None:
    """Read the map, write the file."""
    (geometry,) = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["geometries"]
    seas = shapely.get_parts(shapely.geometry.shape(geometry))
    largest = int(np.argmax(shapely.area(seas)))
    land = np.concatenate([islands(seas[largest]), beyond(seas[largest])])
    land = without(land, shapely.make_valid(np.delete(seas, largest)))
    land = areas(shapely.simplify(land, TOLERANCE))
    middle = shapely.get_coordinates(shapely.centroid(land))
    large = shapely.area(land) * 111.195**2 * np.cos(np.radians(middle[:, 1])) >= SMALL
    shores = np.unique(np.floor(shapely.get_coordinates(land[large]) / NEAR), axis=0)
    around = {(x + dx, y + dy) for x, y in shores for dx in (-1, 0, 1) for dy in (-1, 0, 1)}
    alone = [cell not in around for cell in map(tuple, np.floor(middle[~large] / NEAR))]
    # rounding would leave nothing of the smallest
    land = np.concatenate([land[large], shapely.envelope(shapely.buffer(land[~large][alone], ROUGH)), islets()])
    # rounding may bring two islands together
    rough = shapely.union_all(areas(shapely.transform(land, lambda degrees: np.rint(degrees / ROUGH))), grid_size=1)
    write_polygons("land.npz", [shapely.transform(rough, lambda rough: rough * ROUGH * UNITS)])


def islets() -> np.ndarray:
    """A square around each islet that the map leaves out; where, is mostly from Natural Earth 1:10m (public domain)."""
    lat, lon = np.loadtxt(Path(__file__).with_name("islets.csv"), delimiter=",", skiprows=1).T
    return shapely.box(lon - ROUGH, lat - ROUGH, lon + ROUGH, lat + ROUGH)


def islands(sea: shapely.Polygon) -> np.ndarray:
    """The holes in a sea."""
    return areas(shapely.polygons(shapely.get_rings(sea)[1:]))


def beyond(sea: shapely.Polygon) -> np.ndarray:
    """What lies outside a sea: Antarctica, and what the date line crosses."""
    outer = shapely.make_valid(shapely.polygons(shapely.get_rings(sea)[0]))
    return areas([shapely.difference(shapely.box(-180, -90, 180, 90), outer)])


def without(land: np.ndarray, seas: np.ndarray) -> np.ndarray:
    """Land without the seas that lie in it, such as the Caspian."""
    sea, around = shapely.STRtree(land).query(shapely.point_on_surface(seas), predicate="within")
    for number in np.unique(around):
        land[number] = shapely.difference(land[number], shapely.union_all(seas[sea[around == number]]))
    return areas(land)


def areas(shapes: np.ndarray | list[shapely.Geometry]) -> np.ndarray:
    """The polygons in some shapes, made valid."""
    shapes = np.array(shapes)
    broken = ~shapely.is_valid(shapes)
    shapes[broken] = shapely.make_valid(shapes[broken])
    parts = shapely.get_parts(shapely.get_parts(shapes))
    return parts[shapely.area(parts) > 0]


if __name__ == "__main__":
    main()
