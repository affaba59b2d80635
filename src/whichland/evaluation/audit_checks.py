"""The checks of an audit: effects country by country with intervals over groups, and what may be said of them.

A country's effect is tested against `trivial`, not against zero: real pictures differ a little everywhere, and with
enough photos any difference is significant. Holm's step-down over every test of an audit keeps the chance of one
false alarm in it, of whatever kind, at `ALPHA` (Holm 1979).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from annotated_types import Ge

from whichland.config import AT_LEAST_0, Config
from whichland.images.preprocess import Pixels
from whichland.statistics import (
    ALPHA,
    FEWEST,
    Flags,
    Floats,
    Ints,
    Score,
    holm,
    redraws,
    renumbered,
    student_p,
    student_reach,
)

if TYPE_CHECKING:  # neither loads torch for the command line's sake
    from whichland.evaluation.predictions import Identity
    from whichland.model.labels import LabelSpace

Fill = Literal["other", "grey"]
Finding = Literal["found", "not found", "inconclusive"]

APART = 2.5  # spreads from the other countries' median, where an effect must stand out from theirs
REDRAWS = 1000  # for a standard error; a percentile would need more


@dataclass(frozen=True, kw_only=True)
class AuditConfig(Config):
    """How the audit is taken."""

    photos: Annotated[int, "of the split at most, the countries as equal as can be", Ge(20)] = 1000
    train_photos: Annotated[int, "at most, for the classifiers that see a thumbnail or no pixel", Ge(20)] = 2000
    fill: Annotated[Fill, "what stands in for an area: the same area of another country's photo, or grey"] = "other"
    seed: Annotated[int, "of the draws", AT_LEAST_0] = 0


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
class Effect(Score):
    """One tested number, with its 95 % interval."""

    what: str  # such as "probabilities lost"
    country: str | None  # None: the mean over the countries, each counting alike
    trivial: float  # up to here it is no shortcut
    relevant: float  # from here on it is one: where the interval reaches it, none can be ruled out
    p: float  # one-sided, of an effect no larger than `trivial`
    adjusted: float = 1.0  # p after Holm over the whole audit

    @property
    def found(self) -> bool:
        return self.adjusted < ALPHA

    @property
    def excluded(self) -> bool:
        return self.below(self.relevant)

    @property
    def score(self) -> Score:
        return Score(value=self.value, low=self.low, high=self.high, groups=self.groups)


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
    """Test a statistic of each country with `FEWEST` groups, and its mean over them, which comes first.

    With `outliers` a country's effect counts only where it stands out from the other countries', which honest
    evidence seldom does.
    """
    groups_K = sample.groups_by_country
    tested = np.flatnonzero(groups_K >= FEWEST)
    if not tested.size:
        return []

    def with_mean(times_RG: Floats) -> Floats:
        values = statistic(times_RG)[:, tested]
        drawn = ~np.isnan(values)  # a country may be missing from a redraw, and all may
        with np.errstate(invalid="ignore"):
            return np.column_stack([np.where(drawn, values, 0).sum(axis=1) / drawn.sum(axis=1), values])

    count = int(sample.group.max()) + 1
    values = with_mean(np.ones((1, count)))[0]
    groups = np.insert(groups_K[tested], 0, groups_K[tested].sum())
    spread = np.nanstd(with_mean(redraws(count, REDRAWS, seed)), axis=0) * np.sqrt(groups / (groups - 1))
    # photos that all fare alike leave no spread; a quarter of a group that might have fared otherwise stands in
    error = np.maximum(spread, 0.25 / groups)
    freedom = np.insert(groups_K[tested] - 1, 0, (groups_K[tested] - 1).sum())
    trivial = np.insert(np.full(len(tested), limits.trivial), 0, limits.trivial_mean)
    p = student_p((values - trivial) / error, freedom)
    if outliers and len(tested) > 2:
        p[1:][~_outlying(values[1:])] = 1.0
    reach = student_reach(error, freedom)
    return [
        Effect(
            what=what,
            country=sample.names[tested[at - 1]] if at else None,
            value=float(values[at]),
            low=float(values[at] - reach[at]),
            high=float(values[at] + reach[at]),
            trivial=float(trivial[at]),
            relevant=limits.relevant if at else limits.relevant_mean,
            p=float(p[at]),
            groups=int(groups[at]),
        )
        for at in range(len(values))
    ]


def _outlying(values_C: Floats) -> Flags:
    """Which countries lie far above the others, by median and median deviation, which no second one bends."""
    others_CD = np.array([np.delete(values_C, at) for at in range(len(values_C))])
    middle_C = np.median(others_CD, axis=1)
    # 1.4826: a standard deviation, were they normal
    spread_C = 1.4826 * np.median(np.abs(others_CD - middle_C[:, None]), axis=1)
    return np.asarray(values_C - middle_C > APART * spread_C)


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
    verdict: Finding = "inconclusive"
    says: str = ""  # the answer in one line
    unless: str = ""  # why an effect that is found is no shortcut yet
    facts: tuple[tuple[str, str], ...] = ()  # what else to know, name and value
    shortcut: bool = True  # whether "found" is an alarm

    @property
    def alarm(self) -> bool:
        return self.shortcut and self.verdict == "found"

    @property
    def answer(self) -> str:
        """The verdict for people: what is no shortcut is not "found", but used."""
        return self.verdict if self.shortcut else self.verdict.replace("found", "used")

    @property
    def countries(self) -> tuple[str, ...]:
        """Where it was found, the largest effect first; none where it is about all together."""
        return tuple(dict.fromkeys(effect.country for effect in _found(self.effects) if effect.country))


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found; audit.html and audit.json lie in `folder`."""

    folder: Path
    identity: "Identity"
    config: AuditConfig
    checks: tuple[Check, ...]
    photos: int
    groups: int
    countries: tuple[str, ...]  # with photos
    few: tuple[str, ...]  # of them, those with too few groups to be tested alone
    unreadable: int
    top1: float
    space: "LabelSpace"
    pictures: dict[str, tuple[Pixels, Pixels]] = field(repr=False)  # mean photo and edges by country; "": of all

    @property
    def html(self) -> Path:
        return self.folder / "audit.html"

    @property
    def alarms(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.alarm)

    @property
    def headline(self) -> str:
        """What was found, and how much of the audit could not tell."""
        searching = [check for check in self.checks if check.shortcut]
        unknown = sum(check.verdict == "inconclusive" for check in searching)
        count = len(self.alarms)
        found = f"{count} {'shortcut' if count == 1 else 'kinds of shortcut'} found" if count else "No shortcut found"
        if unknown == len(searching):
            return f"Too few photos: all {unknown} checks are inconclusive"
        return found + (f", and {unknown} of {len(searching)} checks inconclusive" if unknown else "")


def numbers(found: Audit) -> dict[str, Any]:
    """Everything an audit says, ready for JSON."""
    return {
        **asdict(found.identity),
        "config": asdict(found.config),
        "photos": found.photos,
        "groups": found.groups,
        "countries": found.countries,
        "countries_with_few_groups": found.few,
        "unreadable": found.unreadable,
        "top1": found.top1,
        "shortcuts_found": [check.name for check in found.alarms],
        "checks": [asdict(check) | {"found_in": check.countries, "facts": dict(check.facts)} for check in found.checks],
    }


def decided(checks: Sequence[Check]) -> list[Check]:
    """Holm over all checks, then each one's verdict and what it says."""
    found = []
    for check, effects in zip(checks, adjust([check.effects for check in checks]), strict=True):
        if effects:
            check = replace(check, effects=effects, verdict=verdict(effects), says=_says(effects))
        elif not check.says:
            check = replace(check, says=f"no country has {FEWEST} groups")
        if check.verdict == "found" and check.unless:
            check = replace(check, verdict="inconclusive", says=f"{check.says}, but {check.unless}")
        found.append(check)
    return found


def adjust(effects: Sequence[Sequence[Effect]]) -> list[tuple[Effect, ...]]:
    """Holm over all effects of all checks."""
    adjusted = iter(holm([effect.p for part in effects for effect in part]))
    return [tuple(replace(effect, adjusted=next(adjusted)) for effect in part) for part in effects]


def verdict(effects: Sequence[Effect]) -> Finding:
    """Found, or ruled out for every country that was tested, or neither."""
    if any(effect.found for effect in effects):
        return "found"
    return "not found" if effects and all(effect.excluded for effect in effects) else "inconclusive"


def largest_shown(check: Check) -> Check:
    """A check that scores its largest effect: the mean over the countries would hide a single marked one."""
    if not check.effects:
        return check
    shown = max(check.effects, key=lambda effect: (effect.found, effect.value))
    where = f"most in {shown.country}" if shown.country else "on average"
    return replace(check, score=shown.score, measure=f"{shown.what} beyond elsewhere, {where}")


def _found(effects: Sequence[Effect]) -> list[Effect]:
    return sorted((effect for effect in effects if effect.found), key=lambda effect: -effect.value)


def _says(effects: Sequence[Effect]) -> str:
    if found := _found(effects):
        shown = [f"{e.country or 'on average'} {e.value * 100:+.0f} points {e.what}" for e in found[:4]]
        return ", ".join(shown) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
    where = list(dict.fromkeys(effect.country or "the average" for effect in effects if not effect.excluded))
    if not where:
        return "ruled out for every country that was tested"
    more = f" and {len(where) - 6} more" if len(where) > 6 else ""
    return f"too few photos to rule it out for {', '.join(where[:6])}{more}"
