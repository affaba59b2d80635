"""Where there is land: known places, islands, date line and pole; every country has places on its land."""

import numpy as np
import pytest

from whichland.geo.borders import country_of
from whichland.geo.countries import COUNTRIES
from whichland.geo.distance import haversine_km
from whichland.geo.land import land_points, on_land, sea_km

DRY = {
    "Paris": (48.8566, 2.3522),
    "Bali": (-8.4, 115.2),
    "north of Finland": (67.2, 27.2),
    "Chukotka, beyond the date line": (66.5, -175.0),
    "Taveuni, on the date line": (-16.85, 180.0),
    "South Pole": (-90.0, 0.0),
    "Lake Victoria": (-1.0, 33.0),
    "Lesotho, within South Africa": (-29.6, 28.2),
}
WET = {
    "Bay of Biscay": (46.0, -6.0),
    "Java Sea, within Indonesia's borders": (-5.0, 112.0),
    "Gulf of Bothnia, within Sweden's": (62.5, 19.0),
    "North Pole": (90.0, 0.0),
    "Null Island": (0.0, 0.0),
}


def test_known_places() -> None:
    assert [name for name, place in DRY.items() if not on_land(*place)] == []
    assert [name for name, place in WET.items() if on_land(*place)] == []
    lat, lon = np.array([*DRY.values(), *WET.values()]).T
    assert on_land(lat, lon).tolist() == [True] * len(DRY) + [False] * len(WET)


def test_the_way_to_land() -> None:
    assert sea_km(48.8566, 2.3522) == 0
    assert sea_km(0.0, 0.0) == pytest.approx(haversine_km(0, 0, 4.74, -2.1), rel=0.1)  # the coast of Ghana
    across = sea_km(-16.8, [179.5, -179.5])  # Fiji, from either side of the date line
    assert across.max() < 60


def test_every_country_has_places_on_its_land() -> None:
    codes = list(COUNTRIES)
    points = land_points(codes, 30)
    assert min(map(len, points)) >= 1
    lat, lon = np.concatenate(points).T
    assert on_land(lat, lon).all()
    assert (country_of(lat, lon) == np.repeat(codes, [len(own) for own in points])).all()
    assert sum(len(own) < 20 for own in points) < 15  # island states


def test_they_are_spread_evenly_and_the_same_at_each_call() -> None:
    (russia,) = land_points(["RU"])
    assert russia.shape == (100, 2)
    # 23 % of Russia's land lies west of the Urals (60° E)
    assert 0.13 < (russia[:, 1] % 360 < 60).mean() < 0.33
    apart = haversine_km(russia[:, :1], russia[:, 1:], russia[:, 0], russia[:, 1])
    np.fill_diagonal(apart, np.inf)
    assert apart.min() > 100
    assert (land_points(["RU"], 30)[0] == russia[:30]).all()
    with pytest.raises(KeyError):
        land_points(["ZZ"])
