"""How countries lie to each other: borders in common, and distances between their places."""

import numpy as np
import pytest

from whichland.geo.distance import haversine_km
from whichland.geo.land import AT_SEA, kilometres, neighbours, points_of


def test_neighbours_have_a_border_on_land() -> None:
    codes = ["DE", "FR", "ES", "PT", "JP", "NA", "ZA", "LS", "GB", "IE", "MC", "RU", "US", "DK", "SE", "MY", "SG"]
    beside = neighbours(codes)
    found = {f"{codes[i]}-{codes[j]}" for i, j in zip(*np.nonzero(beside), strict=True) if i < j}
    assert found == {"DE-FR", "DE-DK", "FR-ES", "FR-MC", "ES-PT", "NA-ZA", "ZA-LS", "GB-IE"}
    assert (beside == beside.T).all()


def test_what_is_said_to_meet_at_sea_alone_does_meet() -> None:
    codes = sorted({code for pair in AT_SEA for code in pair.split("-")})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("whichland.geo.land.AT_SEA", frozenset())
        everywhere = neighbours(codes)
    for pair in AT_SEA:
        left, right = (codes.index(code) for code in pair.split("-"))
        assert left < right
        assert everywhere[left, right], pair


def test_every_country_has_places_and_they_lie_in_it() -> None:
    codes = ["DE", "MC", "VA", "RU", "NA"]
    germany, monaco, vatican, russia, namibia = points_of(codes)
    assert 40 < len(germany) < 60  # 357,000 km² of about 7,600 km² a point there
    for points, lat, lon in ((monaco, 43.73, 7.42), (vatican, 41.903, 12.453)):
        assert 1 <= len(points) <= 128
        assert haversine_km(points[:, 0], points[:, 1], lat, lon).max() < 120  # Monaco's sea is long
    assert len(russia) > 2000
    assert (namibia[:, 0] < -16).all()


def test_kilometres_are_means_of_the_way_to_the_nearest_place() -> None:
    here = np.array([[0.0, 0.0], [0.0, 10.0]])
    there = np.array([[0.0, 11.0], [60.0, 100.0]])
    km = kilometres([here, there])
    degree = float(haversine_km(0, 0, 0, 1))
    assert km[0, 1] == pytest.approx((11 + 1) / 2 * degree)
    far = min(float(haversine_km(60, 100, *point)) for point in here)
    assert km[1, 0] == pytest.approx((degree + far) / 2)
    assert km.diagonal().tolist() == [0, 0]
