"""The country at given coordinates, and the distance to the nearest land border; offline.

    >>> country_of([48.8566, 51.4426, 0.0], [2.3522, 4.9309, 0.0])
    array(['FR', 'BE', ''], dtype='<U2')
    >>> float(border_km(47.5596, 7.5886).round(1))
    1.8

See docs/decisions/borders.md for where the polygons come from and how far they are right, and territories.csv for
which country each answers. They reach out to sea; `coast_km` from land there is no country.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whichland.geo.distance import Lines
from whichland.geo.polygons import NOTHING, across, edges, feature_of
from whichland.geo.territories import ISO, answers

COAST_KM = 25.0

Floats = NDArray[np.floating[Any]]


def country_of(
    lat: ArrayLike, lon: ArrayLike, *, territories: str | Mapping[str, str] = ISO, coast_km: float = COAST_KM
) -> Any:
    """The alpha-2 code at each point in degrees, as an array of `<U2` (for scalars: one `str`).

    Empty further than `coast_km` from land (0: land alone), on land that is nobody's, for NaN and for what is off the
    globe. `territories` is as `territories.answers` takes it.
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
        feature_N = feature_of(lat_N, lon_N)
        wet = np.flatnonzero(valid_N & (feature_of(lat_N, lon_N, "land") == NOTHING))
        if coast_km > 0:
            shore = coasts().nearest(lat_N[wet], lon_N[wet], coast_km)
            feature_N[wet[shore.km > coast_km]] = NOTHING
            # at sea outside all polygons it is the country of the nearest land
            lost = np.flatnonzero((feature_N[wet] == NOTHING) & (shore.km <= coast_km))
            feature_N[wet[lost]] = feature_of(shore.lat[lost], shore.lon[lost])
        else:
            feature_N[wet] = NOTHING
        feature_N[~valid_N] = NOTHING
        return self.country[feature_N]

    def nearest_border(self, lat_N: Floats, lon_N: Floats) -> tuple[Floats, NDArray[np.int16]]:
        """Distance to the nearest border in kilometres (NaN: no point), and the two countries there, (N, 2)."""
        km_N, pair_N2 = np.full(len(lat_N), np.nan), np.full((len(lat_N), 2), -1, dtype=np.int16)
        valid = np.flatnonzero(on_globe(lat_N, lon_N))
        lines, pair_S2 = self.lines
        found = lines.nearest(lat_N[valid], lon_N[valid])
        km_N[valid], pair_N2[valid] = found.km, pair_S2[found.line]
        return km_N, pair_N2

    @cached_property
    def lines(self) -> tuple[Lines, NDArray[np.int16]]:
        """The edges between two countries, once each, and the two."""
        left_E, right_E = self.country[edges().feature], self.country[across()]
        some = np.flatnonzero((across() != NOTHING) & (left_E < right_E))
        return Lines(*edges().degrees(some)), np.stack([left_E[some], right_E[some]], axis=1)


@cache
def coasts() -> Lines:
    """Where land ends."""
    return Lines(*edges("land").degrees())


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
