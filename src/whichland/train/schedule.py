"""Learning rates: over time by one-cycle, over depth by parameter group, and the average of the weights."""

from math import cos, pi
from typing import Any

import torch
from torch import Tensor, nn

from whichland.model.head import get_head


def one_cycle(progress: float, warmup: float) -> float:
    """Share of the peak rate at `progress` in [0, 1]: a cosine up from 1/25, then down to 1/100,000.

    Smith & Topin, "Super-Convergence" (arXiv 1708.07120), in the form that fastai made common.
    """
    if progress < warmup:
        return 1 / 25 + (1 - 1 / 25) * (1 - cos(pi * progress / warmup)) / 2
    rest = (progress - warmup) / max(1 - warmup, 1e-9)
    return 1e-5 + (1 - 1e-5) * (1 + cos(pi * min(rest, 1.0))) / 2


def parameter_groups(
    model: nn.Module, lr: float, body_lr: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Learning parameters as AdamW groups: the head at `lr`, the body at `lr·body_lr`; no decay on vectors."""
    head = {id(parameter) for parameter in get_head(model).parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            key = (id(parameter) in head, parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "peak": lr if in_head else lr * body_lr,
            "lr": 0.0,
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (in_head, decays), parameters in groups.items()
    ]


class Average:
    """Exponential moving average of a model's weights and statistics.

    The decay rises as (1 + t) / (10 + t) up to its final value, so that the start is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the model after step number `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        own: list[Tensor] = []
        new: list[Tensor] = []
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                own.append(self.state[name])
                new.append(tensor.detach())
            else:
                self.state[name].copy_(tensor)
        torch._foreach_lerp_(own, new, 1 - decay)
