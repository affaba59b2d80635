"""What a run writes while it trains: log.jsonl, a line a step and an epoch, and what is made of it at once.

That is the page of the run, index.html in its folder (curves, speed, time left, settings), and event files.
"""

import json
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from importlib.util import find_spec
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from markupsafe import Markup

import whichland
from whichland.charts import Line, Look, lines_svg
from whichland.config import settings
from whichland.errors import UserError
from whichland.printed import clock, install, setting_said
from whichland.statistics import Floats
from whichland.templates import templates_beside
from whichland.training.config import TrainConfig
from whichland.training.process import Interrupted
from whichland.whole_file import whole_file

if TYPE_CHECKING:
    from whichland.training.fit import Fit

Watcher = Callable[[dict[str, Any]], None]  # is given every line of the log as it is written
State = Literal["running", "finished", "stopped", "failed"]

EVERY_S = 30.0  # between two writings inside an epoch; the page asks for itself anew as often
RECENT = 50  # steps over which the present speed is taken
WAITED = 20  # times the usual step: no step's own time
MOST = 0.01  # of the time may go into writing the page after epochs that take less than a second or two
POINTS = 240  # of a line, at most
DOTS = 40  # validations up to which each has a dot
LINKS = ("bundle/README.md", "report/report.html", "log.jsonl", "config.toml")


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
            f"tensorboard = true needs the extra 'tensorboard': {install('tensorboard')}, "
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
    fit.say(f"curves, speed and time left: {out / 'index.html'}")
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


class RunPage:
    """Gathers the lines of the log as they come; writes the page after epochs and every half minute."""

    def __init__(self, folder: Path, config: TrainConfig, *, steps: int, batch_size: int, photos: int) -> None:
        self.folder, self.config = folder, config
        self.steps, self.batch_size, self.photos = steps, batch_size, photos
        self.total = max(1, round(steps * config.epochs))  # steps of the whole run
        self.at, self.loss, self.rate, self.took = array("d"), array("d"), array("d"), array("d")
        self.epochs: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}  # the line of the epoch with the best macro-F1
        self.validation_s = 0.0
        self.seconds: float | None = None
        self.template = templates_beside(__file__).get_template("run_page.html.j2")
        earlier = (folder / "log.jsonl").read_text(encoding="utf-8")  # of a run that is resumed
        for line in earlier.splitlines():
            self._take(json.loads(line))
        self.earlier_s, self.seconds = self.seconds or 0.0, None
        self.write("running")

    def __call__(self, line: dict[str, Any]) -> None:
        """Take a line of the log; write the page when it is time."""
        self._take(line)
        since = time.monotonic() - self.written
        if since >= EVERY_S or (line["kind"] == "epoch" and since * MOST >= self.cost):
            self.write("running")

    def write(self, state: State) -> None:
        """Write the page with what is known so far."""
        begun = time.monotonic()
        with whole_file(self.folder / "index.html") as partial:
            partial.write_text(self._render(state), encoding="utf-8")
        self.written = time.monotonic()
        self.cost = self.written - begun

    def _take(self, line: dict[str, Any]) -> None:
        spent = nan if self.seconds is None else line.get("seconds", nan) - self.seconds
        if line["kind"] == "step":
            self.at.append(line["epoch"] + (line["step"] + 1) / self.steps)
            self.loss.append(line["loss"])
            self.rate.append(line["lr"])
            self.took.append(spent)
        elif line["kind"] == "epoch":
            self.epochs.append(line)
            if "val_loss" in line:
                self.validation_s = spent
            self.best = max(self.best, line, key=lambda each: each.get("val_macro_f1", -1.0))
        self.seconds = line.get("seconds", self.seconds)

    def _kept(self, state: State) -> dict[str, Any]:
        """The line of the epoch whose weights the bundle holds; nothing before the end, and where it holds a mean."""
        if state != "finished" or self.config.keep_start:
            return {}
        judged = [line for line in self.epochs if "val_macro_f1" in line]
        return self.best if self.config.patience else judged[-1] if judged else {}

    def _render(self, state: State) -> str:
        config, default = self.config, TrainConfig()
        help = {setting.name: setting.help for setting in settings(TrainConfig)}
        own = {field.name: getattr(config, field.name) for field in fields(config)}
        rows = [(value != getattr(default, name), name, setting_said(value), help[name]) for name, value in own.items()]
        return self.template.render(
            state=state,
            name=self.folder.resolve().name,
            arch=config.arch,
            photos=self.photos,
            version=whichland.__version__,
            every=round(EVERY_S),
            written=time.time(),
            written_text=time.strftime("%Y-%m-%d %H:%M:%S"),
            facts=self._facts(state),
            share=1.0 if state == "finished" else min(1.0, len(self.at) / self.total),
            charts=[Markup(chart) for chart in self._charts(state) if chart],
            rows=self.epochs,
            best=self.best,
            kept=self._kept(state),
            changed=[row for changed, *row in rows if changed],
            unchanged=[row for changed, *row in rows if not changed],
            links=[link for link in LINKS if (self.folder / link).exists()],
        )

    def _facts(self, state: State) -> dict[str, str]:
        """What stands on top in large figures, by name."""
        recent = np.array(self.took[-RECENT:])
        recent = recent[np.isfinite(recent)]
        # the first step of a phase of freezing waits until the frozen part has run over all photos
        each = float(recent[recent <= WAITED * np.median(recent)].mean()) if len(recent) else nan
        epochs = self.config.epochs
        done = max((line["epoch"] for line in self.epochs), default=0)
        facts = {"epoch": f"{min(done, epochs):g} of {epochs:g}"}
        if "val_macro_f1" in self.best:
            facts["best macro-F1"] = f"{self.best['val_macro_f1']:.1%} (epoch {self.best['epoch']})"
            facts["its top-1"] = f"{self.best['val_top1']:.1%}"
        if kept := self._kept(state):
            which = "best" if kept is self.best else "last"
            facts["the bundle's macro-F1"] = f"{kept['val_macro_f1']:.1%} (epoch {kept['epoch']}, the {which})"
        if each > 0:
            facts["photos a second"] = f"{self.batch_size / each:,.0f}"
        if lost := int((~np.isfinite(self.loss)).sum()):
            facts["steps whose loss was no number"] = f"{lost:,}"
        facts["time spent"] = clock(self.earlier_s if self.seconds is None else self.seconds)
        if state == "running" and each > 0:
            validations = (epochs - done) / self.config.validate_every
            left = max(0, self.total - len(self.at)) * each + validations * np.nan_to_num(self.validation_s)
            facts["time left"] = clock(left)
        return facts

    def _charts(self, state: State) -> list[str]:
        at, losses, end = np.array(self.at), np.array(self.loss), float(self.config.epochs)
        named = {"best": self.best, "kept": self._kept(state)}
        if named["kept"] is self.best:
            named = {"best, kept": self.best}
        marks = [(min(line["epoch"], end), name) for name, line in named.items() if "val_macro_f1" in line]

        def scores(name: str, key: str, look: Look) -> Line:
            judged = [line for line in self.epochs if isfinite(line.get(key, nan))]
            points = [(min(line["epoch"], end), line[key]) for line in judged]  # the last may be cut short
            x, y = np.array(points, dtype=np.float64).reshape(-1, 2).T
            return Line(name=name, x=x, y=y, look=look, dots=len(x) <= DOTS)

        real, seen = np.isfinite(losses), np.isfinite(self.took)
        training = _thinned("training", at[real], _smoothed(losses[real]), losses[real])
        validation = scores("validation", "val_loss", "second")
        both = [scores("top-1", "val_top1", "first"), scores("macro-F1", "val_macro_f1", "second")]
        rate = _thinned("rate", at, np.array(self.rate))
        speeds = self.batch_size / np.maximum(np.array(self.took)[seen], 1e-9)
        speed = _thinned("photos/s", at[seen], _smoothed(speeds), speeds)
        return [
            lines_svg("Loss", [training, validation], end=end, y_range=_from_zero(training, validation)),
            lines_svg("Validation scores", both, end=end, percent=True, y_range=(0, 1), marks=marks),
            lines_svg("Learning rate of the head", [rate], end=end, y_range=_from_zero(rate)),
            lines_svg("Photos a second", [speed], end=end, y_range=_from_zero(speed)),
        ]


def _thinned(name: str, x: Floats, y: Floats, raw: Floats | None = None) -> Line:
    """A line of POINTS at most: means of y, with a band from the least to the greatest raw value of each stretch."""
    if not len(x):
        return Line(name=name, x=x, y=y)
    starts = np.unique(np.linspace(0, len(x), min(len(x), POINTS), endpoint=False).astype(int))
    counts = np.diff(np.append(starts, len(x)))
    mean_x, mean_y = np.add.reduceat(x, starts) / counts, np.add.reduceat(y, starts) / counts
    low, high = (None if raw is None else edge.reduceat(raw, starts) for edge in (np.minimum, np.maximum))
    return Line(name=name, x=mean_x, y=mean_y, low=low, high=high)


def _smoothed(values: Floats) -> Floats:
    """Mean over a twentieth of the values around each."""
    reach = len(values) // 40
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    first, last = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(values))
    return np.asarray((sums[last] - sums[first]) / (last - first), dtype=np.float64)


def _from_zero(*lines: Line) -> tuple[float, float] | None:
    """From zero to somewhat above the highest mean: single steps that leap may leave the chart."""
    top = max((float(line.y.max()) for line in lines if len(line.y)), default=0.0)
    return (0.0, top * 1.05) if top > 0 else None
