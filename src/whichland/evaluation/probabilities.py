"""What a report says of the probabilities: calibration, prediction sets and abstention.

- The expected calibration error is taken over bins of the first guess's probabilities with as many photos each.
  Chance makes gaps where there are none, so what it adds to the size of each gap is estimated and taken off (Kumar,
  Liang & Ma 2019, arXiv 1909.10155, section 5; here in closed form, with the variance between groups).
- A prediction set's coverage is an average, over photos and over what validation photos might have been drawn: it
  does not hold for each country, so the countries that are covered least are named.
- The risk at a coverage is the share of wrong answers among that share of the photos of which the model is surest
  (Geifman & El-Yaniv 2017, arXiv 1705.08500); AURC is its mean over all photos (Geifman, Uziel & El-Yaniv 2019,
  arXiv 1805.08206).
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichland.evaluation.predictions import Predictions
from whichland.model.bundle import Info
from whichland.model.calibration import NOTHING, Calibration, log_softmax, reaches
from whichland.statistics import Flags, Floats, Ints, Score, judged, means, moved, scored, share, shares

BINS, PER_BIN = 10, 20
FEWEST = 20  # photos of a country below which its own coverage says little
WORST = 3
POINTS = 50  # of the curve of risk
LEAST = 0.05  # of the photos, where the curve begins: a handful of photos draws no curve

Probabilities = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class ProbabilityScores:
    """How good probabilities are, each score with its interval; 0 is best."""

    ece: Score  # expected calibration error of the first guess, equal-mass bins, freed of chance
    brier: Score  # squared error summed over countries, 0 to 2
    nll: Score  # negative log-likelihood of the truth, natural logarithm


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Photos whose first guess had like probabilities."""

    low: float  # their least probabilities
    high: float
    probabilities: float  # their mean
    photos: int
    right: Score


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
    low: Floats | None  # None: too few groups for a band
    high: Floats | None
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
        of_curve = found["curve"][name]
        found["curve"][name] = None if of_curve is None else np.round(of_curve, 6).tolist()
    return found


def compared(
    before_NK: Probabilities, after_NK: Probabilities, truth_N: Ints, group_N: Ints
) -> list[ProbabilityScores]:
    """Scores of two sets of probabilities for the same photos, and the paired differences, second minus first."""
    before, after = (_moved(probs_NK, truth_N, group_N) for probs_NK in (before_NK, after_NK))
    ece, brier, nll = scored(after[0] - before[0], after[1] - before[1], group_N)
    return [_named(*before, group_N), _named(*after, group_N), ProbabilityScores(ece=ece, brier=brier, nll=nll)]


def probability_scores(probs_NK: Probabilities, truth_N: Ints, group_N: Ints) -> ProbabilityScores:
    """Scores of probabilities, with 95 % intervals over groups."""
    return _named(*_moved(probs_NK, truth_N, group_N), group_N)


def _named(values_S: Floats, moved_BS: Floats, spare: float, group_N: Ints) -> ProbabilityScores:
    (ece,) = scored(values_S[:1], moved_BS[:, :1], group_N, "difference", least=0)
    if ece.low is not None:
        ece = replace(ece, low=max(0.0, ece.low - spare))
    brier, nll = scored(values_S[1:], moved_BS[:, 1:], group_N, least=0)
    return ProbabilityScores(ece=ece, brier=brier, nll=nll)


def _moved(probs_NK: Probabilities, truth_N: Ints, group_N: Ints) -> tuple[Floats, Floats, float]:
    """The three scores; how far leaving out each group moves them, B×3; how much of the first may be chance still."""
    own_N = np.asarray(probs_NK[np.arange(len(truth_N)), truth_N], np.float64)
    brier_N = (np.asarray(probs_NK, np.float64) ** 2).sum(axis=1) - 2 * own_N + 1
    nll_N = -np.log(np.maximum(own_N, NOTHING))
    ece = calibration_error(probs_NK.max(axis=1), probs_NK.argmax(axis=1) == truth_N, group_N)

    def statistic(weights_N: Floats) -> Floats:
        total = weights_N.sum()
        return np.array([ece(weights_N)[0], weights_N @ brier_N / total, weights_N @ nll_N / total])

    ones_N = np.ones(len(truth_N))
    return statistic(ones_N), moved(statistic, statistic(ones_N), group_N), ece(ones_N)[1]


def calibration_error(sure_N: Probabilities, right_N: Flags, group_N: Ints) -> Callable[[Floats], tuple[float, float]]:
    """The calibration error of first guesses, and how much of it may be chance still, by the photos' weights.

    The mean over photos of the size of their bin's gap, less what chance adds: the variance between groups of a bin's
    mean miss (right, 1 or 0, less the probability), photos of one group together. A bin of one group does not show
    how its gap would vary; as much as the gap itself, say. Chance adds most to a gap that is none, and what a small gap
    was no one knows: the rest of that may be chance still.
    """
    bin_N = equal_mass(sure_N)
    miss_N: Floats = right_N - np.asarray(sure_N, np.float64)
    bins, photos_B = int(bin_N.max()) + 1, np.bincount(bin_N)
    mean_B = np.bincount(bin_N, miss_N) / photos_B
    cell_C, cell_N = np.unique(group_N * bins + bin_N, return_inverse=True)
    sum_C = np.bincount(cell_N, miss_N - mean_B[bin_N])
    groups_B = np.bincount(cell_C % bins, minlength=bins)
    between_B = groups_B / np.maximum(groups_B - 1, 1) * np.bincount(cell_C % bins, sum_C**2, bins) / photos_B**2
    deviation_B = np.sqrt(np.where(groups_B > 1, between_B, mean_B**2))

    def error(weights_N: Floats) -> tuple[float, float]:
        size_B = np.bincount(bin_N, weights_N, bins)
        miss_B = np.abs(np.bincount(bin_N, weights_N * miss_N, bins))
        gap_B = np.divide(miss_B, size_B, out=np.zeros_like(miss_B), where=size_B > 0)
        chance_B = folded(gap_B, deviation_B) - gap_B
        spare_B = deviation_B * np.sqrt(2 / pi) - chance_B
        return max(0.0, float(size_B @ (gap_B - chance_B) / size_B.sum())), float(size_B @ spare_B / size_B.sum())

    return error


def folded(mean_B: Floats, deviation_B: Floats) -> Floats:
    """Mean size |x| of a normal x; its own mean where it does not deviate."""
    from scipy.special import erf

    z_B = mean_B / np.maximum(deviation_B, NOTHING)
    size_B: Floats = deviation_B * np.sqrt(2 / pi) * np.exp(-(z_B**2) / 2) + mean_B * erf(z_B / 2**0.5)
    return size_B


def equal_mass(sure_N: Probabilities) -> Ints:
    """Number the bin of each photo by its probability: up to `BINS`, of `PER_BIN` or more photos, ties together."""
    bins = max(1, min(BINS, len(sure_N) // PER_BIN))
    ranked = np.sort(sure_N)
    starts = ranked[[len(ranked) * number // bins for number in range(1, bins)]]
    numbers = np.searchsorted(starts, sure_N, side="right")
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)  # equal probabilities may leave bins empty


def reliability(probs_NK: Probabilities, truth_N: Ints, group_N: Ints) -> list[Bin]:
    """The bins of the reliability diagram, least probabilities first."""
    sure_N = np.asarray(probs_NK.max(axis=1), np.float64)
    right_N = probs_NK.argmax(axis=1) == truth_N
    bin_N = equal_mass(sure_N)
    inside_BN = [bin_N == number for number in range(int(bin_N.max()) + 1)]
    found = []
    for inside_N, score in zip(inside_BN, shares([right_N] * len(inside_BN), inside_BN, group_N), strict=True):
        assert score is not None  # a bin has photos
        own = sure_N[inside_N]
        found.append(Bin(low=own.min(), high=own.max(), probabilities=own.mean(), photos=len(own), right=score))
    return found


def judge_sets(
    calibration: Calibration, probs_NK: Probabilities, truth_N: Ints, group_N: Ints, labels: tuple[str, ...]
) -> list[JudgedSets]:
    """Judge the sets of every level the bundle keeps, with intervals over groups."""
    within = {level: calibration.set_of(probs_NK, level) for level in calibration.sets}
    size_LN = np.array([sets_NK.sum(axis=1) for sets_NK in within.values()], np.float64)
    sizes = means(size_LN.T, group_N, least=1)
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

    aurc, *risks = judged(statistic, group_N, "share")
    photos = np.arange(1, len(truth_N) + 1)
    return RiskCurve(
        coverage=coverage_P,
        risk=np.array([risk.value for risk in risks]),
        low=None if aurc.low is None else np.array([risk.low for risk in risks]),
        high=None if aurc.low is None else np.array([risk.high for risk in risks]),
        aurc=aurc,
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
