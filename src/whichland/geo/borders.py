"""The country at given coordinates, and the distance to the nearest land border; offline.

    >>> country_of([48.8566, 51.4426, 0.0], [2.3522, 4.9309, 0.0])
    array(['FR', 'BE', ''], dtype='<U2')
    >>> float(border_km(47.5596, 7.5886).round(1))
    1.8

Polygons are country-coder's (see docs/decisions/borders.md for where they are drawn, and territories.csv for which
country each answers). They reach out to sea; `COAST_KM` beyond that there is no country.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whichland.geo.nearest import Segments
from whichland.geo.polygons import NOTHING, UNITS, Edges, across, edges, grid
from whichland.geo.territories import ISO, answers

COAST_KM = 25.0

Floats = NDArray[np.floating[Any]]


def country_of(
    lat: ArrayLike, lon: ArrayLike, *, territories: str | Mapping[str, str] = ISO, coast_km: float = COAST_KM
) -> Any:
    """The alpha-2 code at each point in degrees, as an array of `<U2` (for scalars: one `str`).

    Empty where there is no country within `coast_km`, and for NaN and what is off the globe. `territories` is as
    `territories.answers` takes it.
    """
    found = borders(territories)
    lat_N, lon_N = np.broadcast_arrays(np.asarray(lat, dtype=float), np.asarray(lon, dtype=float))
    index_N = found.country_index(lat_N.ravel(), lon_N.ravel(), coast_km=coast_km)
    return found.codes[index_N].reshape(lat_N.shape)[()]


def border_km(lat: ArrayLike, lon: ArrayLike, *, territories: str | Mapping[str, str] = ISO) -> Any:
    """Kilometres from each point in degrees to the nearest line between two countries; NaN for no place.

    Such a line is where polygons of two countries touch: on land, in rivers and lakes, and in the territorial sea
    between neighbours; not a coast.
    """
    lat_N, lon_N = np.broadcast_arrays(np.asarray(lat, dtype=float), np.asarray(lon, dtype=float))
    km_N, _ = borders(territories).nearest_border(lat_N.ravel(), lon_N.ravel())
    return km_N.reshape(lat_N.shape)[()]


@dataclass(frozen=True)
class Borders:
    """The borders under one reading of the territories. Arrays are flat; a country is its index in `codes`."""

    codes: NDArray[np.str_]  # sorted, and last the empty one, so that the index -1 is no country
    country: NDArray[np.int16]  # of each feature; the last entry is -1, for none

    def country_index(self, lat_N: Floats, lon_N: Floats, *, coast_km: float = COAST_KM) -> NDArray[np.int16]:
        """The index in `codes` of the country at each point, or -1."""
        valid_N = on_globe(lat_N, lon_N)
        lat_N, lon_N = np.where(valid_N, lat_N, 0), np.where(valid_N, lon_N, 0)
        feature_N = grid().feature_of(lat_N, lon_N)
        index_N = self.country[feature_N]
        index_N[~valid_N] = -1
        at_sea = np.flatnonzero(valid_N & (feature_N == NOTHING))
        at_sea = at_sea[grid().near_anything(lat_N[at_sea], lon_N[at_sea], coast_km)]
        if coast_km > 0:
            index_N[at_sea] = self._nearest_coast(lat_N[at_sea], lon_N[at_sea], coast_km)
        return index_N

    def nearest_border(self, lat_N: Floats, lon_N: Floats) -> tuple[Floats, NDArray[np.int16]]:
        """Distance to the nearest border in kilometres (NaN: no point), and the two countries there, (N, 2)."""
        km_N, pair_N2 = np.full(len(lat_N), np.nan), np.full((len(lat_N), 2), -1, dtype=np.int16)
        valid = np.flatnonzero(on_globe(lat_N, lon_N))
        segments, pair_S2 = self._lines
        segment, km_N[valid] = segments.nearest(lat_N[valid], lon_N[valid])
        pair_N2[valid] = pair_S2[segment]
        return km_N, pair_N2

    def _nearest_coast(self, lat_N: Floats, lon_N: Floats, coast_km: float) -> NDArray[np.int16]:
        segments, feature_S = _coasts()
        segment_N, km_N = segments.nearest(lat_N, lon_N)
        return np.where(km_N <= coast_km, self.country[feature_S[segment_N]], -1).astype(np.int16)

    @cached_property
    def _lines(self) -> tuple[Segments, NDArray[np.int16]]:
        """The edges between two countries, once each, and the two."""
        e = edges()
        left_E, right_E = self.country[e.feature], self.country[across()]
        line = np.flatnonzero((across() != NOTHING) & (left_E < right_E))
        return _segments(e, line), np.stack([left_E[line], right_E[line]], axis=1)


@cache
def _coasts() -> tuple[Segments, NDArray[np.int16]]:
    """The edges towards the open sea and the feature of each."""
    e = edges()
    coast = np.flatnonzero(across() == NOTHING)
    return _segments(e, coast), e.feature[coast]


def _segments(e: Edges, some: NDArray[np.int64]) -> Segments:
    lat0, lon0, lat1, lon1 = (end[some] / UNITS for end in (e.lat0, e.lon0, e.lat1, e.lon1))
    return Segments(lat0, lon0, lat1, lon1)


def borders(territories: str | Mapping[str, str] = ISO) -> Borders:
    """The borders under one reading of the territories; made once for each."""
    return _borders(answers(territories))


@cache
def _borders(code_F: tuple[str, ...]) -> Borders:
    codes = sorted(set(code_F) - {""})
    index = {code: number for number, code in enumerate(codes)} | {"": -1}
    index_F = np.array([*(index[code] for code in code_F), -1], dtype=np.int16)
    return Borders(np.array([*codes, ""], dtype="<U2"), index_F)


def on_globe(lat_N: Floats, lon_N: Floats) -> NDArray[np.bool_]:
    """Whether each pair is a place: latitude -90 to 90, longitude -180 to 180."""
    return (np.abs(lat_N) <= 90) & (np.abs(lon_N) <= 180)
