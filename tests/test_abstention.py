"""Risk against coverage and thresholds put to the test."""

from xml.etree import ElementTree

import numpy as np
import pytest

from test_calibration import simulated
from whichland.evaluation.figures import risk_svg
from whichland.evaluation.probabilities import judge_abstention, risk_curve
from whichland.model.calibration import fit, log_softmax


def test_the_area_under_the_curve_is_the_mean_risk_of_the_surest() -> None:
    logits, truth = simulated(300, 0)
    probabilities = np.exp(log_softmax(logits))
    wrong = (probabilities.argmax(axis=1) != truth)[np.argsort(-probabilities.max(axis=1))]
    risks = np.cumsum(wrong) / np.arange(1, 301)
    found = risk_curve(probabilities, truth, np.arange(300))
    assert found.aurc.value == pytest.approx(risks.mean())
    assert found.perfect == pytest.approx((np.cumsum(np.sort(wrong)) / np.arange(1, 301)).mean())
    assert found.unordered == pytest.approx(wrong.mean())
    assert found.perfect < found.aurc.low < found.aurc.value < found.aurc.high < found.unordered
    assert found.risk[-1] == pytest.approx(wrong.mean())
    assert (found.low <= found.risk + 1e-9).all()
    assert (found.risk <= found.high + 1e-9).all()
    ElementTree.fromstring(risk_svg(found))


def test_equal_odds_have_no_order_whatever_the_order_of_the_rows() -> None:
    probabilities = np.tile([0.6, 0.4], (100, 1))
    truth = (np.arange(100) >= 70).astype(np.int64)  # the first seventy are right
    for order in (np.arange(100), np.arange(100)[::-1]):
        found = risk_curve(probabilities, truth[order], np.arange(100))
        assert found.risk == pytest.approx(np.full(len(found.risk), 0.3))
        assert found.aurc.value == pytest.approx(0.3)


def test_thresholds_of_the_bundle_are_put_to_other_photos() -> None:
    logits, truth = simulated(2000, 1)
    calibration = fit(logits[:1000], truth[:1000], [None] * 1000, accuracies=(0.8, 0.999))
    probabilities, answer = np.exp(log_softmax(logits[1000:], calibration.temperature)), truth[1000:]
    found = judge_abstention(calibration, probabilities, answer, np.arange(1000))
    answered = probabilities.max(axis=1) >= calibration.abstain[0.8].threshold
    assert found[0].answered.value == pytest.approx(answered.mean())
    assert found[0].right.value == pytest.approx((probabilities.argmax(axis=1) == answer)[answered].mean())
    assert found[0].right.value >= 0.8
    assert found[1].threshold is found[1].right is None
    (silent, _) = judge_abstention(calibration, np.full((30, 7), 1 / 7), answer[:30], np.arange(30))
    assert (silent.answered.value, silent.right) == (0, None)
