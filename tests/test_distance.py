import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichland.geo.distance import EARTH_RADIUS_KM, geoguessr_score, haversine_km

LAT, LON = st.floats(-90, 90), st.floats(-180, 180)


@pytest.mark.parametrize(
    ("place", "other", "km"),
    [
        ((0, 0), (0, 90), np.pi / 2 * EARTH_RADIUS_KM),
        ((90, 0), (-90, 123), np.pi * EARTH_RADIUS_KM),
        ((0, 179.5), (0, -179.5), np.pi / 180 * EARTH_RADIUS_KM),
        ((50.0359, -5.4253), (58.3838, -3.0412), 940.9),  # Land's End to John o' Groats, by great circle
        ((10, 20), (10, 20), 0),
    ],
)
def test_known_distances(place: tuple[float, float], other: tuple[float, float], km: float) -> None:
    assert haversine_km(*place, *other) == pytest.approx(km, rel=2e-3, abs=1e-9)


@given(LAT, LON, LAT, LON)
def test_equals_the_angle_between_vectors(lat1: float, lon1: float, lat2: float, lon2: float) -> None:
    def vector(lat: float, lon: float) -> np.ndarray:
        phi, theta = np.radians(lat), np.radians(lon)
        return np.array([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)])

    one, other = vector(lat1, lon1), vector(lat2, lon2)
    angle = np.arctan2(np.linalg.norm(np.cross(one, other)), one @ other)
    assert haversine_km(lat1, lon1, lat2, lon2) == pytest.approx(EARTH_RADIUS_KM * angle, rel=1e-6, abs=1e-3)


def test_arrays_broadcast() -> None:
    assert haversine_km(np.zeros((3, 1)), 0, 0, np.arange(4.0)).shape == (3, 4)


def test_scores_fall_with_the_distance_on_the_scale_of_the_map() -> None:
    assert geoguessr_score(0) == 5000
    assert geoguessr_score(14916.862 / 10) == pytest.approx(5000 / np.e)
    assert geoguessr_score([50.0], scale_km=500)[0] == pytest.approx(5000 / np.e)
    assert (np.diff(geoguessr_score(np.arange(0.0, 20000, 500))) < 0).all()
