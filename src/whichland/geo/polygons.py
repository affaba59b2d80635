"""Polygons that do not overlap: their edges, what lies on either side of each, and which polygon a point lies in.

`borders.npz` holds countries (made by scripts/borders.py, which numbers them as `territories.csv` does), `land.npz`
land (by scripts/land.py); a polygon is called a feature. Points are looked up through a grid of cells in front of an
exact test against the few edges in a cell. A cell that no edge crosses lies in one polygon, or in none. In the others
the answer is known at one point of the cell, the reference; walking from there to the wanted point, first along the
meridian, then along the parallel, each edge that is crossed says what lies behind it.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

UNITS = 100_000  # to a degree
NOTHING = -1  # the feature where there is none

CELLS_PER_DEGREE = 8
COLUMNS, ROWS = 360 * CELLS_PER_DEGREE, 180 * CELLS_PER_DEGREE
# Where in a cell its reference point lies, in cells. The middle, but for a third of a unit: no vertex has its
# latitude or longitude, so that no edge lies along the way there.
REFERENCE = 0.5 + CELLS_PER_DEGREE / UNITS / 3
BATCH = 1 << 17  # points at a time, so that intermediate arrays stay in the processor's cache

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


@dataclass(frozen=True)
class Grid:
    """C cells of 1/8 degree, row by row from the south-west, and E edges, measured in cells from there."""

    feature: NDArray[np.int16]  # (C,) at the reference point; marked where edges cross the cell
    first: NDArray[np.int32]  # (C + 1,) where a cell's list of edges begins, and the one before it ends
    edge: NDArray[np.int32]  # the lists
    ends: Floats  # (E, 4): x0, y0, x1, y1
    left: Floats  # (E,) feature + 1 to the left of the edge

    def feature_of(self, lat_N: Floats, lon_N: Floats) -> NDArray[np.int16]:
        """The number of the feature that each point lies in, else `NOTHING`; points must be on the globe."""
        found_N = np.empty(len(lat_N), dtype=np.int16)
        for start in range(0, len(lat_N), BATCH):
            part = slice(start, start + BATCH)
            found_N[part] = self._batch(lat_N[part], lon_N[part])
        return found_N

    def _batch(self, lat_N: Floats, lon_N: Floats) -> NDArray[np.int16]:
        x_N = np.minimum((lon_N + 180) * CELLS_PER_DEGREE, np.nextafter(COLUMNS, 0))  # the date line has two sides
        y_N, column_N = (lat_N + 90) * CELLS_PER_DEGREE, x_N.astype(np.int32)
        row_N = np.minimum(y_N.astype(np.int32), ROWS - 1)
        cell_N = row_N * COLUMNS + column_N
        feature_N: NDArray[np.int16] = self.feature[cell_N]
        near = np.flatnonzero(feature_N < NOTHING)
        if len(near):
            at_reference = _marked(feature_N[near])
            change = self._walk(cell_N[near], x_N[near], y_N[near], column_N[near], row_N[near])
            feature_N[near] = at_reference + change
        return feature_N

    def _walk(
        self, cell_N: NDArray[np.int32], x_N: Floats, y_N: Floats, column_N: NDArray[np.int32], row_N: NDArray[np.int32]
    ) -> NDArray[np.int16]:
        """By how much the feature's number changes from the cell's reference to the point."""
        first_N = self.first[cell_N]
        count_N = self.first[cell_N + 1] - first_N
        point_P, nth_P = _counted(count_N)  # P pairs of a point and an edge in its cell
        edge_P = self.edge[first_N[point_P] + nth_P]
        x0_P, y0_P, x1_P, y1_P = self.ends[edge_P].T
        middle_x_P, middle_y_P = column_N[point_P] + REFERENCE, row_N[point_P] + REFERENCE
        x_P, y_P, left_P = x_N[point_P], y_N[point_P], self.left[edge_P]
        north_P = _crossings(x0_P, y0_P, x1_P, y1_P, middle_x_P, middle_y_P, y_P)
        east_P = -_crossings(y0_P, x0_P, y1_P, x1_P, y_P, middle_x_P, x_P)
        change_P = (north_P + east_P) * left_P
        return np.bincount(point_P, weights=change_P, minlength=len(cell_N)).astype(np.int16)


def _counted(count_N: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Repeat each index as often as its count says, and number the repeats: [2, 0, 1] is [0, 0, 2], [0, 1, 0]."""
    index = np.repeat(np.arange(len(count_N)), count_N)
    return index, np.arange(len(index)) - (np.cumsum(count_N) - count_N)[index]


def _marked(feature: NDArray[Any]) -> NDArray[Any]:
    """Turn a feature, or `NOTHING`, to a number below `NOTHING`; and back."""
    return -3 - feature


def _crossings(
    a0: Floats, b0: Floats, a1: Floats, b1: Floats, at: Floats, start: Floats, stop: Floats
) -> NDArray[np.int8]:
    """How the way along `a = at` from `b = start` to `b = stop` crosses edges from (a0, b0) to (a1, b1).

    1 where it goes up in b across an edge that goes up in a, or down across one that goes down; -1 where one goes
    up, the other down; 0 where they do not cross.
    """
    upward, straddles = a1 > a0, (a0 <= at) != (a1 <= at)
    crossed = np.flatnonzero(straddles)
    a0, b0, a1, b1, at = a0[crossed], b0[crossed], a1[crossed], b1[crossed], at[crossed]
    b = b0 + (at - a0) * ((b1 - b0) / (a1 - a0))
    passed = (b <= stop[crossed]).astype(np.int8) - (b <= start[crossed])
    sign = np.zeros(len(straddles), dtype=np.int8)
    sign[crossed] = np.where(upward[crossed], passed, -passed)
    return sign


@cache
def grid(name: Name = "borders") -> Grid:
    """Build the grid from the edges of all polygons."""
    e = edges(name)
    lat0, lon0, lat1, lon1 = e.degrees()
    ends_E4 = CELLS_PER_DEGREE * np.stack([lon0 + 180, lat0 + 90, lon1 + 180, lat1 + 90], axis=1)
    cell_L, edge_L = _crossed_cells(ends_E4)
    count_C = np.bincount(cell_L, minlength=ROWS * COLUMNS)
    first_C1 = np.concatenate([[0], np.cumsum(count_C)]).astype(np.int32)
    left_E = e.feature + 1.0
    at_reference_C = _at_references(ends_E4, left_E).ravel() - 1
    feature_C = np.where(count_C > 0, _marked(at_reference_C), at_reference_C).astype(np.int16)
    return Grid(feature_C, first_C1, edge_L.astype(np.int32), ends_E4, left_E)


def _crossed_cells(ends_E4: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every pair of a cell and an edge that runs through it, sorted by cell.

    Each edge is cut where it crosses the grid's lines; the middle of a piece lies in the piece's cell.
    """
    start_E2, way_E2 = ends_E4[:, :2], ends_E4[:, 2:] - ends_E4[:, :2]
    everyone = np.arange(len(ends_E4))
    edge, share = [everyone, everyone], [np.zeros(len(ends_E4)), np.ones(len(ends_E4))]
    for axis in (0, 1):
        lowest = np.floor(np.minimum(ends_E4[:, axis], ends_E4[:, axis + 2])).astype(np.int64)
        highest = np.floor(np.maximum(ends_E4[:, axis], ends_E4[:, axis + 2])).astype(np.int64)
        crossing, nth = _counted(highest - lowest)
        line = lowest[crossing] + 1 + nth
        edge.append(crossing)
        share.append((line - start_E2[crossing, axis]) / way_E2[crossing, axis])
    edge_K, share_K = np.concatenate(edge), np.concatenate(share)
    order = np.lexsort((share_K, edge_K))
    edge_K, share_K = edge_K[order], share_K[order]
    pieces = np.flatnonzero(edge_K[1:] == edge_K[:-1])
    edge_L = edge_K[pieces]
    middle_L2 = start_E2[edge_L] + way_E2[edge_L] * ((share_K[pieces] + share_K[pieces + 1]) / 2)[:, None]
    column = np.clip(middle_L2[:, 0].astype(np.int64), 0, COLUMNS - 1)
    row = np.clip(middle_L2[:, 1].astype(np.int64), 0, ROWS - 1)
    pair = np.unique((row * COLUMNS + column) * len(ends_E4) + edge_L)
    return pair // len(ends_E4), pair % len(ends_E4)


def _at_references(ends_E4: Floats, left_E: Floats) -> NDArray[np.int32]:
    """Feature + 1 at the reference of every cell, (ROWS, COLUMNS): what the edges to the west of it add up to."""
    x0, y0, x1, y1 = ends_E4.T
    lowest = np.ceil(np.minimum(y0, y1) - REFERENCE).astype(np.int64)
    rows = np.ceil(np.maximum(y0, y1) - REFERENCE).astype(np.int64) - lowest
    edge, nth = _counted(rows)
    row = lowest[edge] + nth
    x = x0[edge] + (row + REFERENCE - y0[edge]) * (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
    column = np.ceil(x - REFERENCE).astype(np.int64)
    change = np.where(y1[edge] < y0[edge], left_E[edge], -left_E[edge]).astype(np.int32)
    added = np.zeros((ROWS, COLUMNS + 1), dtype=np.int32)
    np.add.at(added, (row, column), change)
    return np.cumsum(added, axis=1, dtype=np.int32)[:, :-1]
