"""The nearest of many line segments on the globe.

For each cell of 1/8 degree that is asked about, the segments that may be nearest to a point in it are listed once;
a point is then measured against those of its cell alone.
"""

import threading
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from whichland.geo.distance import haversine_km

CELLS_PER_DEGREE = 8
BAND = 2  # degrees of latitude
COLUMNS, ROWS = 360 * CELLS_PER_DEGREE, 180 * CELLS_PER_DEGREE
BATCH = 1 << 13  # points at a time, so that intermediate arrays stay in the processor's cache

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]


@dataclass
class _Lists:
    """The candidates of the cells listed so far."""

    place: Ints = field(default_factory=lambda: np.full(ROWS * COLUMNS, -1, dtype=np.int32))  # of a cell's list
    first: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    count: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    segment: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int32))

    def add(self, cell_M: Ints, count_M: Ints, segment_L: Ints) -> None:
        """Append the lists of M cells, which follow each other in `segment_L`."""
        place_M = len(self.first) + np.arange(len(cell_M))
        self.first = np.append(self.first, len(self.segment) + np.cumsum(count_M) - count_M)
        self.count = np.append(self.count, count_M)
        self.segment = np.append(self.segment, segment_L)
        self.place[cell_M] = place_M  # last, so that another thread finds all of what it finds


@dataclass
class Segments:
    """Straight lines in plate carrée, each from (lat0, lon0) to (lat1, lon1), degrees.

    How exact `nearest` is stands in docs/decisions/borders.md.
    """

    lat0: Floats
    lon0: Floats
    lat1: Floats
    lon1: Floats
    _lists: _Lists = field(default_factory=_Lists)
    _listing: threading.Lock = field(default_factory=threading.Lock)

    def nearest(self, lat_N: Floats, lon_N: Floats) -> tuple[Ints, Floats]:
        """The nearest segment of each point, and the distance in kilometres."""
        row_N = np.minimum((lat_N + 90) * CELLS_PER_DEGREE, ROWS - 1).astype(np.int32)
        column_N = np.minimum((lon_N + 180) * CELLS_PER_DEGREE, COLUMNS - 1).astype(np.int32)
        cell_N = row_N * COLUMNS + column_N
        if (self._lists.place[cell_N] < 0).any():
            with self._listing:
                self._list(np.unique(cell_N[self._lists.place[cell_N] < 0]))
        segment_N, km_N = np.zeros(len(lat_N), dtype=np.int64), np.zeros(len(lat_N))
        for start in range(0, len(lat_N), BATCH):
            part = slice(start, start + BATCH)
            segment_N[part], km_N[part] = self._among_listed(lat_N[part], lon_N[part], cell_N[part])
        return segment_N, km_N

    def _among_listed(self, lat_N: Floats, lon_N: Floats, cell_N: Ints) -> tuple[Ints, Floats]:
        place_N = self._lists.place[cell_N]
        count_N = self._lists.count[place_N]
        begin_N = np.cumsum(count_N) - count_N
        point_P = np.repeat(np.arange(len(lat_N)), count_N)  # P pairs of a point and a candidate
        list_P = self._lists.first[place_N][point_P] + np.arange(len(point_P)) - begin_N[point_P]
        segment_P = self._lists.segment[list_P]
        there_lat_P, there_lon_P, square_P = self._foot(
            lat_N[point_P], lon_N[point_P], np.cos(np.radians(lat_N))[point_P], segment_P
        )
        best_N = np.minimum.reduceat(square_P, begin_N)
        is_best = np.flatnonzero(square_P == best_N[point_P])
        pair_N = np.empty(len(lat_N), dtype=np.int64)
        pair_N[point_P[is_best]] = is_best
        return segment_P[pair_N], haversine_km(lat_N, lon_N, there_lat_P[pair_N], there_lon_P[pair_N])

    def _foot(self, lat_P: Floats, lon_P: Floats, width_P: Floats, segment_P: Ints) -> tuple[Floats, Floats, Floats]:
        """Where on its segment is nearest to each point, and its squared distance, in the plane at the point."""
        lat0_P, lon0_P = self.lat0[segment_P], self.lon0[segment_P]
        east_P = lon0_P - lon_P
        x_P, y_P = (east_P - 360 * np.rint(east_P / 360)) * width_P, lat0_P - lat_P  # the short way round
        turn_P, dy_P = (self.lon1 - self.lon0)[segment_P], (self.lat1 - self.lat0)[segment_P]
        dx_P = turn_P * width_P
        # at a pole a parallel has no length
        length_P = np.maximum(dx_P**2 + dy_P**2, 1e-30)
        share_P = np.clip(-(x_P * dx_P + y_P * dy_P) / length_P, 0, 1)
        square_P = (x_P + share_P * dx_P) ** 2 + (y_P + share_P * dy_P) ** 2
        return lat0_P + share_P * dy_P, lon0_P + share_P * turn_P, square_P

    def _list(self, cell_M: Ints) -> None:
        """List the candidates of some cells, sorted; a band of latitude at a time, in a plane of its own."""
        band_M = cell_M // (COLUMNS * CELLS_PER_DEGREE * BAND)
        bounds = np.append(np.flatnonzero(np.diff(band_M, prepend=-1)), len(cell_M))
        for start, stop in pairwise(bounds.tolist()):
            self._list_band(int(band_M[start]), cell_M[start:stop])

    def _list_band(self, band: int, cell_M: Ints) -> None:
        """A cell's candidates lie no further from its middle than the nearest does and the diagonal."""
        south = band * BAND - 90
        width = float(np.cos(np.radians(south + BAND / 2)))
        tree, segment_T = self._tree(width)
        lat_M = (cell_M // COLUMNS + 0.5) / CELLS_PER_DEGREE - 90
        lon_M = (cell_M % COLUMNS + 0.5) / CELLS_PER_DEGREE - 180
        middles = shapely.points(lon_M * width, lat_M)
        _, nearest_M = tree.query_nearest(middles, all_matches=False, return_distance=True)
        diagonal = np.hypot(1, width) / CELLS_PER_DEGREE
        # the plane is exact in the band's middle; in the rest of it widths differ by up to this share
        stretch = np.tan(np.radians(min(max(abs(south), abs(south + BAND)), 80))) * np.radians(BAND / 2)
        reach_M = (nearest_M + diagonal) * (1 + 2 * stretch)
        row_L, entry_L = tree.query(middles, predicate="dwithin", distance=reach_M)
        self._lists.add(cell_M, np.bincount(row_L, minlength=len(cell_M)), segment_T[entry_L])

    def _tree(self, width: float) -> tuple[shapely.STRtree, Ints]:
        """A tree with longitudes shortened to `width`, and the segment of each entry; some stand there twice.

        Segments far in the east are found from the far west, too, and the other way round.
        """
        far = [np.flatnonzero(self.lon0 > 90), np.flatnonzero(self.lon0 < -90)]
        segment_T = np.concatenate([np.arange(len(self.lat0)), *far])
        turn_T = np.repeat([0.0, -360.0, 360.0], [len(self.lat0), len(far[0]), len(far[1])])
        ends = [
            [(self.lon0[segment_T] + turn_T) * width, self.lat0[segment_T]],
            [(self.lon1[segment_T] + turn_T) * width, self.lat1[segment_T]],
        ]
        return shapely.STRtree(shapely.linestrings(np.transpose(ends, (2, 0, 1)))), segment_T
