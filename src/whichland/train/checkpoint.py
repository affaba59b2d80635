"""Where a run stands, written so that it can be taken up again to the same result."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from whichland.errors import UserError
from whichland.train.schedule import Average
from whichland.whole_file import whole_file


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


def save(
    file: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Average | None,
    position: Position,
) -> None:
    """Write a checkpoint atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    state: dict[str, Any] = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.state if average else {},
        "position": vars(position),
    }
    with whole_file(file) as partial:
        torch.save(state, partial)


def restore(
    file: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: Average | None
) -> Position:
    """Read a checkpoint into the objects given; return where to go on."""
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise UserError(f"{file}: cannot be resumed from ({str(error).splitlines()[0]})") from None
    if average:
        for name, tensor in state["average"].items():
            average.state[name].copy_(tensor)
    return Position(**state["position"])


def save_weights(file: Path, model: nn.Module) -> None:
    """Write a model's weights atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as partial:
        torch.save(model.state_dict(), partial)


def read_weights(file: Path) -> dict[str, Tensor]:
    """Read what `save_weights` wrote."""
    state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return state
