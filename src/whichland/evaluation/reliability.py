"""Are the probabilities what they claim? Scores of the probabilities, and the bins of the reliability diagram.

The expected calibration error is taken over bins of the first guess's probabilities with as many photos each.
Chance makes gaps where there are none, so what it adds to the size of each gap is estimated and taken off (Kumar,
Liang & Ma 2019, arXiv 1909.10155, section 5; here in closed form, with the variance between groups).
"""

from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichland.model.calibration import NOTHING
from whichland.statistics import Flags, Floats, Ints, Score, replicate, scored, shares

BINS, PER_BIN = 10, 20

NAMES = ("ece", "brier", "nll")


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


def compared(
    before_NK: NDArray[np.floating[Any]], after_NK: NDArray[np.floating[Any]], truth_N: Ints, group_N: Ints
) -> list[ProbabilityScores]:
    """Scores of two sets of probabilities for the same photos, and the paired differences, second minus first."""
    values, drawn = zip(*(_drawn(probs, truth_N, group_N) for probs in (before_NK, after_NK)), strict=True)
    pairs = [(values[0], drawn[0]), (values[1], drawn[1]), (values[1] - values[0], drawn[1] - drawn[0])]
    return [ProbabilityScores(**dict(zip(NAMES, scored(*pair), strict=True))) for pair in pairs]


def probability_scores(probs_NK: NDArray[np.floating[Any]], truth_N: Ints, group_N: Ints) -> ProbabilityScores:
    """Scores of probabilities, with 95 % intervals from a bootstrap over groups."""
    values, drawn = _drawn(probs_NK, truth_N, group_N)
    return ProbabilityScores(**dict(zip(NAMES, scored(values, drawn), strict=True)))


def _drawn(probs_NK: NDArray[np.floating[Any]], truth_N: Ints, group_N: Ints) -> tuple[Floats, Floats]:
    """The three scores, and their replicates R×3; equal groups are drawn alike, so replicates can be paired."""
    own_N = np.asarray(probs_NK[np.arange(len(truth_N)), truth_N], np.float64)
    brier_N = (np.asarray(probs_NK, np.float64) ** 2).sum(axis=1) - 2 * own_N + 1
    nll_N = -np.log(np.maximum(own_N, NOTHING))
    gaps = Gaps.of(probs_NK.max(axis=1), probs_NK.argmax(axis=1) == truth_N, group_N)

    def statistic(weights_N: Floats, chance: float = 2.0) -> Floats:
        total = weights_N.sum()
        return np.array([gaps.ece(weights_N, chance), weights_N @ brier_N / total, weights_N @ nll_N / total])

    return statistic(np.ones(len(truth_N)), chance=1.0), replicate(statistic, group_N)


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """Probabilities of the first guess in B bins with as many photos each, and what chance adds to their gaps."""

    bins: Ints  # of each photo
    misses: Floats  # of each photo: right (1 or 0) less the probabilities
    variances: Floats  # of each bin's mean miss, photos of one group together

    @classmethod
    def of(cls, sure_N: NDArray[np.floating[Any]], right_N: Flags, group_N: Ints) -> "Gaps":
        bin_N = equal_mass(sure_N)
        miss_N: Floats = right_N - np.asarray(sure_N, np.float64)
        bins = int(bin_N.max()) + 1
        size_B = np.bincount(bin_N)
        rest_N = miss_N - (np.bincount(bin_N, miss_N) / size_B)[bin_N]
        cell_C, cell_N = np.unique(group_N * bins + bin_N, return_inverse=True)
        sum_C = np.bincount(cell_N, rest_N)
        groups_B = np.bincount(cell_C % bins, minlength=bins)
        squares_B = np.bincount(cell_C % bins, sum_C**2, bins) / size_B**2
        # a bin of one group does not tell how its gap would vary; as much as the gap itself, say
        more_B = groups_B / np.maximum(groups_B - 1, 1)
        alone_B = (np.bincount(bin_N, miss_N) / size_B) ** 2
        variance_B = np.where(groups_B > 1, more_B * squares_B, alone_B)
        return cls(bins=bin_N, misses=miss_N, variances=variance_B)

    def ece(self, weights_N: Floats, chance: float) -> float:
        """Mean over photos of the size of their bin's gap, less what noise of `chance` times its variance adds.

        Redraws of the photos need 2: the gaps of a redraw hold the chance of the photos and that of the redraw.
        """
        size_B = np.bincount(self.bins, weights_N)
        miss_B = np.abs(np.bincount(self.bins, weights_N * self.misses))
        gap_B = np.divide(miss_B, size_B, out=np.zeros_like(miss_B), where=size_B > 0)
        left_B = 2 * gap_B - folded(gap_B, np.sqrt(chance * self.variances))
        return max(0.0, float(size_B @ left_B / size_B.sum()))


def folded(mean_B: Floats, deviation_B: Floats) -> Floats:
    """Mean size |x| of a normal x; its own mean where it does not deviate."""
    from scipy.special import erf

    z_B = mean_B / np.maximum(deviation_B, NOTHING)
    size_B: Floats = deviation_B * np.sqrt(2 / pi) * np.exp(-(z_B**2) / 2) + mean_B * erf(z_B / 2**0.5)
    return size_B


def equal_mass(sure_N: NDArray[np.floating[Any]]) -> Ints:
    """Number the bin of each photo by its probability: up to `BINS`, of `PER_BIN` or more photos, ties together."""
    bins = max(1, min(BINS, len(sure_N) // PER_BIN))
    ranked = np.sort(sure_N)
    starts = ranked[[len(ranked) * number // bins for number in range(1, bins)]]
    numbers = np.searchsorted(starts, sure_N, side="right")
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)  # equal probabilities may leave bins empty


def reliability(probs_NK: NDArray[np.floating[Any]], truth_N: Ints, group_N: Ints) -> list[Bin]:
    """The bins of the reliability diagram, least probabilities first."""
    sure_N = np.asarray(probs_NK.max(axis=1), np.float64)
    bin_N = equal_mass(sure_N)
    inside_BN = [bin_N == number for number in range(int(bin_N.max()) + 1)]
    right_N = probs_NK.argmax(axis=1) == truth_N
    found = []
    for inside_N, score in zip(inside_BN, shares([right_N] * len(inside_BN), inside_BN, group_N), strict=True):
        assert score is not None  # a bin has photos
        own = sure_N[inside_N]
        found.append(Bin(low=own.min(), high=own.max(), probabilities=own.mean(), photos=len(own), right=score))
    return found
