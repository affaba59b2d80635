"""Where there is land: borders reach out to sea, coasts do not.

    >>> bool(on_land(48.8566, 2.3522)), bool(on_land(46.0, -6.0))
    (True, False)

`land.npz` is made by scripts/land.py from Natural Earth's map 1:50m, whose coasts are off by some kilometres:
docs/decisions/pins.md has how far street-level photos lie outside.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from whichland.geo.borders import borders
from whichland.geo.distance import haversine_km
from whichland.geo.polygons import NOTHING, across, edges
from whichland.geo.polygons import UNITS as BORDER_UNITS

UNITS = 1_000  # to a degree
POINTS = 100  # of a country, at most
ENOUGH = 20  # with fewer, each of its islands gives one
TRIED = 1 << 16  # places at most until a country has its points

Points = NDArray[np.float64]  # P×2: latitude and longitude in degrees
_PLASTIC = 1.32471795724474602596  # the R2 sequence (Roberts 2018), spread evenly over a square


def on_land(lat: ArrayLike, lon: ArrayLike) -> Any:
    """Whether each point in degrees lies on land; lakes are land."""
    lat_N, lon_N = np.broadcast_arrays(np.asarray(lat, float), np.asarray(lon, float))
    tree, polygons = _land()
    found_N = np.zeros(lat_N.size, dtype=bool)
    point_M, polygon_M = tree.query(shapely.points(lon_N.ravel(), lat_N.ravel()))
    inside_M = shapely.intersects_xy(polygons[polygon_M], lon_N.ravel()[point_M], lat_N.ravel()[point_M])
    found_N[point_M[inside_M]] = True
    return found_N.reshape(lat_N.shape)[()]


def sea_km(lat: ArrayLike, lon: ArrayLike) -> Any:
    """Kilometres from each point in degrees to the nearest land; zero on land."""
    lat_N, lon_N = np.broadcast_arrays(np.asarray(lat, float), np.asarray(lon, float))
    km_N = np.zeros(lat_N.size)
    for wet in np.flatnonzero(~np.ravel(on_land(lat_N, lon_N))):
        km_N[wet] = _coast_km(lat_N.flat[wet], lon_N.flat[wet])
    return km_N.reshape(lat_N.shape)[()]


def _coast_km(lat: float, lon: float) -> float:
    """The way to the nearest of all coasts, each edge straight in the plane at the point."""
    begin_S2, way_S2 = _coast()
    width = np.cos(np.radians(lat))
    east_S = begin_S2[:, 0] - lon
    x_S, y_S = (east_S - 360 * np.rint(east_S / 360)) * width, begin_S2[:, 1] - lat  # the short way round
    dx_S, dy_S = way_S2[:, 0] * width, way_S2[:, 1]
    share_S = np.clip(-(x_S * dx_S + y_S * dy_S) / np.maximum(dx_S**2 + dy_S**2, 1e-30), 0, 1)
    nearest = ((x_S + share_S * dx_S) ** 2 + (y_S + share_S * dy_S) ** 2).argmin()
    there = begin_S2[nearest] + share_S[nearest] * way_S2[nearest]
    return float(haversine_km(lat, lon, there[1], there[0]))


def land_points(codes: Sequence[str], count: int = POINTS) -> list[Points]:
    """Places on land in each country, spread evenly over it, the same at every call: up to `count`, one at least.

    Raises KeyError for what is no country's code.
    """
    return [_points_in(code, count) for code in codes]


def outlines(tolerance: float) -> list[Points]:
    """The land, drawn small: outer rings, V×2 each, off by up to `tolerance` degrees; no tiny islands."""
    polygons = shapely.simplify(_land()[1], tolerance)
    large = polygons[shapely.area(polygons) > tolerance**2]
    return [shapely.get_coordinates(shapely.get_exterior_ring(one))[:, ::-1] for one in large]


def border_lines(tolerance: float) -> list[Points]:
    """The lines between countries, off by up to `tolerance` degrees, V×2 each; some reach out to sea."""
    e, country = edges(), borders().country
    some = np.flatnonzero((across() != NOTHING) & (country[e.feature] < country[across()]))
    ends = np.stack([e.lon0[some], e.lat0[some], e.lon1[some], e.lat1[some]], axis=1) / BORDER_UNITS
    merged = shapely.line_merge(shapely.multilinestrings(shapely.linestrings(ends.reshape(-1, 2, 2))))
    lines = shapely.get_parts(shapely.simplify(merged, tolerance))
    return [shapely.get_coordinates(line)[:, ::-1] for line in lines]


@cache
def _points_in(code: str, count: int) -> Points:
    found = borders()
    number = {name: index for index, name in enumerate(found.codes)}[code]
    e = edges()
    own = found.country[e.feature] == number
    south, north = np.array([e.lat0[own].min(), e.lat0[own].max()]) / BORDER_UNITS
    west, east = np.array([e.lon0[own].min(), e.lon0[own].max()]) / BORDER_UNITS
    low, high = np.sin(np.radians([south, north]))  # alike many on every square kilometre
    points, tried = np.empty((0, 2)), 0
    while len(points) < count and tried < TRIED:
        step_M = np.arange(tried, tried + TRIED // 16) + 1
        u_M, v_M = (0.5 + step_M / _PLASTIC) % 1, (0.5 + step_M / _PLASTIC**2) % 1
        some = np.stack([np.degrees(np.arcsin(low + v_M * (high - low))), west + u_M * (east - west)], axis=1)
        inside = _within(some, number)
        points = np.concatenate([points, inside[on_land(*inside.T)]])
        tried += len(step_M)
    if len(points) < ENOUGH:
        points = np.concatenate([points, _within(_islands(), number)])
    return points[:count]


def _within(some: Points, number: int) -> Points:
    """Those of some places, to a hundred metres, that lie in a country."""
    some = some.round(3)
    kept: Points = some[borders().country_index(some[:, 0], some[:, 1], coast_km=0) == number]
    return kept


@cache
def _islands() -> Points:
    """A place on each polygon of the land."""
    lonlat: Points = shapely.get_coordinates(shapely.point_on_surface(_land()[1]))
    return lonlat[:, ::-1]


@cache
def _land() -> tuple[shapely.STRtree, NDArray[np.object_]]:
    rings, polygon_R = _rings()
    first = np.flatnonzero(np.diff(polygon_R, prepend=-1))
    polygons = np.array(
        [
            shapely.Polygon(rings[begin], rings[begin + 1 : end])
            for begin, end in zip(first, [*first[1:], len(rings)], strict=True)
        ]
    )
    shapely.prepare(polygons)
    return shapely.STRtree(polygons), polygons


@cache
def _coast() -> tuple[Points, Points]:
    """Of every edge where it begins and how far it goes, S×2 degrees of longitude and latitude."""
    rings, _ = _rings()
    return np.concatenate([ring[:-1] for ring in rings]), np.concatenate([np.diff(r, axis=0) for r in rings])


@cache
def _rings() -> tuple[list[Points], NDArray[np.int32]]:
    """Each ring, closed, V×2 longitudes and latitudes; and its polygon's number, whose first ring is the outer."""
    with np.load(Path(__file__).with_name("land.npz")) as data:
        lonlat = np.stack([np.cumsum(data["lon"]), np.cumsum(data["lat"])], axis=1) / UNITS
        return np.split(lonlat, np.cumsum(data["vertices"])[:-1]), data["polygon"]
