"""What learns when, and how fast: phases of freezing, rates over time by a schedule, over depth by parameter group."""

from collections.abc import Collection, Sequence
from math import cos, pi
from typing import Any

from timm.models import group_parameters
from torch import nn

from whichland.errors import UserError
from whichland.model.freezing import freeze
from whichland.model.head import classifier_names
from whichland.training.config import Phase, TrainConfig


def phase_of(plan: Sequence[Phase], epoch: int) -> Phase:
    """The phase that an epoch, counted from 0, lies in."""
    return next(phase for phase in reversed(plan) if phase.first <= epoch)


def learning(model: nn.Module, plan: Sequence[Phase]) -> set[str]:
    """Names of the parameters that learn in any phase; the model is left frozen as in the first."""
    names = set()
    for phase in reversed(plan):
        freeze(model, phase.policy)
        names |= {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return names


def share_of_peak(progress: float, config: TrainConfig) -> float:
    """Share of the peak rate at `progress` in [0, 1): first the warmup, then as `schedule` says to `lr_end`.

    One-cycle rises and falls as cosines: Smith & Topin, "Super-Convergence" (arXiv 1708.07120), in the form that
    fastai made common. The other schedules rise in a line. All rise from 1/25.
    """
    if progress < config.warmup:
        if config.schedule == "one-cycle":
            return 1 / 25 + (1 - 1 / 25) * (1 - cos(pi * progress / config.warmup)) / 2
        return 1 / 25 + (1 - 1 / 25) * progress / config.warmup
    end = 1e-5 if config.lr_end is None else config.lr_end / config.lr
    rest = min((progress - config.warmup) / max(1 - config.warmup, 1e-9), 1.0)
    if config.schedule == "exponential":
        return float(end**rest)
    if config.schedule == "flat":
        rest = max(0.0, 1 - (1 - progress) / max(config.anneal, 1e-9))
    return end + (1 - end) * (1 + cos(pi * rest)) / 2


def set_rates(groups: list[dict[str, Any]], number: int, steps: int, phase: Phase, config: TrainConfig) -> None:
    """Give each group its rate at step `number` of a run of `steps` an epoch; `phase` is the one it is in."""
    first = phase.first * steps if config.restart else 0
    end = phase.end if config.restart else config.epochs
    share = share_of_peak((number - first) / max(1, round(end * steps) - first), config)
    for group in groups:
        group["lr"] = group["peak"] * share


def parameter_groups(
    model: nn.Module, config: TrainConfig, names: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Learning parameters as AdamW groups: the head at `lr`, the body at `lr·body_lr`; no decay on vectors.

    Nor on what timm's model names in `no_weight_decay`: embeddings of positions, class tokens.
    With `layer_decay` below 1 the body's rate falls by that factor a layer towards the input, as in BEiT (arXiv
    2106.08254): what is nearest the head has the factor once, or not at all when timm counts it to the head's
    layer, such as a last norm. Layers are timm's. `names` are the parameters that learn in any phase; without it,
    those that learn now.
    """
    heads = [model.get_submodule(name) for name in classifier_names(model)]
    head = {id(parameter) for each in heads for parameter in each.parameters()}
    layers: dict[str, int] = {}
    if config.layer_decay != 1:
        matcher = getattr(model, "group_matcher", None)
        if matcher is None:
            raise UserError("this architecture does not name its layers to timm; train it without layer_decay")
        layers = group_parameters(model, matcher(coarse=False), reverse=True)
    top = max(layers.values(), default=0)
    undecayed: set[str] = getattr(model, "no_weight_decay", set)()
    groups: dict[tuple[bool, bool, int], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad if names is None else name in names:
            in_head = id(parameter) in head
            below = 0 if in_head else top - layers.get(name, top)
            groups.setdefault((in_head, parameter.ndim > 1 and name not in undecayed, below), []).append(parameter)
    return [
        {
            "params": parameters,
            "peak": config.lr if in_head else config.lr * config.body_lr * config.layer_decay**below,
            "lr": 0.0,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (in_head, decays, below), parameters in groups.items()
    ]
