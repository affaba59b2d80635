"""What a report says of the probabilities: calibration, prediction sets and abstention.

- A prediction set's coverage is an average, over photos and over what validation photos might have been drawn: it
  does not hold for each country, so the countries that are covered least are named.
- The risk at a coverage is the share of wrong answers among that share of the photos of which the model is surest
  (Geifman & El-Yaniv 2017, arXiv 1705.08500); AURC is its mean over all photos (Geifman, Uziel & El-Yaniv 2019,
  arXiv 1805.08206).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichland.evaluation.predictions import Predictions
from whichland.evaluation.reliability import Bin, ProbabilityScores, compared, probability_scores, reliability
from whichland.model.calibration import NOTHING, Calibration, log_softmax, reaches
from whichland.model.info import Info
from whichland.statistics import Flags, Floats, Ints, Score, bootstrap, interval, replicate, scored, share, shares

FEWEST = 20  # photos of a country below which its own coverage says little
WORST = 3
POINTS = 50  # of the curve of risk
LEAST = 0.05  # of the photos, where the curve begins: a handful of photos draws no curve

Probabilities = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class JudgedSets:
    """The prediction sets of one level."""

    level: float
    threshold: float  # probabilities from which on a country is in a set
    coverage: Score
    luck: float  # standard deviation of the true coverage over the draw of the validation photos
    size: Score  # mean number of countries
    alone: float  # share of the sets that hold one country
    least_covered: tuple[tuple[str, float, int], ...]  # country, coverage, photos; of those with `FEWEST` photos


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


@dataclass(frozen=True, kw_only=True)
class ProbabilityReport:
    """The probabilities of one evaluation, judged."""

    calibration: Calibration | None  # what the bundle keeps; None: it has not been calibrated
    temperature: float
    scores: ProbabilityScores
    plain: ProbabilityScores | None  # of the same answers at temperature 1; None where that is what they are
    change: ProbabilityScores | None  # scores - plain, paired
    bins: list[Bin]
    curve: RiskCurve
    sets: list[JudgedSets]  # empty without a calibration
    abstention: list[JudgedAbstention]


def judge_probabilities(found: Predictions, info: Info) -> ProbabilityReport:
    """Judge answers and what their bundle keeps about its probabilities."""
    calibration, temperature = info.calibration, info.temperature
    judged = (found.probabilities, found.truth, found.groups)
    plain, change = None, None
    if temperature == 1 or found.per == "panorama":  # probabilities of several photos have no one temperature
        scores = probability_scores(*judged)
    else:
        logits = np.log(np.maximum(found.probabilities.astype(np.float64), NOTHING)) * temperature
        plain, scores, change = compared(np.exp(log_softmax(logits)), *judged)
    return ProbabilityReport(
        calibration=calibration,
        temperature=temperature,
        scores=scores,
        plain=plain,
        change=change,
        bins=reliability(*judged),
        curve=risk_curve(*judged),
        sets=judge_sets(calibration, *judged, found.labels) if calibration else [],
        abstention=judge_abstention(calibration, *judged) if calibration else [],
    )


def numbers(report: ProbabilityReport) -> dict[str, Any]:
    """The same, ready for JSON."""
    found = asdict(report)
    found["calibration"] = report.calibration.facts if report.calibration else None
    for name in ("coverage", "risk", "low", "high"):
        found["curve"][name] = [round(float(value), 6) for value in found["curve"][name]]
    return found


def judge_sets(
    calibration: Calibration, probs_NK: Probabilities, truth_N: Ints, group_N: Ints, labels: tuple[str, ...]
) -> list[JudgedSets]:
    """Judge the sets of every level the bundle keeps, with intervals over groups."""
    within = {level: calibration.set_of(probs_NK, level) for level in calibration.sets}
    size_LN = np.array([sets_NK.sum(axis=1) for sets_NK in within.values()], np.float64)
    sizes = bootstrap(lambda weights_N: np.asarray(size_LN @ weights_N / weights_N.sum()), group_N)
    found = []
    for (level, sets_NK), size_N, size in zip(within.items(), size_LN, sizes, strict=True):
        covered_N = sets_NK[np.arange(len(truth_N)), truth_N]
        found.append(
            JudgedSets(
                level=level,
                threshold=calibration.sets[level],
                coverage=share(covered_N, group_N),
                luck=float(np.sqrt(level * (1 - level) / (calibration.groups + 2))),
                size=size,
                alone=float((size_N == 1).mean()),
                least_covered=_least_covered(covered_N, truth_N, labels),
            )
        )
    return found


def _least_covered(covered_N: Flags, truth_N: Ints, labels: tuple[str, ...]) -> tuple[tuple[str, float, int], ...]:
    photos_K = np.bincount(truth_N, minlength=len(labels))
    share_K = np.bincount(truth_N, covered_N, len(labels)) / np.maximum(photos_K, 1)
    enough = np.flatnonzero(photos_K >= FEWEST)
    worst = enough[np.argsort(share_K[enough], kind="stable")][:WORST]
    return tuple((labels[at], float(share_K[at]), int(photos_K[at])) for at in worst)


def risk_curve(probs_NK: Probabilities, truth_N: Ints, group_N: Ints) -> RiskCurve:
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
    calibration: Calibration, probs_NK: Probabilities, truth_N: Ints, group_N: Ints
) -> list[JudgedAbstention]:
    """Apply the bundle's thresholds to these photos: how many are answered, and how many of those are right."""
    sure_N, right_N = probs_NK.max(axis=1), probs_NK.argmax(axis=1) == truth_N
    found = []
    for accuracy, abstention in calibration.abstain.items():
        threshold = abstention.threshold
        answered, right = None, None
        if threshold is not None:
            answered_N = reaches(sure_N, threshold)
            answered, right = shares([answered_N, right_N], [np.full(len(truth_N), True), answered_N], group_N)
        found.append(JudgedAbstention(accuracy=accuracy, threshold=threshold, answered=answered, right=right))
    return found
