"""Effects country by country with intervals over groups, and what may be said of them all together.

A country's effect is tested against `trivial`, not against zero: real pictures differ a little everywhere, and
with enough photos any difference is sure. Holm's step-down over every test of an audit keeps the chance of one
false alarm in it, of whatever kind, at `ALPHA` (Holm 1979).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from whichland.statistics import ALPHA, Floats, Ints, Score, holm, redraws, student_p, student_reach

Verdict = Literal["found", "not found", "cannot be told"]

MIN_GROUPS = 4  # of a country; with fewer its interval is a guess
APART = 2.5  # spreads from the other countries' median, where an effect must stand out from theirs
REDRAWS = 1000  # for a standard error; a percentile would need more


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One tested number, with its 95 % interval."""

    what: str  # such as "probabilities lost"
    country: str | None  # None: the mean over the countries, each counting alike
    value: float
    low: float
    high: float
    trivial: float  # up to here it is no shortcut
    relevant: float  # from here on it is one: where the interval reaches it, none can be ruled out
    p: float  # one-sided, of an effect no larger than `trivial`
    groups: int
    adjusted: float = 1.0  # p after Holm over the whole audit

    @property
    def found(self) -> bool:
        return self.adjusted < ALPHA

    @property
    def score(self) -> Score:
        return Score(value=self.value, low=self.low, high=self.high)

    @property
    def excluded(self) -> bool:
        return self.high < self.relevant


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How large an effect must be, for one country and on average over all."""

    trivial: float
    relevant: float
    trivial_mean: float
    relevant_mean: float


Statistic = Callable[[Floats], Floats]
"""From how often each of G groups was drawn, in R redraws (R×G), to K numbers for each (R×K)."""


def _tables(country_N: Ints, group_N: Ints, labels: int, *values: Floats) -> list[Floats]:
    """Sums of values over photos, by group and country: G×K each. With them a redraw is a product of matrices."""
    shape = int(group_N.max()) + 1, labels
    cell_N = group_N * labels + country_N
    sums = (np.bincount(cell_N, value, shape[0] * labels).astype(np.float64) for value in values)
    return [sum_GK.reshape(shape) for sum_GK in sums]


def country_means(values_N: Floats, country_N: Ints, group_N: Ints, labels: int) -> Statistic:
    """A statistic for `by_country`: the mean of the values over each country's photos, NaN for none."""
    photos_GK, sums_GK = _tables(country_N, group_N, labels, np.ones(len(values_N)), values_N)

    def statistic(times_RG: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            return np.asarray((times_RG @ sums_GK) / (times_RG @ photos_GK))

    return statistic


def by_country(
    what: str,
    statistic: Statistic,
    country_N: Ints,
    group_N: Ints,
    names: Sequence[str],
    limits: Limits,
    *,
    outliers: bool = False,
    seed: int = 0,
) -> list[Effect]:
    """Test a statistic of each country with `MIN_GROUPS` groups, and its mean over them, which stands first.

    `country_N` says whose number a photo goes into, `group_N` what is drawn as one. With `outliers` a country's
    effect counts only where it stands out from the other countries', which honest evidence seldom does.
    """
    groups_K = np.array([len(np.unique(group_N[country_N == k])) for k in range(len(names))])
    tested = np.flatnonzero(groups_K >= MIN_GROUPS)
    if not tested.size:
        return []

    def with_mean(times_RG: Floats) -> Floats:
        values = statistic(times_RG)[:, tested]
        return np.column_stack([values, np.nanmean(values, axis=1)])

    count = int(group_N.max()) + 1
    values = with_mean(np.ones((1, count)))[0]
    drawn = with_mean(redraws(count, REDRAWS, seed))
    degrees = np.append(groups_K[tested] - 1, (groups_K[tested] - 1).sum())
    groups = np.append(groups_K[tested], groups_K[tested].sum())
    spread = np.nanstd(drawn, axis=0) * np.sqrt(groups / (groups - 1))
    # photos that all fare alike leave no spread; a quarter of a group that might have fared otherwise stands in
    error = np.maximum(spread, 0.25 / groups)
    trivial = np.append(np.full(len(tested), limits.trivial), limits.trivial_mean)
    p = student_p((values - trivial) / error, degrees)
    if outliers and len(tested) > 2:
        p[:-1][~_stand_out(values[:-1])] = 1.0
    reach = student_reach(error, degrees)
    found = [
        Effect(
            what=what,
            country=names[tested[at]] if at < len(tested) else None,
            value=float(values[at]),
            low=float(values[at] - reach[at]),
            high=float(values[at] + reach[at]),
            trivial=float(trivial[at]),
            relevant=limits.relevant if at < len(tested) else limits.relevant_mean,
            p=float(p[at]),
            groups=int(groups[at]),
        )
        for at in range(len(values))
    ]
    return [found[-1], *found[:-1]]


def _stand_out(values_C: Floats) -> NDArray[np.bool_]:
    """Which countries lie far above the others, by median and median deviation, which no second one bends."""
    found = []
    for at, value in enumerate(values_C):
        others = np.delete(values_C, at)
        middle = np.median(others)
        spread = 1.4826 * np.median(np.abs(others - middle))  # a standard deviation, were they normal
        found.append(value - middle > APART * spread)
    return np.array(found, bool)


def skill(guess_N: Ints, truth_N: Ints, group_N: Ints, labels: int) -> Statistic:
    """A statistic for `by_country`: how much oftener a country is named for its own photos than for others'.

    Youden's J: 1 when its photos are told apart from all others, 0 for guesses that know nothing, however they
    lean (Youden 1950).
    """
    hit_N = (guess_N == truth_N).astype(float)
    photos_GK, hits_GK = _tables(truth_N, group_N, labels, np.ones(len(hit_N)), hit_N)
    (named_GK,) = _tables(guess_N, group_N, labels, np.ones(len(hit_N)))

    def statistic(times_RG: Floats) -> Floats:
        photos_RK, hits_RK, named_RK = (times_RG @ table for table in (photos_GK, hits_GK, named_GK))
        others_RK = photos_RK.sum(axis=1, keepdims=True) - photos_RK
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(hits_RK / photos_RK - (named_RK - hits_RK) / others_RK)

    return statistic


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question of an audit and its answer."""

    name: str
    title: str
    asks: str
    measure: str  # what `score` is
    score: Score | None  # None where there is nothing to measure
    null: float  # what the score would be without a shortcut
    against: str  # what the null is
    effects: tuple[Effect, ...] = ()
    verdict: Verdict = "cannot be told"
    says: str = ""  # the answer in one line
    unless: str = ""  # why an effect that is found is no shortcut yet
    facts: tuple[tuple[str, str], ...] = ()  # what else to know, name and value
    shortcut: bool = True  # whether "found" is an alarm

    @property
    def alarm(self) -> bool:
        return self.shortcut and self.verdict == "found"

    @property
    def countries(self) -> tuple[str, ...]:
        """Where it was found, the largest effect first; none where it is about all together."""
        found = sorted((e for e in self.effects if e.found and e.country), key=lambda effect: -effect.value)
        return tuple(dict.fromkeys(str(effect.country) for effect in found))


def adjust(effects: Sequence[Sequence[Effect]]) -> list[tuple[Effect, ...]]:
    """Holm over all effects of all checks."""
    adjusted = iter(holm([effect.p for part in effects for effect in part]))
    return [tuple(replace(effect, adjusted=next(adjusted)) for effect in part) for part in effects]


def verdict(effects: Sequence[Effect]) -> Verdict:
    """Found, or ruled out for every country that was tested, or neither."""
    if any(effect.found for effect in effects):
        return "found"
    return "not found" if effects and all(effect.excluded for effect in effects) else "cannot be told"
