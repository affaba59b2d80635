"""Pins: the place with the highest expected score, checked by brute force, and their distances from the truth."""

import numpy as np
import polars as pl
import pytest

from whichland.evaluation.pins import centroids, judge_pins
from whichland.evaluation.predictions import Identity, Predictions
from whichland.geo.distance import geoguessr_score, haversine_km
from whichland.geo.land import land_points, sea_km
from whichland.manifest import Manifest
from whichland.model.label_points import located
from whichland.model.label_sources import countries
from whichland.model.labels import LabelSpace
from whichland.model.pins import pin_table, pins

LABELS = ("FI", "NO", "PL", "SI", "US")


@pytest.mark.parametrize("scale_km", [14916.862, 2000.0])
def test_no_place_is_expected_to_score_more(scale_km: float) -> None:
    places = land_points(LABELS, 15)
    probabilities = np.random.default_rng(0).dirichlet(np.full(5, 0.4), 12)
    found, expected = pins(probabilities, pin_table(places, scale_km=scale_km))
    candidates = np.concatenate(places)
    for photo in range(len(probabilities)):
        worth = []
        for lat, lon in candidates:
            means = [
                geoguessr_score(haversine_km(lat, lon, of[:, 0], of[:, 1]), scale_km=scale_km).mean() for of in places
            ]
            worth.append(probabilities[photo] @ np.array(means))
        assert expected[photo] == pytest.approx(max(worth), rel=1e-4)
        at = np.flatnonzero((candidates == found[photo]).all(axis=1))[0]
        assert worth[at] == pytest.approx(max(worth), rel=1e-4)


def test_when_in_doubt_between_neighbours_it_stays_near_both() -> None:
    places = land_points(("SI", "HR", "NZ"))
    table = pin_table(places)
    ((lat, lon),), _ = pins(np.array([[0.4, 0.25, 0.35]]), table)
    assert 43 < lat < 47  # not between Europe and New Zealand
    assert 13 < lon < 19


def test_a_pin_is_never_at_sea_but_a_centroid_may_be() -> None:
    places = land_points(LABELS)
    probabilities = np.random.default_rng(1).dirichlet(np.full(5, 0.3), 500)
    found, _ = pins(probabilities, pin_table(places))
    assert sea_km(*found.T).max() == 0
    dry = dict(zip(LABELS, sea_km(*centroids(places).T) == 0, strict=True))
    assert dry["SI"]
    (between,) = centroids([np.array([[3.8, 102.0], [2.5, 113.5]])])  # Malaysia's two halves
    assert sea_km(*between) > 10
    assert centroids([np.array([[0.0, 179.0], [0.0, -179.0]])])[0, 1] % 360 == pytest.approx(180)


def predictions(truth: np.ndarray, probabilities: np.ndarray) -> Predictions:
    codes = [LABELS[at] for at in truth]
    frame = pl.DataFrame({"image_id": [f"t{n}" for n in range(len(truth))], "country": codes})
    frame = frame.with_columns(group=pl.Series([f"g{n // 2}" for n in range(len(truth))]))
    return Predictions(
        identity=Identity(bundle_sha256="", manifest_sha256="", split="test"),
        space=countries(LABELS),
        frame=frame,
        probabilities=probabilities.astype(np.float32),
        unknown={},
        unplaced=0,
        unreadable={},
    )


def placed(found: Predictions, places: LabelSpace, every: int = 2) -> Manifest:
    """The photos at places of their countries; every second has no coordinates; rows in another order."""
    random = np.random.default_rng(3)
    rows = []
    for at, (name, code) in enumerate(found.frame.select("image_id", "country").iter_rows()):
        lat, lon = random.choice(places.points[LABELS.index(code)])
        rows.append((name, lat if at % every == 0 else None, lon if at % every == 0 else None))
    return Manifest(pl.DataFrame(rows[::-1], schema=["image_id", "lat", "lon"], orient="row"))


def test_pins_beat_centroids_where_the_odds_are_honest() -> None:
    random = np.random.default_rng(2)
    probabilities = random.dirichlet(np.ones(5), 1200)
    truth = np.array([random.choice(5, p=row) for row in probabilities])
    places = located(countries(LABELS))
    found = predictions(truth, probabilities)
    report = judge_pins(found, places, placed(found, places))
    assert (report.photos, report.located, report.from_photos) == (1200, 600, 0)
    assert list(report.rules) == ["centroid", "best_of_first", "pin"]
    pin, centroid = report.rules["pin"], report.rules["centroid"]
    assert report.gain is not None
    assert report.gain.score.value == pytest.approx(pin.score.value - centroid.score.value)
    assert report.gain.score.low > 0
    assert report.expected == pytest.approx(pin.score.value, abs=120)  # honest probabilities keep their promise
    assert report.expected_of_centroids < report.expected
    for score in (pin.mean_km, pin.median_km, pin.score):
        assert score.low <= score.value <= score.high


def test_distances_are_those_of_each_photo() -> None:
    truth = np.array([0, 1, 2, 3])
    found = predictions(truth, np.eye(5)[[0, 1, 2, 0]])
    places = located(countries(LABELS))
    table = placed(found, places, every=1)
    report = judge_pins(found, places, table)
    coordinates = table.frame.reverse().select("lat", "lon").to_numpy()
    guessed = centroids(places.points)[[0, 1, 2, 0]]
    km = haversine_km(*guessed.T, *coordinates.T)
    assert report.rules["centroid"].mean_km.value == pytest.approx(km.mean())
    assert report.rules["centroid"].median_km.value == pytest.approx(np.sort(km)[1])
    assert report.rules["centroid"].score.value == pytest.approx(geoguessr_score(km).mean())


def test_without_coordinates_only_expectations_are_reported() -> None:
    found = predictions(np.array([0, 1]), np.eye(5)[[0, 2]])
    report = judge_pins(found, located(countries(LABELS)), Manifest(found.frame.select("image_id")))
    assert (report.located, report.rules, report.gain) == (0, {}, None)
    assert report.expected > 3000
