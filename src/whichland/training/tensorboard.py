"""The log as event files for TensorBoard, where that is installed."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from whichland.errors import UserError


def require_tensorboard() -> None:
    """Raise UserError when event files are wanted and the package that writes them is missing."""
    if find_spec("tensorboard") is None:
        raise UserError(
            "tensorboard = true needs the extra 'tensorboard': pip install 'whichland[tensorboard]', "
            "or go without: log.jsonl and index.html hold the same"
        )


class EventFiles:
    """Writes each line of the log under FOLDER/tensorboard; `steps` are those of an epoch.

    A step's values stand at the number of steps done, an epoch's at that of its last one. What a resumed run does
    again replaces what was written before, all of it where the run begins anew: `done` is the number of steps
    behind it.
    """

    def __init__(self, folder: Path, *, steps: int, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.steps, self.done = steps, done
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)

    def __call__(self, line: dict[str, Any]) -> None:
        """Write the numbers of one line."""
        step = line["kind"] == "step"
        if step:
            self.done = line["epoch"] * self.steps + line["step"] + 1
        for name, value in line.items():
            if name in ("kind", "epoch", "step"):
                continue
            place, _, rest = name.partition("_")
            tag = f"{place}/{rest}" if rest else f"{line['kind']}/{name}"
            self.writer.add_scalar(tag, value, self.done)
        if not step:
            self.writer.flush()

    def close(self) -> None:
        """Write what is waiting."""
        self.writer.close()
