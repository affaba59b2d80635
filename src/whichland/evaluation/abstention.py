"""What is gained by not answering when unsure: risk against coverage, and thresholds put to the test.

The risk at a coverage is the share of wrong answers among that share of the photos of which the model is surest
(Geifman & El-Yaniv 2017, arXiv 1705.08500); AURC is its mean over all photos (Geifman, Uziel & El-Yaniv 2019,
arXiv 1805.08206).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichland.bootstrap import Score, interval, replicate, scored, shares
from whichland.evaluation.metrics import Floats, Ints
from whichland.model.calibration import Calibration

POINTS = 50
LEAST = 0.05  # of the photos, where the curve begins: a handful of photos draws no curve


@dataclass(frozen=True, kw_only=True)
class RiskCurve:
    """Risk against coverage, with a 95 % band over groups."""

    coverage: Floats  # P
    risk: Floats  # P
    low: Floats
    high: Floats
    aurc: Score
    perfect: float  # AURC if every right answer were surer than every wrong one
    unordered: float  # AURC if sureness said nothing: the share of wrong answers


@dataclass(frozen=True, kw_only=True)
class JudgedAbstention:
    """A threshold of the bundle, and what it gives here."""

    accuracy: float  # asked for
    threshold: float | None  # None: no threshold kept it on the validation photos
    answered: Score | None = None
    right: Score | None = None  # of the answered; None: none was


def risk_curve(probs_NK: NDArray[np.floating[Any]], truth_N: Ints, group_N: Ints) -> RiskCurve:
    """Risk against coverage when photos are answered in order of the probabilities of the first guess."""
    levels, level_N = np.unique(-probs_NK.max(axis=1), return_inverse=True)  # ties are answered together
    wrong_N = (probs_NK.argmax(axis=1) != truth_N).astype(float)
    coverage_P = np.linspace(LEAST, 1, POINTS)

    def statistic(weights_N: Floats) -> Floats:
        at_U = np.bincount(level_N, weights_N, len(levels))
        answered_U = np.cumsum(at_U)
        wrong_U = np.cumsum(np.bincount(level_N, weights_N * wrong_N, len(levels)))
        risk_U = np.divide(wrong_U, answered_U, out=np.zeros_like(wrong_U), where=answered_U > 0)
        wrong_P = np.interp(coverage_P * answered_U[-1], np.append(0, answered_U), np.append(0, wrong_U))
        return np.append(at_U @ risk_U / answered_U[-1], wrong_P / (coverage_P * answered_U[-1]))

    values, drawn = statistic(np.ones(len(truth_N))), replicate(statistic, group_N)
    low, high = interval(drawn[:, 1:])
    photos = np.arange(1, len(truth_N) + 1)
    return RiskCurve(
        coverage=coverage_P,
        risk=values[1:],
        low=low,
        high=high,
        aurc=scored(values[:1], drawn[:, :1])[0],
        perfect=float((np.maximum(0, photos - (len(truth_N) - wrong_N.sum())) / photos).mean()),
        unordered=float(wrong_N.mean()),
    )


def judge_abstention(
    calibration: Calibration, probs_NK: NDArray[np.floating[Any]], truth_N: Ints, group_N: Ints
) -> list[JudgedAbstention]:
    """Put the bundle's thresholds to these photos: how many are answered, and how many of those are right."""
    sure_N, right_N = probs_NK.max(axis=1), probs_NK.argmax(axis=1) == truth_N
    found = []
    for accuracy, abstention in calibration.abstain.items():
        if abstention.threshold is None:
            found.append(JudgedAbstention(accuracy=accuracy, threshold=None))
            continue
        answered_N = sure_N >= abstention.threshold
        everywhere = np.zeros(len(truth_N), np.int64)
        (answered,) = shares(answered_N, everywhere, 1, group_N)
        (right,) = shares(right_N, everywhere - ~answered_N, 1, group_N)
        found.append(
            JudgedAbstention(accuracy=accuracy, threshold=abstention.threshold, answered=answered, right=right)
        )
    return found
