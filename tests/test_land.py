"""Where there is land: known places, islands, date line and pole; every country has places on its land."""

import numpy as np
import pytest
import shapely

from whichland.geo.borders import border_km, country_of
from whichland.geo.countries import COUNTRIES
from whichland.geo.distance import haversine_km
from whichland.geo.land import border_lines, land_points, on_land, outlines, sea_km

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


def test_the_land_drawn_small_is_still_the_land() -> None:
    fine, coarse = outlines(0.05), outlines(1.0)
    assert len(fine) > len(coarse) > 5
    assert sum(map(len, fine)) > 5 * sum(map(len, coarse))
    tree = shapely.STRtree([shapely.Polygon(ring[:, ::-1]) for ring in fine])
    for name, (lat, lon) in DRY.items():
        if "Taveuni" not in name and "Pole" not in name:  # on the edges of the map
            assert len(tree.query(shapely.Point(lon, lat), "within")), name
    for name, (lat, lon) in WET.items():
        assert not len(tree.query(shapely.Point(lon, lat), "within")), name


def test_lines_between_countries_run_where_countries_meet() -> None:
    lines = border_lines(0.05)
    lat, lon = np.concatenate(lines).T
    assert np.median(border_km(lat, lon)) < 1
    drawn = shapely.MultiLineString([line[:, ::-1] for line in lines])
    for name, (lat, lon) in {"49th parallel": (49.0, -110.0), "Libya and Egypt": (27.0, 25.0)}.items():
        assert shapely.distance(drawn, shapely.Point(lon, lat)) < 0.1, name
    assert shapely.distance(drawn, shapely.Point(2.35, 48.86)) > 1.5  # Paris
