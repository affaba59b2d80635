"""Distances on the globe."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

EARTH_RADIUS_KM = 6371.0088  # mean radius of WGS84 (IUGG)
WORLD_KM = 14_916.862  # the size of GeoGuessr's world map, as its players know it
FULL_SCORE = 5_000.0


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
