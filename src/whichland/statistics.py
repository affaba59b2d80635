"""Intervals and corrections that every score shares: a bootstrap over groups, Student's intervals, Holm's correction.

Photos of one drive are not independent, so drives are resampled. A country with one or two groups is missing from
many redraws, and macro-F1 and balanced accuracy are then means over the others: their intervals become wide and
lopsided, and with a third of the countries at one group they hold the truth about 90 % of the time instead of 95 %.
Keeping a missing country's score, drawing within each country, and the bias-corrected interval were tried and hold
it less often.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Statistic = Callable[[Floats], Floats]
"""From the weight of each of N photos to S numbers."""

REPLICATES = 2000
LEVEL = 0.95
ALPHA = 1 - LEVEL


@dataclass(frozen=True, kw_only=True)
class Score:
    """A score with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


def group_numbers(groups: Sequence[str | None]) -> Ints:
    """Number the groups of N photos from 0 on; a photo without a group is one of its own."""
    numbers: dict[object, int] = {}
    # the position stands for a missing group: an int is never equal to a group's text
    keys = (position if group is None else group for position, group in enumerate(groups))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def renumbered(group_N: Ints) -> Ints:
    """The numbers of some photos' groups without gaps, as drawing them anew needs."""
    return np.unique(group_N, return_inverse=True)[1].astype(np.int64)


def replicate(statistic: Statistic, group_N: Ints, *, replicates: int = REPLICATES, seed: int = 0) -> Floats:
    """Draw the groups anew with replacement and compute the statistic each time: replicates × its length.

    `statistic` takes the weight of each photo, which is how often its group was drawn.
    """
    random = np.random.default_rng(seed)
    groups = int(group_N.max()) + 1
    drawn = []
    for _ in range(replicates):
        times_G = np.bincount(random.integers(groups, size=groups), minlength=groups).astype(float)
        drawn.append(statistic(times_G[group_N]))
    return np.stack(drawn)


def interval(replicates_RS: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Lower and upper bounds of the percentile interval of each statistic (Efron & Tibshirani 1993, ch. 13)."""
    tail = (1 - level) / 2
    low, high = np.quantile(replicates_RS, (tail, 1 - tail), axis=0)
    return low, high


def scored(values_S: Floats, replicates_RS: Floats) -> list[Score]:
    """Each statistic with its interval."""
    return with_bounds(values_S, *interval(replicates_RS))


def with_bounds(values_S: ArrayLike, low_S: ArrayLike, high_S: ArrayLike) -> list[Score]:
    """Values and their bounds as scores."""
    triples = np.stack([values_S, low_S, high_S], axis=-1).reshape(-1, 3).tolist()
    return [Score(value=value, low=low, high=high) for value, low, high in triples]


def bootstrap(statistic: Statistic, group_N: Ints, *, replicates: int = REPLICATES, seed: int = 0) -> list[Score]:
    """The statistic of all photos, each number of it with its interval over groups."""
    values_S = statistic(np.ones(len(group_N)))
    return scored(values_S, replicate(statistic, group_N, replicates=replicates, seed=seed))


def shares(hits_QN: Sequence[Flags], among_QN: Sequence[Flags], group_N: Ints) -> list[Score | None]:
    """The share of hits among some of the photos, for each of Q questions, all from the same redraws of groups.

    None where there are no such photos; redraws without any are passed over. Where all fared alike, redraws cannot
    show how certain that is: the rule of three over the groups does (Hanley & Lippman-Hand 1983).
    """
    groups = int(group_N.max()) + 1
    counts_G2S = np.stack(
        [
            np.bincount(group_N, of_N, groups)
            for hits_N, among_N in zip(hits_QN, among_QN, strict=True)
            for of_N in (hits_N & among_N, among_N)
        ],
        axis=1,
    ).astype(float)
    drawn_R2S = replicate(lambda times_G: times_G @ counts_G2S, np.arange(groups))
    found: list[Score | None] = []
    for at in range(0, counts_G2S.shape[1], 2):
        hits_G, photos_G = counts_G2S[:, at], counts_G2S[:, at + 1]
        if not photos_G.any():
            found.append(None)
            continue
        value = float(hits_G.sum() / photos_G.sum())
        hits_R, photos_R = drawn_R2S[:, at], drawn_R2S[:, at + 1]
        low, high = interval(hits_R[photos_R > 0] / photos_R[photos_R > 0])
        third = min(1.0, 3 / int((photos_G > 0).sum()))
        found.append(
            Score(value=value, low=1 - third if value == 1 else float(low), high=third if value == 0 else float(high))
        )
    return found


def share(hits_N: Flags, group_N: Ints) -> Score:
    """The share of hits among all photos."""
    (found,) = shares([hits_N], [np.full(len(hits_N), True)], group_N)
    assert found is not None  # there are photos
    return found


def mean_interval(
    values_N: NDArray[np.floating], groups: Sequence[str | None] | None = None, *, seed: int = 0
) -> tuple[float, float, float]:
    """The mean of N values, and the bounds of its interval when groups are drawn anew, all redraws at once.

    Without `groups` each value stands for itself. One group alone has no interval: its bounds are not-a-number.
    """
    group_N = group_numbers([None] * len(values_N) if groups is None else groups)
    count = int(group_N.max()) + 1
    mean = float(np.mean(values_N))
    if count < 2:
        return mean, float("nan"), float("nan")
    sums_G = np.bincount(group_N, weights=values_N, minlength=count)
    sizes_G = np.bincount(group_N, minlength=count)
    times_RG = redraws(count, REPLICATES, seed)
    low, high = interval((times_RG @ sums_G) / (times_RG @ sizes_G))
    return mean, float(low), float(high)


def weighted_quantiles(sorted_N: Floats, weights_N: Floats, parts: Sequence[float]) -> Floats:
    """Of sorted values the least at which these parts of the weight are reached."""
    reached = np.cumsum(weights_N)
    found: Floats = sorted_N[np.searchsorted(reached, np.array(parts) * reached[-1])]
    return found


def redraws(groups: int, count: int, seed: int) -> Floats:
    """How often each of G groups is drawn in each redraw, R×G, all redraws at once."""
    random = np.random.default_rng(seed)
    return random.multinomial(groups, np.full(groups, 1 / groups), size=count).astype(float)


def student_reach(error: ArrayLike, freedom: ArrayLike, level: float = LEVEL) -> Floats:
    """How far an interval reaches to each side, from standard errors and degrees of freedom."""
    from scipy.stats import t

    return np.asarray(t.ppf((1 + level) / 2, freedom) * error, np.float64)


def student_p(distance: ArrayLike, freedom: ArrayLike) -> Floats:
    """One-sided p of values that many standard errors above what they are tested against."""
    from scipy.stats import t

    return np.asarray(t.sf(distance, freedom), np.float64)


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p for their number: rejecting those at most α errs anywhere with at most α (Holm 1979)."""
    adjusted, worst = [0.0] * len(p), 0.0
    for rank, at in enumerate(np.argsort(p, kind="stable").tolist()):
        worst = max(worst, min(1.0, (len(p) - rank) * p[at]))
        adjusted[at] = worst
    return adjusted
