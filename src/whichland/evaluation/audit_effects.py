"""Effects country by country with intervals over groups.

A country's effect is tested against `trivial`, not against zero: real pictures differ a little everywhere, and
with enough photos any difference is significant.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from whichland.statistics import ALPHA, Flags, Floats, Ints, Score, redraws, renumbered, student_p, student_reach

MIN_GROUPS = 4  # of a country; with fewer its interval is a guess
APART = 2.5  # spreads from the other countries' median, where an effect must stand out from theirs
REDRAWS = 1000  # for a standard error; a percentile would need more


@dataclass(frozen=True, kw_only=True)
class Sample:
    """N photos by country and group."""

    country: Ints  # of each photo, in `names`
    group: Ints
    names: tuple[str, ...]

    def of(self, rows_N: Ints) -> "Sample":
        """Some of the photos, groups numbered anew; a photo may be among them several times."""
        return Sample(country=self.country[rows_N], group=renumbered(self.group[rows_N]), names=self.names)

    @property
    def groups_by_country(self) -> Ints:
        return np.array([len(np.unique(self.group[self.country == k])) for k in range(len(self.names))], np.int64)

    def sums(self, values_N: Floats, country_N: Ints | None = None) -> Floats:
        """Sums of values over photos, by group and country: G×K. With them a redraw is a product of matrices."""
        shape = int(self.group.max()) + 1, len(self.names)
        cell_N = self.group * shape[1] + (self.country if country_N is None else country_N)
        return np.bincount(cell_N, values_N, shape[0] * shape[1]).astype(np.float64).reshape(shape)


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


ByCountry = Callable[[Floats], Floats]
"""From how often each of G groups was drawn, in R redraws (R×G), to K numbers for each (R×K)."""


def country_means(values_N: Floats, sample: Sample) -> ByCountry:
    """A statistic for `by_country`: the mean of the values over each country's photos, NaN for none."""
    photos_GK, sums_GK = sample.sums(np.ones(len(values_N))), sample.sums(values_N)

    def statistic(times_RG: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            return np.asarray((times_RG @ sums_GK) / (times_RG @ photos_GK))

    return statistic


def skill(guess_N: Ints, sample: Sample) -> ByCountry:
    """A statistic for `by_country`: how much oftener a country is named for its own photos than for others'.

    Youden's J: 1 when its photos are distinguished from all others, 0 for guesses that know nothing, however they
    lean (Youden 1950).
    """
    ones_N = np.ones(len(guess_N))
    photos_GK, hits_GK = sample.sums(ones_N), sample.sums((guess_N == sample.country).astype(float))
    named_GK = sample.sums(ones_N, guess_N)

    def statistic(times_RG: Floats) -> Floats:
        photos_RK, hits_RK, named_RK = (times_RG @ table for table in (photos_GK, hits_GK, named_GK))
        others_RK = photos_RK.sum(axis=1, keepdims=True) - photos_RK
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(hits_RK / photos_RK - (named_RK - hits_RK) / others_RK)

    return statistic


def by_country(
    what: str, statistic: ByCountry, sample: Sample, limits: Limits, *, outliers: bool = False, seed: int = 0
) -> list[Effect]:
    """Test a statistic of each country with `MIN_GROUPS` groups, and its mean over them, which comes first.

    With `outliers` a country's effect counts only where it stands out from the other countries', which honest
    evidence seldom does.
    """
    groups_K = sample.groups_by_country
    tested = np.flatnonzero(groups_K >= MIN_GROUPS)
    if not tested.size:
        return []

    def with_mean(times_RG: Floats) -> Floats:
        values = statistic(times_RG)[:, tested]
        return np.column_stack([values, np.nanmean(values, axis=1)])

    count = int(sample.group.max()) + 1
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
        p[:-1][~_outlying(values[:-1])] = 1.0
    reach = student_reach(error, degrees)
    found = [
        Effect(
            what=what,
            country=sample.names[tested[at]] if at < len(tested) else None,
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


def _outlying(values_C: Floats) -> Flags:
    """Which countries lie far above the others, by median and median deviation, which no second one bends."""
    found = []
    for at, value in enumerate(values_C):
        others = np.delete(values_C, at)
        middle = np.median(others)
        spread = 1.4826 * np.median(np.abs(others - middle))  # a standard deviation, were they normal
        found.append(value - middle > APART * spread)
    return np.array(found, bool)
