"""Learning rates: over time by a schedule, over depth by parameter group, and the average of the weights."""

from collections.abc import Collection
from math import cos, pi
from typing import Any, cast

import torch
from timm.models import group_parameters
from torch import nn

from whichland.errors import UserError
from whichland.model.head import classifier_names
from whichland.training.config import TrainConfig
from whichland.training.sharding import parts


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


def parameter_groups(
    model: nn.Module,
    lr: float,
    body_lr: float,
    weight_decay: float,
    *,
    layer_decay: float = 1.0,
    names: Collection[str] | None = None,
) -> list[dict[str, Any]]:
    """Learning parameters as AdamW groups: the head at `lr`, the body at `lr·body_lr`; no decay on vectors.

    With `layer_decay` below 1 the body's rate falls by that factor a layer towards the input, as in BEiT (arXiv
    2106.08254): what is nearest the head has the factor once, or not at all when timm counts it to the head's
    layer, such as a last norm. Layers are timm's. `names` are the parameters that learn in any phase; without it,
    those that learn now.
    """
    heads = [model.get_submodule(name) for name in classifier_names(model)]
    head = {id(parameter) for each in heads for parameter in each.parameters()}
    layers = _layers(model) if layer_decay != 1 else {}
    top = max(layers.values(), default=0)
    groups: dict[tuple[bool, bool, int], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad if names is None else name in names:
            in_head = id(parameter) in head
            below = 0 if in_head else top - layers.get(name, top)
            groups.setdefault((in_head, parameter.ndim > 1, below), []).append(parameter)
    return [
        {
            "params": parameters,
            "peak": lr if in_head else lr * body_lr * layer_decay**below,
            "lr": 0.0,
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (in_head, decays, below), parameters in groups.items()
    ]


def _layers(model: nn.Module) -> dict[str, int]:
    """The layer of every parameter, from 0 at the input, as timm's model counts them."""
    matcher = getattr(model, "group_matcher", None)
    if matcher is None:
        raise UserError("this architecture does not tell timm its layers; train it without layer_decay")
    return cast(dict[str, int], group_parameters(model, matcher(coarse=False), reverse=True))


class Average:
    """Exponential moving average of a model's weights and statistics.

    The decay rises as (1 + t) / (10 + t) up to its final value, so that the start is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: part.clone() for name, part in parts(model).items()}
        self.follow(model)

    def follow(self, model: nn.Module) -> None:
        """Pass over what cannot change until this is called again: what is frozen, and averaged already.

        With a head alone on stored activations, averaging the whole model took longer than the step. `complete`
        then tells whether all that is frozen is averaged already.
        """
        resting = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        for name, module in model.named_modules():
            if not module.training:
                resting |= {f"{name}.{buffer}" for buffer, _ in module.named_buffers(recurse=False)}
        state = parts(model)
        resting &= state.keys()
        done = {name for name in resting if torch.equal(self.state[name], state[name])}
        self.complete = done == resting
        pairs = [(self.state[name], part) for name, part in state.items() if name not in done]
        self._moving = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counting = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the model after step number `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for own, new in self._counting:
            own.copy_(new)
        torch._foreach_lerp_([own for own, _ in self._moving], [new for _, new in self._moving], 1 - decay)
