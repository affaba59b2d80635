"""The power law finds the law that made the points, and its band widens ahead of them."""

import numpy as np
import pytest

from whichland.studies.findings import BEYOND, fit, parameters


def test_a_power_law_is_found_again() -> None:
    photos = np.array([25.0, 50.0, 100.0, 200.0, 400.0])
    a, b, c = parameters(photos, (0.9 - 2.0 * photos**-0.5)[None])
    assert (a[0], b[0], c[0]) == (
        pytest.approx(0.9, abs=0.01),
        pytest.approx(2.0, rel=0.1),
        pytest.approx(0.5, abs=0.03),
    )


def test_scores_stay_below_one_and_do_not_fall() -> None:
    photos = np.array([10.0, 20.0, 40.0])
    a, b, _ = parameters(photos, np.array([[0.5, 0.7, 0.95], [0.8, 0.7, 0.6]]))
    assert a[0] <= 1
    assert b[1] == 0
    assert a[1] == pytest.approx(0.7)


def test_the_band_is_wider_beyond_the_points() -> None:
    random = np.random.default_rng(0)
    photos, score = np.array([25.0, 50.0, 100.0]), np.array([0.5, 0.6, 0.66])
    curve = fit(photos, score, score + random.normal(0, 0.02, (400, 3)))
    assert curve is not None
    wide = curve.high - curve.low
    inside = (curve.photos > 40) & (curve.photos < 90)
    assert wide[-1] > 1.5 * wide[inside].max()
    assert (curve.low <= curve.score).all()
    assert (curve.score <= curve.high).all()
    assert curve.photos[-1] == pytest.approx(BEYOND * 100)


def test_two_sizes_make_no_curve() -> None:
    assert fit(np.array([25.0, 50.0]), np.array([0.5, 0.6]), np.zeros((10, 2))) is None
