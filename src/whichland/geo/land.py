"""Where there is land, as borders reach out to sea and coasts do not; and how countries lie to each other.

    >>> bool(on_land(48.8566, 2.3522)), bool(on_land(46.0, -6.0))
    (True, False)
    >>> neighbours(["DE", "FR", "JP"]).tolist()
    [[False, True, False], [True, False, False], [False, False, False]]

`land.npz` is made by scripts/land.py from OpenStreetMap's coastlines, simplified to about a kilometre;
docs/decisions/pins.md has how far street-level photos lie outside.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from whichland.geo.borders import borders, coasts
from whichland.geo.distance import EARTH_RADIUS_KM, Points, unit
from whichland.geo.polygons import NOTHING, across, edges, feature_of, polygons
from whichland.geo.territories import answers

POINTS = 100  # of a country, at most
ENOUGH = 20  # with fewer, each of its islands gives one
TRIED = 1 << 16  # places at most until a country has its points

_PLASTIC = 1.32471795724474602596  # the R2 sequence (Roberts 2018), spread evenly over a square

# Polygons reach out to sea; these meet there alone, bridges and tunnels notwithstanding.
_AT_SEA = """
AE-IR AE-QA AG-MS AI-MF AS-WS AU-ID AU-NC AU-PG AX-FI AZ-TM BE-GB BH-QA BH-SA BQ-CW BQ-VE BS-TC CA-PM CK-KI
CK-PF CN-TW CO-HN CO-NI CU-US CW-VE CY-SY CY-TR DJ-YE DK-NO DK-SE DZ-ES EE-FI EE-SE EG-JO EG-SA ER-SA ER-YE
FJ-TO FJ-TV FR-GB FR-GG FR-JE GD-VC GG-JE HR-IT HT-UM ID-SG IN-LK IR-OM IR-SA IT-TN JP-RU KI-PF KM-YT LC-MQ
LC-VC LV-SE MY-PH MY-SG NC-VU NI-SV PG-SB PH-TW PR-VI RU-SJ RU-US SA-SD SB-VU SO-YE TT-VE VG-VI
"""
AT_SEA = frozenset(_AT_SEA.split())

OUTLINE = 64  # points that stand for a country on whose area none of the lattice falls


def on_land(lat: ArrayLike, lon: ArrayLike) -> Any:
    """Whether each point in degrees lies on land; lakes are land."""
    lat_N, lon_N = np.broadcast_arrays(np.asarray(lat, float), np.asarray(lon, float))
    return (feature_of(lat_N.ravel(), lon_N.ravel(), "land") != NOTHING).reshape(lat_N.shape)[()]


def sea_km(lat: ArrayLike, lon: ArrayLike) -> Any:
    """Kilometres from each point in degrees to the nearest land; zero on land."""
    lat_N, lon_N = np.broadcast_arrays(np.asarray(lat, float), np.asarray(lon, float))
    km_N = np.where(on_land(lat_N, lon_N), 0.0, coasts().nearest(lat_N.ravel(), lon_N.ravel()).km.reshape(lat_N.shape))
    return km_N[()]


def land_points(codes: Sequence[str], count: int = POINTS) -> list[Points]:
    """Places on land in each country, spread evenly over it, the same at every call: up to `count`, one at least.

    Raises KeyError for what is no country's code.
    """
    return [_points_in(code, count) for code in codes]


def outlines(tolerance: float) -> list[Points]:
    """The land, drawn small: outer rings, V×2 each, off by up to `tolerance` degrees; no tiny islands."""
    drawn = shapely.simplify(polygons("land").tree.geometries, tolerance)
    large = drawn[shapely.area(drawn) > tolerance**2]
    return [shapely.get_coordinates(shapely.get_exterior_ring(one))[:, ::-1] for one in large]


def border_lines(tolerance: float) -> list[Points]:
    """The lines between countries, off by up to `tolerance` degrees, V×2 each; some reach out to sea."""
    country = borders().country
    some = np.flatnonzero((across() != NOTHING) & (country[edges().feature] < country[across()]))
    lat0, lon0, lat1, lon1 = edges().degrees(some)
    ends = np.stack([lon0, lat0, lon1, lat1], axis=1).reshape(-1, 2, 2)
    merged = shapely.line_merge(shapely.multilinestrings(shapely.linestrings(ends)))
    lines = shapely.get_parts(shapely.simplify(merged, tolerance))
    return [shapely.get_coordinates(line)[:, ::-1] for line in lines]


@cache
def _points_in(code: str, count: int) -> Points:
    found = borders()
    number = {name: index for index, name in enumerate(found.codes)}[code]
    lat, lon, *_ = edges().degrees(found.country[edges().feature] == number)
    low, high = np.sin(np.radians([lat.min(), lat.max()]))  # alike many on every square kilometre
    points, tried = np.empty((0, 2)), 0
    while len(points) < count and tried < TRIED:
        step_M = np.arange(tried, tried + TRIED // 16) + 1
        u_M, v_M = (0.5 + step_M / _PLASTIC) % 1, (0.5 + step_M / _PLASTIC**2) % 1
        east_M = lon.min() + u_M * (lon.max() - lon.min())
        some = np.stack([np.degrees(np.arcsin(low + v_M * (high - low))), east_M], axis=1)
        points = np.concatenate([points, _within(some, number)])
        tried += len(step_M)
    if len(points) < ENOUGH:
        points = np.concatenate([points, _within(_islands(), number)])
    return points[:count]


def _within(some: Points, number: int) -> Points:
    """Those of some places, to a hundred metres, that lie on the land of a country."""
    some = some.round(3)
    kept: Points = some[borders().country_index(some[:, 0], some[:, 1], coast_km=0) == number]
    return kept


@cache
def _islands() -> Points:
    """A place on each polygon of the land."""
    lonlat: Points = shapely.get_coordinates(shapely.point_on_surface(polygons("land").tree.geometries))
    return lonlat[:, ::-1]


def neighbours(codes: Sequence[str]) -> NDArray[np.bool_]:
    """Whether two countries have a border in common on land, in a river or in a lake: K×K."""
    code_F = np.array([*answers(), ""])  # the last for `NOTHING`
    pairs = np.unique(np.stack([edges().feature, across()], axis=1)[across() != NOTHING], axis=0)
    index = {code: number for number, code in enumerate(codes)}
    touch_KK = np.zeros((len(codes), len(codes)), dtype=bool)
    for left, right in code_F[pairs]:
        if left in index and right in index and left != right and "-".join(sorted((left, right))) not in AT_SEA:
            touch_KK[index[left], index[right]] = True
    return touch_KK


def points_of(codes: Sequence[str], *, step: float = 1.0) -> list[Points]:
    """Places in each country: the points of a lattice of `step` degrees in it, or for the smallest, its outline.

    Raises KeyError for what is no country's code.
    """
    found = borders()
    lat, lon = np.meshgrid(np.arange(-90 + step / 2, 90, step), np.arange(-180 + step / 2, 180, step), indexing="ij")
    lattice = np.stack([lat.ravel(), lon.ravel()], axis=1)
    country_P = found.country[feature_of(*lattice.T)]
    number = {code: index for index, code in enumerate(found.codes)}
    points = []
    for code in codes:
        own = lattice[country_P == number[code]]
        if not len(own):
            lat0, lon0, *_ = edges().degrees(found.country[edges().feature] == number[code])
            own = np.stack([lat0, lon0], axis=1)[:: max(1, len(lat0) // OUTLINE)]
        points.append(own)
    return points


def kilometres(places: Sequence[Points]) -> NDArray[np.float64]:
    """From row to column, K×K: the mean over a country's points of the distance to the other's nearest, in km.

    It is not symmetric: from a small country a large one beside it is near, but not the other way round.
    """
    starts = np.cumsum([0, *(len(points) for points in places)])[:-1]
    xyz_P3 = np.concatenate([unit(*points.T) for points in places])
    km_KK = np.empty((len(places), len(places)))
    for row, points in enumerate(places):
        cosine_QK = np.maximum.reduceat(unit(*points.T) @ xyz_P3.T, starts, axis=1)
        km_KK[row] = EARTH_RADIUS_KM * np.arccos(np.clip(cosine_QK, -1, 1)).mean(0)
        km_KK[row, row] = 0.0  # rounding leaves some metres
    return km_KK
