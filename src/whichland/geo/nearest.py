"""The nearest of many line segments on the globe."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from whichland.geo.distance import KM_PER_DEGREE, haversine_km

BATCH = 1 << 16

Floats = NDArray[np.floating[Any]]


@dataclass
class Segments:
    """Straight lines in plate carrée, each from (lat0, lon0) to (lat1, lon1), degrees.

    Search is in bands of one degree of latitude, each a plane in which a degree of longitude is as long as it is
    in the band's middle. How exact that is stands in docs/decisions/borders.md.
    """

    lat0: Floats
    lon0: Floats
    lat1: Floats
    lon1: Floats
    _trees: dict[int, tuple[shapely.STRtree, NDArray[np.int64]]] = field(default_factory=dict)

    def nearest(
        self, lat_N: Floats, lon_N: Floats, limit_km: float | None = None
    ) -> tuple[NDArray[np.int64], Floats]:
        """The nearest segment of each point, and its distance in kilometres; (-1, inf) beyond `limit_km`."""
        segment_N = np.full(len(lat_N), -1, dtype=np.int64)
        km_N = np.full(len(lat_N), np.inf)
        band_N = np.clip(np.floor(lat_N), -90, 89).astype(np.int64)
        order = np.lexsort((lon_N, band_N))  # neighbours after each other, which finds them faster
        bounds = np.append(np.flatnonzero(np.diff(band_N[order], prepend=-91)), len(order))
        for start, stop in pairwise(bounds.tolist()):
            for first in range(start, stop, BATCH):
                rows = order[first : min(first + BATCH, stop)]
                band = int(band_N[rows[0]])
                segment_N[rows] = self._in_band(band, lat_N[rows], lon_N[rows], limit_km)
        found = np.flatnonzero(segment_N >= 0)
        km_N[found] = self._km(segment_N[found], lat_N[found], lon_N[found])
        if limit_km is not None:
            segment_N[km_N > limit_km], km_N[km_N > limit_km] = -1, np.inf
        return segment_N, km_N

    def _in_band(self, band: int, lat_N: Floats, lon_N: Floats, limit_km: float | None) -> NDArray[np.int64]:
        width = _width(band)
        tree, segment_T = self._tree(band)
        # 5 % more than the limit, as the plane is not quite the globe; `nearest` measures again
        reach = None if limit_km is None else 1.05 * limit_km / KM_PER_DEGREE
        points = shapely.points(lon_N * width, lat_N)
        row, entry = tree.query_nearest(points, max_distance=reach, all_matches=False)
        found_N = np.full(len(lat_N), -1, dtype=np.int64)
        found_N[row] = segment_T[entry]
        return found_N

    def _tree(self, band: int) -> tuple[shapely.STRtree, NDArray[np.int64]]:
        """The tree of a band and the segment of each of its entries; those of the far side stand there twice."""
        if band not in self._trees:
            width, everyone = _width(band), np.arange(len(self.lat0))
            far = [np.flatnonzero(self.lon0 > 90), np.flatnonzero(self.lon0 < -90)]
            segment_T = np.concatenate([everyone, *far])
            turn_T = np.repeat([0.0, -360.0, 360.0], [len(everyone), len(far[0]), len(far[1])])
            ends = [
                [(self.lon0[segment_T] + turn_T) * width, self.lat0[segment_T]],
                [(self.lon1[segment_T] + turn_T) * width, self.lat1[segment_T]],
            ]
            lines = shapely.linestrings(np.transpose(ends, (2, 0, 1)))
            self._trees[band] = shapely.STRtree(lines), segment_T
        return self._trees[band]

    def _km(self, segment_N: NDArray[np.int64], lat_N: Floats, lon_N: Floats) -> Floats:
        """Great-circle distance from each point to the place on its segment that is nearest in the local plane."""
        width_N = np.cos(np.radians(lat_N))
        x0_N = _turned(self.lon0[segment_N] - lon_N) * width_N
        x1_N = x0_N + (self.lon1[segment_N] - self.lon0[segment_N]) * width_N
        y0_N, y1_N = self.lat0[segment_N] - lat_N, self.lat1[segment_N] - lat_N
        dx_N, dy_N = x1_N - x0_N, y1_N - y0_N
        share_N = np.clip(-(x0_N * dx_N + y0_N * dy_N) / (dx_N**2 + dy_N**2), 0, 1)
        there_lat_N = self.lat0[segment_N] + share_N * dy_N
        there_lon_N = self.lon0[segment_N] + share_N * (self.lon1[segment_N] - self.lon0[segment_N])
        return haversine_km(lat_N, lon_N, there_lat_N, there_lon_N)


def _width(band: int) -> float:
    """The length of a degree of longitude in the middle of a band, in degrees of latitude."""
    return float(np.cos(np.radians(band + 0.5)))


def _turned(lon: Floats) -> Floats:
    """A difference of longitudes, the short way round."""
    return (lon + 180) % 360 - 180
