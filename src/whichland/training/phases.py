"""Freezing that changes over time: `front:3,none` freezes the front for three epochs, then nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from whichland.errors import UserError
from whichland.model.choices import Freeze

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Phase:
    """A stretch of training in which the same parameters learn."""

    policy: Freeze
    first: int  # epoch that it begins with, counted from 0
    end: float  # epochs after which it ends; the last phase may end within one


def phases(text: str, epochs: float) -> tuple[Phase, ...]:
    """Read `POLICY:EPOCHS,…,POLICY`; the last policy stays to the end. Raises UserError."""
    *earlier, last = text.split(",")
    found: list[Phase] = []
    first = 0
    for part in earlier:
        policy, _, count = part.partition(":")
        if not count.strip().isdecimal() or int(count) < 1:
            raise UserError(f"freeze {text!r}: {part.strip()!r} needs its whole epochs, such as front:3,none")
        found.append(Phase(_policy(policy, text), first, first + int(count)))
        first += int(count)
    if earlier and first >= epochs:
        raise UserError(f"freeze {text!r}: {last.strip()!r} never comes in {epochs:g} epochs; raise --epochs")
    return (*found, Phase(_policy(last, text), first, epochs))


def phase_of(plan: Sequence[Phase], epoch: int) -> Phase:
    """The phase that an epoch, counted from 0, lies in."""
    return next(phase for phase in reversed(plan) if phase.first <= epoch)


def learning(model: "nn.Module", plan: Sequence[Phase]) -> set[str]:
    """Names of the parameters that learn in any phase; the model is left frozen as in the first."""
    from whichland.model.freezing import freeze

    names = set()
    for phase in reversed(plan):
        freeze(model, phase.policy)
        names |= {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return names


def _policy(text: str, whole: str) -> Freeze:
    for policy in get_args(Freeze):
        if text.strip() == policy:
            return policy  # type: ignore[no-any-return]
    choices = ", ".join(get_args(Freeze))
    raise UserError(f"freeze {whole!r}: {text.strip()!r} is not one of {choices}; phases are written as front:3,none")
