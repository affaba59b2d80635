"""Distances on the globe, and the nearest of many lines.

Lines are cut to short chords of the unit sphere, in whose space distances have no poles and no date line. The chords
that may be nearest to a point in a cell of 1/8 degree are listed once, when the cell is first asked about; a point is
then measured against those of its cell alone.
"""

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

EARTH_RADIUS_KM = 6371.0088  # mean radius of WGS84 (IUGG)
WORLD_KM = 14_916.862  # the size of GeoGuessr's world map, as its players know it
FULL_SCORE = 5_000.0
CHORD = 0.25  # degrees at most: its middle lies 15 m below the globe, and 8 m beside the parallel
SIDES = (240, 60, 20, 5, 1)  # of the cells, coarse to fine, in eighths of a degree
ROWS, COLUMNS = 180 * 8, 360 * 8
FEW = 1500  # chords, below which a cell that is alone needs no coarser ones around it
ROUNDED = 1e-7  # of the sphere's radius, 64 cm: more than a distance by squares is off
BATCH = 1 << 13  # points at a time, so that intermediate arrays stay in the processor's cache

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Points = NDArray[np.float64]  # P×2: latitude and longitude in degrees


def haversine_km(lat1: ArrayLike, lon1: ArrayLike, lat2: ArrayLike, lon2: ArrayLike) -> NDArray[np.float64]:
    """Great-circle distance in kilometres between points in degrees, on a sphere.

    Arguments broadcast against each other; a scalar comes out when all are scalars. The ellipsoid differs from
    the sphere by up to 0.56 %.

    >>> float(round(haversine_km(48.8566, 2.3522, 51.5074, -0.1278), 1))
    343.6
    """
    phi1, phi2 = np.radians(lat1), np.radians(lat2)
    half_lat, half_lon = (phi2 - phi1) / 2, np.radians(np.subtract(lon2, lon1)) / 2
    chord = np.sin(half_lat) ** 2 + np.cos(phi1) * np.cos(phi2) * np.sin(half_lon) ** 2
    # rounding may take the chord of antipodes beyond 1
    distance: NDArray[np.float64] = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(chord, 1)))
    return distance


def geoguessr_score(km: ArrayLike, *, scale_km: float = WORLD_KM) -> NDArray[np.float64]:
    """Points from 0 to 5,000 for a guess so many kilometres off, on a map of the given scale.

    The game publishes no formula; this one is what players fitted to its scores: 5000 exp(-10 d / scale).

    >>> geoguessr_score([0, 100, 2000]).round().tolist()
    [5000.0, 4676.0, 1308.0]
    """
    points: NDArray[np.float64] = FULL_SCORE * np.exp(np.multiply(-10 / scale_km, km))
    return points


class Nearest(NamedTuple):
    """Of N points: the nearest line (-1 beyond the limit), how far it is (infinite), and where it is nearest."""

    line: Ints
    km: Floats
    lat: Floats
    lon: Floats


class Lines:
    """Lines that are straight in plate carrée, each from (lat0, lon0) to (lat1, lon1), degrees."""

    def __init__(self, lat0: Floats, lon0: Floats, lat1: Floats, lon1: Floats) -> None:
        chords = np.maximum(1, np.ceil(np.maximum(np.abs(lat1 - lat0), np.abs(lon1 - lon0)) / CHORD)).astype(int)
        self._line = np.repeat(np.arange(len(chords)), chords)  # that each of the C chords is a part of
        nth = np.arange(len(self._line)) - np.repeat(np.cumsum(chords) - chords, chords)
        ends = [
            unit(*(a[self._line] + (b - a)[self._line] * ((nth + end) / chords[self._line]) for a, b in axes))
            for axes in [((lat0, lat1), (lon0, lon1))]
            for end in (0, 1)
        ]
        self._begin, self._way = ends[0], ends[1] - ends[0]  # C×3
        self._square = np.maximum((self._way**2).sum(1), 1e-30)  # at a pole a parallel has no length
        self._along = (self._begin * self._way).sum(1)
        self._place = np.full(ROWS * COLUMNS, -1, dtype=np.int32)  # of a cell's list
        self._first, self._count = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        self._chord = np.zeros(0, dtype=np.int32)
        self._least = np.zeros(ROWS * COLUMNS, dtype=np.float32)  # how near a line may be to a cell
        self._listing = threading.Lock()

    def nearest(self, lat_N: Floats, lon_N: Floats, limit_km: float = np.inf) -> Nearest:
        """The nearest line of each point in degrees, as far as there is one within the limit."""
        row_N = np.minimum((lat_N + 90) * 8, ROWS - 1).astype(np.int32)
        column_N = np.minimum((lon_N + 180) * 8, COLUMNS - 1).astype(np.int32)
        cell_N = row_N * COLUMNS + column_N
        limit = 2 * np.sin(min(limit_km / EARTH_RADIUS_KM, np.pi) / 2)

        def unlisted() -> Ints:
            return np.unique(cell_N[(self._place[cell_N] < 0) & (self._least[cell_N] <= limit)])

        if len(unlisted()):
            with self._listing:
                if len(cells := unlisted()):
                    self._list(cells, limit)
        found = Nearest(np.full(len(lat_N), -1), np.full(len(lat_N), np.inf), lat_N.copy(), lon_N.copy())
        near = np.flatnonzero(self._place[cell_N] >= 0)
        for some in np.split(near, range(BATCH, len(near), BATCH)) if len(near) else ():
            chord, foot = self._among_listed(unit(lat_N[some], lon_N[some]), self._place[cell_N[some]])
            foot /= np.linalg.norm(foot, axis=1, keepdims=True)
            apart = np.linalg.norm(foot - unit(lat_N[some], lon_N[some]), axis=1)
            found.line[some], found.km[some] = self._line[chord], 2 * EARTH_RADIUS_KM * np.arcsin(apart / 2)
            found.lat[some] = np.degrees(np.arcsin(foot[:, 2].clip(-1, 1)))
            found.lon[some] = np.degrees(np.arctan2(foot[:, 1], foot[:, 0]))
        beyond = found.km > limit_km
        found.line[beyond], found.km[beyond] = -1, np.inf
        return found

    def _among_listed(self, point_N3: Floats, place_N: Ints) -> tuple[Ints, Floats]:
        """The nearest chord of each point's list, and the place on it."""
        count_N = self._count[place_N]
        begin_N = np.cumsum(count_N) - count_N
        point_P = np.repeat(np.arange(len(point_N3)), count_N)  # P pairs of a point and a candidate
        chord_P = self._chord[self._first[place_N][point_P] + np.arange(len(point_P)) - begin_N[point_P]]
        foot_P3, square_P = self._foot(point_N3[point_P], chord_P)
        is_best = np.flatnonzero(square_P == np.minimum.reduceat(square_P, begin_N)[point_P])
        pair_N = np.empty(len(point_N3), dtype=np.int64)
        pair_N[point_P[is_best]] = is_best
        return chord_P[pair_N], foot_P3[pair_N]

    def _foot(self, point_P3: Floats, chord_P: Ints) -> tuple[Floats, Floats]:
        """Where on each chord is nearest to a point each, and the squared distance."""
        begin_P3, way_P3 = self._begin[chord_P], self._way[chord_P]
        share_P = np.clip(((point_P3 - begin_P3) * way_P3).sum(1) / self._square[chord_P], 0, 1)
        foot_P3 = begin_P3 + share_P[:, None] * way_P3
        return foot_P3, ((foot_P3 - point_P3) ** 2).sum(1)

    def _list(self, cell_M: Ints, limit: float) -> None:
        """List the candidates of those cells to which a line may be as near as the limit."""
        lists = list(self._narrowed(cell_M, 0, np.arange(len(self._line), dtype=np.int32), limit))
        if not lists:
            return
        cells, chords = zip(*lists, strict=True)
        count = np.array([len(one) for one in chords])
        place = len(self._first) + np.arange(len(cells))
        self._first = np.append(self._first, len(self._chord) + np.cumsum(count) - count)
        self._count = np.append(self._count, count)
        self._chord = np.concatenate([self._chord, *chords])
        self._place[list(cells)] = place  # last, so that another thread finds all of what it finds

    def _narrowed(self, cell_M: Ints, level: int, chords: Ints, limit: float) -> Iterator[tuple[int, Ints]]:
        """Narrow the chords that may be nearest down to each cell's, by way of ever smaller cells around it."""
        side = SIDES[level]
        row_M, column_M = cell_M // COLUMNS, cell_M % COLUMNS
        _, group_M = np.unique(row_M // side * COLUMNS + column_M // side, return_inverse=True)
        order = np.argsort(group_M, kind="stable")
        for some in np.split(order, np.flatnonzero(np.diff(group_M[order])) + 1):
            south, west = row_M[some[0]] // side * side / 8 - 90, column_M[some[0]] // side * side / 8 - 180
            middle = unit(south + side / 16, west + side / 16)
            corners = unit(south + np.array([0, 0, side, side]) / 8, west + np.array([0, side, 0, side]) / 8)
            reach = np.linalg.norm(corners - middle, axis=1).max()
            distance = self._distance(middle, chords)
            least = distance.min() - reach - ROUNDED
            self._least[cell_M[some]] = least
            if least > limit:
                continue
            # none nearer to any point of the cell lies further from its middle
            kept = chords[distance <= distance.min() + 2 * (reach + ROUNDED)]
            if side == 1:
                yield int(cell_M[some[0]]), kept
            else:
                alone = len(some) == 1 and len(kept) < FEW
                yield from self._narrowed(cell_M[some], len(SIDES) - 1 if alone else level + 1, kept, limit)

    def _distance(self, point_3: Floats, chord_C: Ints) -> Floats:
        """From a point to each chord, along the chord of the sphere; to within ROUNDED."""
        along_C = self._along[chord_C]
        ahead_C = self._way[chord_C] @ point_3 - along_C
        square_C = self._square[chord_C]
        share_C = np.clip(ahead_C / square_C, 0, 1)
        apart_C = 2 - 2 * (self._begin[chord_C] @ point_3) - share_C * (2 * ahead_C - share_C * square_C)
        distance_C: Floats = np.sqrt(np.maximum(apart_C, 0))
        return distance_C


def unit(lat: Any, lon: Any) -> Floats:
    """Points in degrees as vectors of length 1, …×3."""
    phi, turn = np.radians(lat), np.radians(lon)
    vector: Floats = np.stack([np.cos(phi) * np.cos(turn), np.cos(phi) * np.sin(turn), np.sin(phi)], axis=-1)
    return vector
