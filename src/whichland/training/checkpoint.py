"""What a run keeps besides its model: how far it is, averaged weights, the best so far, and the file of all that.

A run is resumed from the file to the same result, by any number of processes.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from whichland.errors import UserError
from whichland.whole_file import whole_file

SHARE = 0.02  # of the time may go into writing checkpoints after epochs that take less than minutes


@dataclass
class Position:
    """The next step to take."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0  # of the epoch's steps so far
    log_lines: int = 0  # lines of log.jsonl that belong to what has been done
    seconds: float = 0.0  # spent so far: the head's start, training and validation
    best: dict[str, float] = field(default_factory=dict)  # scores of the best weights, kept with patience
    waited: int = 0  # validations since then


class Average:
    """Exponential moving average of a model's weights and statistics; none with a `decay` of 0.

    The decay rises as (1 + t) / (10 + t) up to its final value, so that the start is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = copy_of(model) if decay else {}
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
        new = model.state_dict()
        resting &= self.state.keys()
        done = {name for name in resting if torch.equal(self.state[name], new[name])}
        self.complete = done == resting
        pairs = [(own, new[name]) for name, own in self.state.items() if name not in done]
        self._moving = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counting = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the model after step number `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for own, new in self._counting:
            own.copy_(new)
        if self._moving:
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


class Pace:
    """When a checkpoint is due: after so many minutes, and after an epoch where that takes little of the time."""

    def __init__(self, minutes: float) -> None:
        self.most_s, self.cost = minutes * 60, 0.0
        self.written = time.monotonic()

    def due(self, *, epoch_ends: bool) -> bool:
        """Whether to write now."""
        since = time.monotonic() - self.written
        return since >= (min(self.most_s, self.cost / SHARE) if epoch_ends else self.most_s)

    def wrote(self, cost: float) -> None:
        """Note that one was written just now, and the seconds that it took."""
        self.written, self.cost = time.monotonic(), cost


@dataclass(frozen=True)
class Checkpoint:
    """The file of a run's state; all processes of a job save and restore together."""

    file: Path
    manifest: str  # SHA-256 of the manifest that the run learns from
    accelerator: Accelerator

    def save(self, **state: Any) -> None:
        """Write everything atomically, by the main process."""
        if self.accelerator.is_main_process:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self.file) as partial:
                torch.save(state | {"manifest": self.manifest}, partial)
        self.accelerator.wait_for_everyone()  # one that ends now would take the writing one with it

    def read(self) -> dict[str, Any]:
        """What was saved. Raises UserError when it cannot be read, or was learnt from another manifest.

        The main process reads, so that the others need not see its disk.
        """
        state: dict[str, Any] = {}
        if self.accelerator.is_main_process:
            try:
                state = torch.load(self.file, map_location="cpu", weights_only=True)
            except (OSError, RuntimeError, ValueError) as error:
                raise self.refused(error) from None
        (state,) = broadcast_object_list([state])
        if state.get("manifest") != self.manifest:
            raise UserError(
                f"{self.file.parents[1]} was started with another manifest, or other splits or labels in it: "
                "resume with that one, or train anew in another --out"
            )
        return state

    def refused(self, error: Exception) -> UserError:
        """One line for a checkpoint that does not fit the run."""
        return UserError(f"{self.file}: cannot be resumed from ({str(error).splitlines()[0]})")
