"""Scores of probabilities: right where the truth is known, freed of what chance adds, groups kept whole."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import log_loss

from test_calibration import simulated
from whichland.evaluation.figures import reliability_svg
from whichland.evaluation.probabilities import (
    calibration_error,
    compared,
    equal_mass,
    folded,
    probability_scores,
    reliability,
)
from whichland.model.calibration import log_softmax


def answers(photos: int, seed: int, too_sure: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    logits, truth = simulated(photos, seed, too_sure=too_sure)
    return np.exp(log_softmax(logits)), truth


def in_bins(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The calibration error as most compute it, over the same bins."""
    miss = (probabilities.argmax(axis=1) == truth) - probabilities.max(axis=1)
    return float(np.abs(np.bincount(equal_mass(probabilities.max(axis=1)), miss)).sum() / len(truth))


def freed_of_chance(probabilities: np.ndarray, truth: np.ndarray) -> float:
    error = calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == truth, np.arange(len(truth)))
    return error(np.ones(len(truth)))[0]


def test_brier_and_likelihood_are_those_of_the_textbook() -> None:
    probabilities, truth = answers(500, 0, too_sure=2)
    found = probability_scores(probabilities, truth, np.arange(500))
    assert found.nll.value == pytest.approx(log_loss(truth, probabilities, labels=range(7)))
    assert found.brier.value == pytest.approx(((probabilities - np.eye(7)[truth]) ** 2).sum(axis=1).mean())
    sure_and_wrong = probability_scores(np.eye(7)[truth], (truth + 1) % 7, np.arange(500))
    assert found.ece.value == freed_of_chance(probabilities, truth)
    assert sure_and_wrong.brier.value == 2
    assert np.isfinite(sure_and_wrong.nll.value)


def test_the_calibration_error_is_freed_of_chance() -> None:
    honest = [answers(300, seed) for seed in range(25)]
    plain = np.mean([in_bins(*pair) for pair in honest])
    freed = np.mean([freed_of_chance(*pair) for pair in honest])
    assert plain > 0.05  # there is no error: this is chance
    assert freed < 0.65 * plain
    probabilities, truth = answers(20000, 1, too_sure=3)  # so many photos that there is little chance
    assert freed_of_chance(probabilities, truth) == pytest.approx(in_bins(probabilities, truth), rel=0.02)


def test_photos_that_fare_alike_widen_every_interval() -> None:
    probabilities, truth = answers(100, 2, too_sure=2)
    twelve = np.repeat(np.arange(100), 12)
    once = probability_scores(probabilities, truth, np.arange(100))
    by_group = probability_scores(probabilities[twelve], truth[twelve], twelve)
    by_photo = probability_scores(probabilities[twelve], truth[twelve], np.arange(1200))
    for name in ("brier", "nll"):
        widths = [getattr(s, name).high - getattr(s, name).low for s in (once, by_group, by_photo)]
        assert widths[1] == pytest.approx(widths[0], rel=1e-6)
        assert widths[2] < widths[0] / 2
    assert by_group.ece.low < by_photo.ece.low  # more chance is taken off


def test_a_paired_change_is_surer_than_two_scores() -> None:
    logits, truth = simulated(400, 3, too_sure=2)
    before, after, change = compared(np.exp(log_softmax(logits)), np.exp(log_softmax(logits, 2)), truth, np.arange(400))
    assert change.nll.value == pytest.approx(after.nll.value - before.nll.value)
    assert change.nll.high < 0  # the temperature helps for sure
    assert change.nll.high - change.nll.low < before.nll.high - before.nll.low


def test_bins_have_as_many_photos_each_and_equal_odds_stay_together() -> None:
    probabilities, truth = answers(600, 4)
    found = reliability(probabilities, truth, np.arange(600))
    assert [b.photos for b in found] == [60] * 10
    assert all(b.low <= b.probabilities <= b.high for b in found)
    assert all(left.high <= right.low for left, right in pairwise(found))
    assert sum(b.right.value * b.photos for b in found) == (probabilities.argmax(axis=1) == truth).sum()
    (only,) = reliability(np.full((50, 2), 0.5), np.zeros(50, np.int64), np.arange(50))
    assert (only.photos, only.right.value, only.right.high) == (50, 1.0, 1.0)
    assert only.right.low == pytest.approx(binomtest(50, 50).proportion_ci(method="exact").low, abs=0.01)
    assert len(reliability(probabilities[:7], truth[:7], np.arange(7))) == 1


def test_the_mean_size_of_a_normal() -> None:
    random = np.random.default_rng(0).normal(size=200_000)
    for mean, deviation in ((0.0, 1.0), (0.5, 1.0), (3.0, 1.0), (0.2, 0.1)):
        sampled = np.abs(mean + deviation * random).mean()
        assert folded(np.array([mean]), np.array([deviation]))[0] == pytest.approx(sampled, rel=0.01)
    assert folded(np.array([0.3]), np.array([0.0]))[0] == pytest.approx(0.3)


def test_the_diagram_is_whole_and_its_bars_lie_inside() -> None:
    probabilities, truth = answers(600, 5, too_sure=2)
    svg = reliability_svg(reliability(probabilities, truth, np.arange(600)))
    root = ElementTree.fromstring(svg)
    bars = [bar for bar in root.iter("{http://www.w3.org/2000/svg}rect") if "cell" in bar.attrib["class"]]
    width, height = map(float, re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())
    assert len(bars) == 10
    assert width <= 360
    for bar in bars:
        assert 0 <= float(bar.attrib["x"]) <= width - float(bar.attrib["width"])
        assert 0 <= float(bar.attrib["y"]) <= height - float(bar.attrib["height"])
