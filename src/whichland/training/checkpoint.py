"""Where a run stands, written so that it can be taken up again to the same result, by any number of processes."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from whichland.errors import UserError
from whichland.training.schedule import Average
from whichland.training.sharding import like, parts_of_whole, put, whole, whole_of_parts
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
    """The file, and the objects whose state it holds; all processes of a job save and restore together."""

    file: Path
    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: Average | None
    accelerator: Accelerator

    def save(self, position: Position, best: dict[str, Tensor]) -> None:
        """Write everything atomically; `best` are the parts of the best weights, kept with patience."""
        keep = self.accelerator.is_main_process
        state: dict[str, Any] = {
            "model": whole(self.model.state_dict(), keep=keep),
            "optimizer": whole(self.optimizer.state_dict(), keep=keep),
            "average": whole_of_parts(self.average.state if self.average else {}, self.model, keep=keep),
            "best": whole_of_parts(best, self.model, keep=keep),
            "position": vars(position),
        }
        if keep:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self.file) as partial:
                torch.save(state, partial)
        self.accelerator.wait_for_everyone()  # one that ends now would take the writing one with it

    def restore(self) -> tuple[Position, dict[str, Tensor]]:
        """Take up what was saved; return where to go on, and the best weights' parts.

        The main process reads, so that the others need not see its disk.
        """
        read = [self._read() if self.accelerator.is_main_process else {}]
        (state,) = broadcast_object_list(read) if self.accelerator.num_processes > 1 else read
        try:
            put(self.model, parts_of_whole(state["model"], self.model))
            self.optimizer.load_state_dict(self._shared_moments(state["optimizer"]))
            if self.average:
                for name, part in parts_of_whole(state["average"], self.model).items():
                    self.average.state[name].copy_(part)
            best = parts_of_whole(state["best"], self.model)
            return Position(**state["position"]), best
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{self.file}: cannot be resumed from ({reason})") from None

    def _read(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = torch.load(self.file, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{self.file}: cannot be resumed from ({reason})") from None
        return state

    def _shared_moments(self, state: dict[str, Any]) -> dict[str, Any]:
        """The optimizer's state with each moment shared out as its parameter is."""
        groups = self.optimizer.param_groups
        parameters = [parameter for group in groups for parameter in group["params"]]
        moments = {
            number: {name: like(tensor, parameters[number]) for name, tensor in of_one.items()}
            for number, of_one in state["state"].items()
        }
        return {**state, "state": moments}
