"""Intervals and corrections that every score shares: a jackknife over groups, Student's quantile, Holm's correction.

Photos of one drive are not independent, so a group (a drive, a panorama) is what counts as one. One rule gives every
95 % interval, docs/decisions/intervals.md says why it and not another, benchmarks/intervals.py what it holds:

- Each group is left out in turn (of more than `BLOCKS`, a block of them); how far a score moves gives its standard
  error, and how unevenly it moves the degrees of freedom of Student's quantile (Satterthwaite 1946): where three
  groups hold all the errors, three groups decide how many there are.
- What lies between 0 and 1 has Wilson's interval (1927) for the number of independent photos that would have that
  standard error. Where all groups fared alike there is none: then each group is a photo.
- With fewer than `FEWEST` groups there is no interval, and the score says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Statistic = Callable[[Floats], Floats]
"""From the weight of each of N photos to S numbers."""
Kind = Literal["share", "difference", "number"]
"""Between 0 and 1; between two such; any other number."""

REPLICATES = 2000
BLOCKS = 200
FEWEST = 5  # groups: an interval from fewer says next to nothing, or holds the truth too seldom
LEVEL = 0.95
ALPHA = 1 - LEVEL


@dataclass(frozen=True, kw_only=True)
class Score:
    """A score with its 95 % interval over groups, or without one where they are too few for one."""

    value: float
    low: float | None = None
    high: float | None = None
    groups: int = 0  # that it rests on

    def __str__(self) -> str:
        if self.low is None:
            return f"{self.value:.1%} ({self.within()})"
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"

    def within(self, form: str = ".1%", scale: float = 1) -> str:
        """The interval in words, or why there is none: what every report, table and command says."""
        if self.low is None or self.high is None:
            if self.groups >= FEWEST:
                return "no interval: all groups alike"
            return f"no interval: {self.groups} {'group' if self.groups == 1 else 'groups'} only"
        return f"{self.low * scale:{form}} to {self.high * scale:{form}}"

    @property
    def ends(self) -> tuple[float, float]:
        """The interval, or the value alone where there is none: for drawing."""
        return (self.value, self.value) if self.low is None or self.high is None else (self.low, self.high)

    def above(self, limit: float) -> bool:
        """Whether the whole interval lies above a limit."""
        return self.low is not None and self.low > limit

    def below(self, limit: float) -> bool:
        """Whether the whole interval lies below a limit."""
        return self.high is not None and self.high < limit


def group_numbers(groups: Sequence[str | None]) -> Ints:
    """Number the groups of N photos from 0 on; a photo without a group is one of its own."""
    numbers: dict[object, int] = {}
    # the position stands for a missing group: an int is never equal to a group's text
    keys = (position if group is None else group for position, group in enumerate(groups))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def renumbered(group_N: Ints) -> Ints:
    """The numbers of some photos' groups without gaps, as leaving them out needs."""
    return np.unique(group_N, return_inverse=True)[1].astype(np.int64)


def blocks_of(groups: int) -> Ints:
    """The block of each group, which are left out together: groups themselves, or `BLOCKS` blocks drawn at random."""
    return np.random.default_rng(0).permutation(groups) % BLOCKS if groups > BLOCKS else np.arange(groups)


def moved(statistic: Statistic, values_S: Floats, group_N: Ints) -> Floats:
    """How far each of S numbers moves when each block of groups is left out: B×S."""
    block_N = blocks_of(int(group_N.max()) + 1)[group_N]
    blocks = int(block_N.max()) + 1
    if blocks < FEWEST:
        return np.zeros((blocks, len(values_S)))
    return np.stack([statistic((block_N != block).astype(float)) for block in range(blocks)]) - values_S


def errors(moved_BS: Floats) -> tuple[Floats, Floats]:
    """Standard errors and their degrees of freedom, from how far leaving out each of B blocks moves S numbers.

    The jackknife's variance (Tukey 1958); its degrees of freedom follow from the kurtosis of the moves.
    """
    blocks = len(moved_BS)
    squares_S = (moved_BS**2).sum(axis=0)
    fourths_S = (moved_BS**4).sum(axis=0)
    kurtosis_S = np.divide(blocks * fourths_S, squares_S**2, out=np.full_like(squares_S, 3.0), where=fourths_S > 0)
    freedom_S = np.clip(2 * blocks / np.maximum(kurtosis_S - 1, 1e-9), 1.5, max(blocks - 1, 1.5))
    return np.sqrt((blocks - 1) / blocks * squares_S), freedom_S


def with_errors(
    values_S: ArrayLike,
    errors_S: ArrayLike,
    freedom_S: ArrayLike,
    group_N: Ints,
    kind: Kind = "number",
    *,
    least: float = -np.inf,
) -> list[Score]:
    """Scores from values, their standard errors and degrees of freedom; `least` is the lowest that there can be.

    Where all groups fared alike, errors are 0: a share then rests on as many photos as there are groups, fewer where
    their sizes differ (Kish 1965), a difference may be off by as much as a share of 0 or 1, and of another number
    nothing is known. For a difference, groups are alike up to half the error that one photo makes.
    """
    photos_G = np.bincount(group_N)
    values, error, freedom = np.broadcast_arrays(*(np.atleast_1d(of) for of in (values_S, errors_S, freedom_S)))
    each = photos_G.sum() ** 2 / (photos_G**2).sum()
    groups, alike = len(photos_G), error < (0.5 / each if kind == "difference" else 1e-12)
    known_law = kind == "share" and photos_G.max() == 1  # of single photos, whose variance follows from the share
    z = student_reach(np.ones_like(values, float), np.where(alike | known_law, max(groups - 1, 1), freedom))
    if kind == "share":
        inside = ~alike & (values > 0) & (values < 1)
        photos = np.divide(values * (1 - values), error**2, out=np.full(values.shape, each), where=inside)
        photos = np.minimum(photos, photos_G.sum())
        middle = (values + z**2 / (2 * photos)) / (1 + z**2 / photos)
        spread = np.sqrt(np.maximum(values * (1 - values), 0) / photos + z**2 / (4 * photos**2))
        reach = z * spread / (1 + z**2 / photos)
        low, high = np.clip(middle - reach, 0, values), np.clip(middle + reach, values, 1)
    else:
        reach = np.where(alike, z**2 / (each + z**2) if kind == "difference" else np.nan, z * error)
        low, high = np.maximum(values - reach, least), values + reach
        if kind == "difference":
            low, high = np.maximum(low, -1), np.minimum(high, 1)
    known = (groups >= FEWEST) & np.isfinite(low)
    return [
        Score(value=float(v), low=float(lo) if k else None, high=float(hi) if k else None, groups=groups)
        for v, lo, hi, k in zip(values, low, high, known, strict=True)
    ]


def scored(
    values_S: Floats, moved_BS: Floats, group_N: Ints, kind: Kind = "number", *, least: float = -np.inf
) -> list[Score]:
    """Scores from values and how far they move when blocks of groups are left out."""
    return with_errors(values_S, *errors(moved_BS), group_N, kind, least=least)


def judged(statistic: Statistic, group_N: Ints, kind: Kind = "number", *, least: float = -np.inf) -> list[Score]:
    """The statistic of all photos, each number of it with its interval over groups; it must be smooth."""
    values_S = statistic(np.ones(len(group_N)))
    return scored(values_S, moved(statistic, values_S, group_N), group_N, kind, least=least)


def judged_quantiles(statistic: Statistic, group_N: Ints, *, least: float = -np.inf) -> list[Score]:
    """The same for medians and their like, which leaving out a group moves by jumps: from redraws."""
    groups = int(group_N.max()) + 1
    spread_S = replicate(statistic, group_N).std(axis=0, ddof=1) * np.sqrt(groups / max(groups - 1, 1))
    return with_errors(statistic(np.ones(len(group_N))), spread_S, max(groups - 1, 1), group_N, least=least)


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


def redraws(groups: int, count: int, seed: int) -> Floats:
    """How often each of G groups is drawn in each redraw, R×G, all redraws at once."""
    random = np.random.default_rng(seed)
    return random.multinomial(groups, np.full(groups, 1 / groups), size=count).astype(float)


def interval(replicates_RS: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Lower and upper bounds of the percentile interval of each statistic (Efron & Tibshirani 1993, ch. 13).

    For bands and many groups; with few it is too short.
    """
    tail = (1 - level) / 2
    low, high = np.quantile(replicates_RS, (tail, 1 - tail), axis=0)
    return low, high


def shares(hits_QN: Sequence[Flags], among_QN: Sequence[Flags], group_N: Ints) -> list[Score | None]:
    """The share of hits among some of the photos, for each of Q questions; None where there are no such photos."""
    found: list[Score | None] = []
    for hits_N, among_N in zip(hits_QN, among_QN, strict=True):
        if not among_N.any():
            found.append(None)
            continue
        own_M = renumbered(group_N[among_N])
        (score,) = means(hits_N[among_N].astype(float), own_M, "share")
        found.append(score)
    return found


def share(hits_N: Flags, group_N: Ints) -> Score:
    """The share of hits among all photos."""
    return means(hits_N.astype(float), group_N, "share")[0]


def means(values_N: Floats, group_N: Ints, kind: Kind = "number", *, least: float = -np.inf) -> list[Score]:
    """The mean of N values, or the means of N×S values, with intervals over groups; as `judged`, but quicker."""
    values_NS = values_N.reshape(len(group_N), -1)
    sum_S, mean_S = values_NS.sum(axis=0), values_NS.mean(axis=0)
    block_N = blocks_of(int(group_N.max()) + 1)[group_N]
    photos_B = np.bincount(block_N)[:, None]
    sums_BS = np.stack([np.bincount(block_N, of_N) for of_N in values_NS.T], axis=1)
    moved_BS = (sum_S - sums_BS) / np.maximum(len(group_N) - photos_B, 1) - mean_S
    return scored(mean_S, moved_BS, group_N, kind, least=least)


def mean_interval(
    values_N: NDArray[np.floating], groups: Sequence[str | None] | None = None
) -> tuple[float, float, float]:
    """The mean of N values and the bounds of its interval over groups; not-a-number where there is none.

    Without `groups` each value stands for itself.
    """
    group_N = group_numbers([None] * len(values_N) if groups is None else groups)
    (score,) = means(np.asarray(values_N, np.float64), group_N)
    low, high = (float("nan") if bound is None else bound for bound in (score.low, score.high))
    return score.value, low, high


def weighted_quantiles(sorted_N: Floats, weights_N: Floats, parts: Sequence[float]) -> Floats:
    """Of sorted values the least at which these parts of the weight are reached."""
    reached = np.cumsum(weights_N)
    found: Floats = sorted_N[np.searchsorted(reached, np.array(parts) * reached[-1])]
    return found


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
