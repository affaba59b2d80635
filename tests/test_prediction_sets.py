"""Country sets put to photos that fitted nothing."""

import numpy as np
import pytest
from scipy.stats import binomtest

from test_calibration import simulated
from tiny_bundle import LABELS
from whichland.evaluation.probabilities import judge_sets
from whichland.model.calibration import Calibration, fit, log_softmax


def test_coverage_size_and_the_worst_countries_are_counted() -> None:
    probabilities = np.tile([0.5, 0.3, 0.2], (90, 1))
    truth = np.repeat([0, 1, 2], 30)
    truth[:3] = 2
    kept = Calibration(temperature=1, photos=398, groups=398, sets={0.8: 0.25}, abstain={})
    (found,) = judge_sets(kept, probabilities, truth, np.arange(90), ("DE", "FR", "JP"))
    assert found.coverage.value == pytest.approx(57 / 90)
    assert found.coverage.low < 57 / 90 < found.coverage.high
    assert (found.size.value, found.size.within()) == (2, "no interval: all groups alike")
    assert found.alone == 0
    assert found.least_covered == (("JP", 0.0, 33), ("DE", 1.0, 27), ("FR", 1.0, 30))
    assert found.luck == pytest.approx(0.02)


def test_the_first_guess_is_always_in_and_few_photos_of_a_country_are_not_named() -> None:
    kept = Calibration(temperature=1, photos=9, groups=9, sets={0.8: 0.9}, abstain={})
    probabilities = np.tile([0.4, 0.35, 0.25], (19, 1))
    (found,) = judge_sets(kept, probabilities, np.zeros(19, np.int64), np.arange(19), ("DE", "FR", "JP"))
    assert (found.size.value, found.alone, found.coverage.value) == (1, 1, 1)
    exact = binomtest(19, 19).proportion_ci(method="exact").low
    assert found.coverage.low is not None
    assert exact - 0.05 < found.coverage.low <= exact
    assert found.least_covered == ()


def test_what_was_fitted_holds_on_other_drives_though_the_fitted_ones_differ_in_length() -> None:
    covered = []
    for seed in range(12):
        logits, truth = simulated(400, seed, too_sure=2)
        frames = np.repeat(np.arange(200), np.where(np.arange(200) % 20 == 0, 40, 1))  # some long drives
        kept = fit(logits[frames], truth[frames], frames)
        probabilities = np.exp(log_softmax(logits[200:], kept.temperature))
        within = [kept.set_of(probabilities, level) for level in kept.sets]
        covered.append([sets[np.arange(200), truth[200:]].mean() for sets in within])
    assert list(kept.sets) == [0.8, 0.9, 0.95]
    assert np.mean(covered, axis=0) == pytest.approx([0.8, 0.9, 0.95], abs=0.03)
    found = judge_sets(kept, probabilities, truth[200:], np.arange(200), LABELS)
    assert [row.coverage.value for row in found] == pytest.approx(covered[-1])
    assert [row.size.value for row in found] == pytest.approx([sets.sum() / 200 for sets in within])
