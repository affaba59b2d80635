"""The checks of an audit: what each asks, what was found, and what may be said of all of them together.

Holm's step-down over every test of an audit keeps the chance of one false alarm in it, of whatever kind, at `ALPHA`
(Holm 1979).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from whichland.evaluation.audit_areas import AREAS
from whichland.evaluation.audit_config import AuditConfig
from whichland.evaluation.audit_effects import MIN_GROUPS, Effect
from whichland.evaluation.predictions import Identity
from whichland.images.preprocess import Pixels
from whichland.model.labels import LabelSpace
from whichland.statistics import Score, holm

Finding = Literal["found", "not found", "cannot be told"]


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
    verdict: Finding = "cannot be told"
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


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found; audit.html and audit.json lie in `folder`."""

    folder: Path
    identity: Identity
    config: AuditConfig
    checks: tuple[Check, ...]
    photos: int
    groups: int
    countries: tuple[str, ...]  # with photos
    few: tuple[str, ...]  # of them, those with too few groups to be tested alone
    unreadable: int
    top1: float
    space: LabelSpace
    pictures: dict[str, tuple[Pixels, Pixels]] = field(repr=False)  # mean photo and edges by country; "": of all

    @property
    def html(self) -> Path:
        return self.folder / "audit.html"

    @property
    def alarms(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.alarm)


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
            check = replace(check, effects=effects, verdict=verdict(effects))
            check = replace(check, says=_says(check))
            if check.name in AREAS:
                check = replace(check, **_largest(check))
        elif not check.says:
            check = replace(check, says=f"no country has {MIN_GROUPS} groups")
        if check.verdict == "found" and check.unless:
            check = replace(check, verdict="cannot be told", says=f"{check.says}, but {check.unless}")
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
    return "not found" if effects and all(effect.excluded for effect in effects) else "cannot be told"


def _largest(check: Check) -> dict[str, Any]:
    """What an area's row shows: the mean over the countries would hide a single marked one."""
    shown = max(check.effects, key=lambda effect: (effect.found, effect.value))
    where = f"most in {shown.country}" if shown.country else "on average"
    return {"score": shown.score, "measure": f"{shown.what} beyond elsewhere, {where}"}


def _says(check: Check) -> str:
    found = sorted((effect for effect in check.effects if effect.found), key=lambda effect: -effect.value)
    if found:
        shown = [f"{e.country or 'on average'} {e.value * 100:+.0f} points {e.what}" for e in found[:4]]
        return ", ".join(shown) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
    open_ = [effect for effect in check.effects if not effect.excluded]
    if not open_:
        return "ruled out for every country that was tested"
    where = list(dict.fromkeys(effect.country or "the average" for effect in open_))
    more = f" and {len(where) - 6} more" if len(where) > 6 else ""
    return f"too few photos to rule it out for {', '.join(where[:6])}{more}"
