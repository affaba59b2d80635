"""How far a run is, written so that it can be resumed to the same result, by any number of processes."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

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
        read = [self._read() if self.accelerator.is_main_process else {}]
        (state,) = broadcast_object_list(read) if self.accelerator.num_processes > 1 else read
        if state.get("manifest") != self.manifest:
            raise UserError(
                f"{self.file.parents[1]} was started with another manifest, or other splits or labels in it: "
                "resume with that one, or train anew in another --out"
            )
        return state

    def refused(self, error: Exception) -> UserError:
        """One line for a checkpoint that does not fit the run."""
        return UserError(f"{self.file}: cannot be resumed from ({str(error).splitlines()[0]})")

    def _read(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = torch.load(self.file, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise self.refused(error) from None
        return state
