"""The borders as arrays: the edges of all polygons, and which polygon lies on either side.

`borders.npz` and `territories.csv` are made by scripts/borders.py; a feature's number is its row in the CSV.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

UNITS = 100_000  # to a degree
NOTHING = -1  # the feature where there is none


@dataclass(frozen=True)
class Edges:
    """Directed edges, from 0 to 1 in whole units of 1e-5 degrees; `feature` lies to the left of each."""

    lon0: NDArray[np.int32]
    lat0: NDArray[np.int32]
    lon1: NDArray[np.int32]
    lat1: NDArray[np.int32]
    feature: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.feature)


@cache
def edges() -> Edges:
    """Read the edges of all polygons; as none overlap, an edge of two stands there in both directions."""
    with np.load(Path(__file__).with_name("borders.npz")) as data:
        lon, lat = np.cumsum(data["lon"], dtype=np.int32), np.cumsum(data["lat"], dtype=np.int32)
        feature = np.repeat(data["feature"], data["vertices"])
        last = np.cumsum(data["vertices"]) - 1  # a closed ring's last vertex begins no edge
    begins = np.ones(len(lon), dtype=bool)
    begins[last] = False
    ends = np.roll(begins, 1)
    return Edges(lon[begins], lat[begins], lon[ends], lat[ends], feature[begins])


@cache
def across() -> NDArray[np.int16]:
    """The feature to the right of each edge, or `NOTHING` along the open sea."""
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
