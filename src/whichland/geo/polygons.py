"""Polygons that do not overlap: their edges, what lies on either side of each, and which polygon a point lies in.

`borders.npz` holds countries (made by scripts/borders.py, which numbers them as `territories.csv` does), `land.npz`
land (by scripts/land.py); what a polygon is a part of is called a feature.
"""

import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

UNITS = 100_000  # to a degree
NOTHING = -1  # the feature where there is none
BATCH = 1 << 17  # points looked up at a time: shapely has an object for each

Name = Literal["borders", "land"]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Edges:
    """Directed edges, from 0 to 1 in whole units of 1e-5 degrees; `feature` lies to the left of each."""

    lon0: NDArray[np.int32]
    lat0: NDArray[np.int32]
    lon1: NDArray[np.int32]
    lat1: NDArray[np.int32]
    ring: NDArray[np.intp]
    feature: NDArray[np.int16]

    def degrees(self, some: Any = slice(None)) -> tuple[Floats, Floats, Floats, Floats]:
        """lat0, lon0, lat1, lon1 of some edges."""
        return tuple(end[some] / UNITS for end in (self.lat0, self.lon0, self.lat1, self.lon1))


@cache
def edges(name: Name = "borders") -> Edges:
    """Read the edges of all polygons; as none overlap, an edge of two stands there in both directions."""
    with np.load(Path(__file__).with_name(f"{name}.npz")) as data:
        lon, lat = np.cumsum(data["lon"], dtype=np.int32), np.cumsum(data["lat"], dtype=np.int32)
        ring, feature = np.repeat(np.arange(len(data["vertices"])), data["vertices"]), data["feature"]
    begins = np.append(np.diff(ring) == 0, False)  # a closed ring's last vertex begins no edge
    ends = np.roll(begins, 1)
    return Edges(lon[begins], lat[begins], lon[ends], lat[ends], ring[begins], feature[ring[begins]])


@cache
def across() -> NDArray[np.int16]:
    """The country to the right of each edge of the borders, or `NOTHING` along the open sea."""
    e = edges()
    start, end = _place(e.lon0, e.lat0), _place(e.lon1, e.lat1)
    places = np.unique(start)
    begins, ends = np.searchsorted(places, start), np.searchsorted(places, end)
    there, back = begins * len(places) + ends, ends * len(places) + begins
    order = np.argsort(there)
    twin = order[np.minimum(np.searchsorted(there, back, sorter=order), len(order) - 1)]
    return np.where(there[twin] == back, e.feature[twin], NOTHING).astype(np.int16)


def _place(lon: NDArray[np.int32], lat: NDArray[np.int32]) -> NDArray[np.int64]:
    """One number for each vertex."""
    return lon.astype(np.int64) * 360 * UNITS + lat


class Polygons(NamedTuple):
    """P polygons in a tree, longitude first, and the feature of each."""

    tree: shapely.STRtree
    feature: NDArray[np.int16]


@cache
def polygons(name: Name = "borders") -> Polygons:
    """Of a polygon's rings the outer one comes first in the file, and it alone runs anticlockwise."""
    e = edges(name)
    lat, lon, *_ = e.degrees()
    rings = shapely.linearrings(lon, lat, indices=e.ring)
    outer = np.flatnonzero(shapely.is_ccw(rings))
    shapes = np.array([shapely.Polygon(own[0], own[1:]) for own in np.split(rings, outer[1:])])
    shapely.prepare(shapes)
    return Polygons(shapely.STRtree(shapes), e.feature[np.unique(e.ring, return_index=True)[1]][outer])


_asking = threading.Lock()  # a prepared polygon makes its index when it is first asked


def feature_of(lat_N: Floats, lon_N: Floats, name: Name = "borders") -> NDArray[np.int16]:
    """The number of the feature that each point in degrees lies in, else `NOTHING`; points must be on the globe."""
    tree, feature_P = polygons(name)
    found_N = np.full(len(lat_N), NOTHING, np.int16)
    for start in range(0, len(lat_N), BATCH):
        lat, lon = lat_N[start : start + BATCH], lon_N[start : start + BATCH]
        point, polygon = tree.query(shapely.points(lon, lat))
        with _asking:
            inside = shapely.intersects_xy(tree.geometries[polygon], lon[point], lat[point])
        found_N[start + point[inside]] = feature_P[polygon[inside]]
    return found_N
