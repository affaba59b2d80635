"""Country sets on photos that fitted nothing: how often the truth stands in them, and how large they are.

Their promise is an average, over photos and over what validation photos might have been drawn: it does not hold
for each country, so the countries that are served worst are named.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichland.bootstrap import Score, replicate, scored, shares
from whichland.evaluation.metrics import Floats, Ints
from whichland.model.calibration import Calibration

FEWEST = 20  # photos of a country below which its own coverage says little
WORST = 3


@dataclass(frozen=True, kw_only=True)
class JudgedSets:
    """The sets of one level."""

    level: float
    threshold: float  # probabilities from which on a country stands in a set
    coverage: Score
    luck: float  # standard deviation of the true coverage over the draw of the validation photos
    size: Score  # mean number of countries
    alone: float  # share of the sets that hold one country
    least_covered: tuple[tuple[str, float, int], ...]  # country, coverage, photos; of those with `FEWEST` photos


def judge_sets(
    calibration: Calibration, probs_NK: NDArray[np.floating[Any]], truth_N: Ints, group_N: Ints, labels: tuple[str, ...]
) -> list[JudgedSets]:
    """Judge the sets of every level the bundle keeps, with intervals over groups."""
    levels = list(calibration.sets)
    within = [calibration.set_of(probs_NK, level) for level in levels]
    size_LN = np.array([sets_NK.sum(axis=1) for sets_NK in within], np.float64)

    def statistic(weights_N: Floats) -> Floats:
        mean_L: Floats = size_LN @ weights_N / weights_N.sum()
        return mean_L

    sizes = scored(statistic(np.ones(len(truth_N))), replicate(statistic, group_N))
    found = []
    for level, sets_NK, size_N, size in zip(levels, within, size_LN, sizes, strict=True):
        covered_N = sets_NK[np.arange(len(truth_N)), truth_N]
        (coverage,) = shares(covered_N, np.zeros(len(truth_N), np.int64), 1, group_N)
        assert coverage is not None  # there are photos
        found.append(
            JudgedSets(
                level=level,
                threshold=calibration.sets[level],
                coverage=coverage,
                luck=float(np.sqrt(level * (1 - level) / (calibration.groups + 2))),
                size=size,
                alone=float((size_N == 1).mean()),
                least_covered=_least_covered(covered_N, truth_N, labels),
            )
        )
    return found


def _least_covered(
    covered_N: NDArray[np.bool_], truth_N: Ints, labels: tuple[str, ...]
) -> tuple[tuple[str, float, int], ...]:
    photos_K = np.bincount(truth_N, minlength=len(labels))
    share_K = np.bincount(truth_N, covered_N, len(labels)) / np.maximum(photos_K, 1)
    enough = np.flatnonzero(photos_K >= FEWEST)
    worst = enough[np.argsort(share_K[enough], kind="stable")][:WORST]
    return tuple((labels[at], float(share_K[at]), int(photos_K[at])) for at in worst)
