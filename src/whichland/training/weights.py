"""Weights other than those of the last step: averaged ones, and the best so far."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from whichland.training.checkpoint import Position


class Average:
    """Exponential moving average of a model's weights and statistics.

    The decay rises as (1 + t) / (10 + t) up to its final value, so that the start is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = copy_of(model)
        self.follow(model)

    def follow(self, model: nn.Module) -> None:
        """Leave out what cannot change until this is called again: what is frozen, and averaged already.

        With a head alone on stored activations, averaging the whole model took longer than the step. `complete`
        then says whether all that is frozen is averaged already.
        """
        resting = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        for name, module in model.named_modules():
            if not module.training:
                resting |= {f"{name}.{buffer}" for buffer, _ in module.named_buffers(recurse=False)}
        state = model.state_dict()
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


class Patience:
    """Early stopping: keeps the weights with the best macro-F1 until that gets no better for `limit` validations."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.best: dict[str, Tensor] = {}

    def judge(self, scores: dict[str, float], model: nn.Module, position: Position) -> None:
        """Keep the weights that the model holds when they are the best so far."""
        if not self.limit:
            return
        position.waited += 1
        if not position.best or scores["val_macro_f1"] > position.best["val_macro_f1"]:
            position.best, position.waited = scores, 0
            self.best = copy_of(model)

    def over(self, position: Position) -> bool:
        """Whether the scores have been no better for long enough."""
        return bool(self.limit) and position.waited >= self.limit


def copy_of(model: nn.Module) -> dict[str, Tensor]:
    """The model's parameters and buffers, copied."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@contextmanager
def holding(model: nn.Module, given: Mapping[str, Tensor]) -> Iterator[None]:
    """Within, the model holds the weights that are given; its own where none are."""
    if not given:
        yield
        return
    own = copy_of(model)
    model.load_state_dict(given)
    try:
        yield
    finally:
        model.load_state_dict(own)
