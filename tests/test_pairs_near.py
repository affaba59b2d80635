"""The cells against comparing every pair, also at the poles, across the antimeridian and in crowds."""

import time

import numpy as np
import pytest

from whichland.curate import pairs
from whichland.curate.pairs import connected_components, nearest_km, pairs_within
from whichland.geo.distance import haversine_km


def crowd(seed: int, count: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Points around one that may be a pole or lie on the antimeridian, a fifth of them without coordinates."""
    random = np.random.default_rng(seed)
    middle = random.choice([-89.9995, 0.0, 52.0, 89.9995])
    lat = np.clip(middle + random.normal(0, spread, count), -90, 90)
    wide = spread / max(np.cos(np.radians(middle)), 1e-4)
    lon = (random.choice([-3.0, 179.9999]) + random.normal(0, wide, count) + 180) % 360 - 180
    lat[random.random(count) < 0.2] = np.nan
    return lat, lon


def every_distance_m(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    return haversine_km(lat[:, None], lon[:, None], lat[None], lon[None]) * 1000


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("crowded", [1, 4096])
def test_the_components_are_those_of_all_pairs(seed: int, crowded: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "CROWD", crowded)
    monkeypatch.setattr(pairs, "TOGETHER", 50)
    for spread, radius in ((0.001, 10.0), (0.005, 50.0), (0.02, 300.0)):
        lat, lon = crowd(seed, 150, spread)
        expected = np.argwhere(every_distance_m(lat, lon) <= radius)
        found = pairs_within(lat, lon, radius)
        assert (connected_components(150, found) == connected_components(150, expected)).all()
        assert (every_distance_m(lat, lon)[found[:, 0], found[:, 1]] <= radius + 1e-6).all()
        assert connected_components(150, expected).max() > 0


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("spread", [0.0001, 0.01, 20.0])
def test_the_nearest_across_two_sets_is_that_of_all_pairs(seed: int, spread: float) -> None:
    lat, lon = crowd(seed, 200, spread)
    here = np.random.default_rng(seed).random(200) < 0.2
    expected = np.nanmin(every_distance_m(lat, lon)[np.ix_(here, ~here)]) / 1000
    assert nearest_km(lat, lon, here, ~here) == pytest.approx(expected, abs=1e-8, rel=1e-9)


def test_without_coordinates_there_is_neither() -> None:
    nowhere, here = np.full(4, np.nan), np.array([True, True, False, False])
    assert len(pairs_within(nowhere, nowhere, 50.0)) == 0
    assert nearest_km(nowhere, nowhere, here, ~here) is None
    assert nearest_km(np.zeros(4), np.zeros(4), here, ~here) == 0
    assert nearest_km(np.zeros(4), np.zeros(4), np.ones(4, dtype=bool), np.zeros(4, dtype=bool)) is None


def test_a_town_of_photos_with_the_towns_coordinates_is_not_compared_each_with_each() -> None:
    lat, lon = np.full(200_000, 48.0), np.full(200_000, 2.0)
    here = np.arange(200_000) % 4 == 0
    start = time.monotonic()
    assert nearest_km(lat, lon, here, ~here) == 0
    assert time.monotonic() - start < 5


def test_a_hundred_thousand_photos_of_one_square_take_no_time() -> None:
    """A place is a chain, not a thousand million pairs; two places 60 m apart are seen to be apart."""
    random = np.random.default_rng(0)
    lat = 48.0 + random.normal(0, 1e-5, 100_000)
    lon = 2.0 + np.where(np.arange(100_000) % 2, 0.0008, 0.0) + random.normal(0, 1e-5, 100_000)
    start = time.monotonic()
    found = connected_components(100_000, pairs_within(lat, lon, 50.0))
    assert len(np.unique(found)) == 2
    assert time.monotonic() - start < 10
