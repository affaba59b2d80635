"""log.jsonl: a line a step and an epoch, on disk at once, and passed on to whatever watches: page and event files."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichland.errors import UserError
from whichland.training.process import Interrupted
from whichland.training.run_page import RunPage, State

if TYPE_CHECKING:
    from whichland.training.fit import Fit

Watcher = Callable[[dict[str, Any]], None]  # is given every line of the log as it is written


class RunLog:
    """The log of a run; only the main process writes."""

    def __init__(self, file: Path, watchers: Sequence[Watcher], *, writes: bool) -> None:
        self.file, self.watchers, self.writes = file, watchers, writes
        self.lines = 0

    def cut(self, lines: int) -> None:
        """Keep the first `lines` only: what came after the checkpoint that a run is resumed from is done again."""
        self.lines = lines
        if self.writes:
            kept = self.file.read_text(encoding="utf-8").splitlines(keepends=True)[:lines]
            self.file.write_text("".join(kept), encoding="utf-8")

    def write(self, **line: Any) -> None:
        """Append a line."""
        self.lines += 1
        if self.writes:
            with self.file.open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            for watch in self.watchers:
                watch(line)


def check_loss(loss: float, where: str, *, rate: float) -> None:
    """Raise UserError when the loss found `where` is no number, as all later ones would be; `rate` is the head's."""
    if not isfinite(loss):
        raise UserError(
            f"{where}: the loss is {loss} at a learning rate of {rate:.1e}; train anew "
            "with a lower --lr (`whichland lr-find` suggests one) or --set optimisation.clip=1, in another --out"
        )


def require_tensorboard() -> None:
    """Raise UserError when event files are wanted and the package that writes them is missing."""
    if find_spec("tensorboard") is None:
        raise UserError(
            "tensorboard = true needs the extra 'tensorboard': pip install 'whichland[tensorboard]', "
            "or go without: log.jsonl and index.html hold the same"
        )


class EventFiles:
    """Writes each line of the log under FOLDER/tensorboard; `steps` are those of an epoch.

    A step's values are at the number of steps done, an epoch's at that of its last one. What a resumed run does
    again replaces what was written before, all of it where the run begins anew: `done` is the number of steps
    behind it.
    """

    def __init__(self, folder: Path, *, steps: int, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.steps, self.done = steps, done
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)
        self.close = self.writer.close

    def __call__(self, line: dict[str, Any]) -> None:
        """Write the numbers of one line."""
        step = line["kind"] == "step"
        if step:
            self.done = line["epoch"] * self.steps + line["step"] + 1
        for name in line:
            if name not in ("kind", "epoch", "step"):
                place, _, rest = name.partition("_")
                self.writer.add_scalar(f"{place}/{rest}" if rest else f"{line['kind']}/{name}", line[name], self.done)
        if not step:
            self.writer.flush()


@contextmanager
def watching(fit: "Fit") -> Iterator[None]:
    """Within, the main process keeps the run's page up to date; at the end the page says how the run ended."""
    if not fit.accelerator.is_main_process:
        yield
        return
    loader, config, out = fit.loader, fit.config, fit.folder
    page = RunPage(out, config, steps=loader.steps, batch_size=loader.batch_size, photos=len(loader.photos))
    fit.watchers.append(page)
    events = None
    if config.tensorboard:
        done = fit.position.epoch * loader.steps + fit.position.step
        events = EventFiles(out, steps=loader.steps, done=done)
        fit.watchers.append(events)
    state: State = "failed"
    try:
        yield
        state = "finished"
    except (Interrupted, KeyboardInterrupt):
        state = "stopped"
        raise
    finally:
        page.write(state)
        if events is not None:
            events.close()
