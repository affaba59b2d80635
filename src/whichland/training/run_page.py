"""The page of a run, index.html in its folder: curves, speed, time left, settings; drawn anew as training goes."""

import json
import time
from array import array
from dataclasses import fields
from functools import cache
from math import isfinite, nan
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jinja2 import Template
from markupsafe import Markup

import whichland
from whichland.charts import Line, Look, lines_svg
from whichland.config import settings
from whichland.statistics import Floats
from whichland.templates import templates_beside
from whichland.training.config import TrainConfig
from whichland.whole_file import whole_file

State = Literal["running", "finished", "stopped", "failed"]

EVERY_S = 30.0  # between two writings inside an epoch; the page asks for itself anew as often
RECENT = 50  # steps over which the present speed is taken
WAITED = 20  # times the usual step: no step's own time
MOST = 0.01  # of the time may go into writing the page after epochs that take less than a second or two
POINTS = 240  # of a line, at most
DOTS = 40  # validations up to which each has a dot


class RunPage:
    """Gathers the lines of the log as they come; writes the page after epochs and every half minute."""

    def __init__(self, folder: Path, config: TrainConfig, *, steps: int, batch_size: int, photos: int) -> None:
        self.folder, self.config = folder, config
        self.steps, self.batch_size, self.photos = steps, batch_size, photos
        self.at, self.loss, self.rate, self.took = array("d"), array("d"), array("d"), array("d")
        self.epochs: list[dict[str, Any]] = []
        self.validation_s = 0.0
        self.seconds: float | None = None
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
        """Write the page as things stand."""
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
        self.seconds = line.get("seconds", self.seconds)

    def _render(self, state: State) -> str:
        links = ("bundle/README.md", "report/report.html", "log.jsonl", "config.toml")
        return _template().render(
            state=state,
            name=self.folder.resolve().name,
            arch=self.config.arch,
            photos=self.photos,
            version=whichland.__version__,
            every=round(EVERY_S),
            written=time.time(),
            written_text=time.strftime("%Y-%m-%d %H:%M:%S"),
            facts=self._facts(state),
            share=1.0 if state == "finished" else min(1.0, len(self.at) / self._total),
            charts=[Markup(chart) for chart in self._charts() if chart],
            rows=self.epochs,
            best=self._best(),
            changed=_settings(self.config, changed=True),
            unchanged=_settings(self.config, changed=False),
            links=[link for link in links if (self.folder / link).exists()],
        )

    @property
    def _total(self) -> int:
        """Steps of the whole run."""
        return max(1, round(self.steps * self.config.epochs))

    def _best(self) -> dict[str, Any] | None:
        judged = [line for line in self.epochs if "val_macro_f1" in line]
        return max(judged, key=lambda line: line["val_macro_f1"]) if judged else None

    def _facts(self, state: State) -> list[tuple[str, str]]:
        """What stands on top in large figures: (name, value)."""
        recent = np.array(self.took[-RECENT:])
        recent = recent[np.isfinite(recent)]
        # the first step of a phase of freezing waits until the frozen part has run over all photos
        each = float(recent[recent <= WAITED * np.median(recent)].mean()) if len(recent) else nan
        done = max((line["epoch"] for line in self.epochs), default=0)
        facts = [("epoch", f"{min(done, self.config.epochs):g} of {self.config.epochs:g}")]
        best = self._best()
        if best is not None:
            facts.append(("best macro-F1", f"{best['val_macro_f1']:.1%} (epoch {best['epoch']})"))
            facts.append(("its top-1", f"{best['val_top1']:.1%}"))
        if each > 0:
            facts.append(("photos a second", f"{self.batch_size / each:,.0f}"))
        lost = int((~np.isfinite(self.loss)).sum())
        if lost:
            facts.append(("steps whose loss was no number", f"{lost:,}"))
        facts.append(("time spent", clock(self.seconds if self.seconds is not None else self.earlier_s)))
        if state == "running" and each > 0:
            validations = (self.config.epochs - done) / self.config.validate_every
            left = max(0, self._total - len(self.at)) * each + validations * np.nan_to_num(self.validation_s)
            facts.append(("time left", clock(left)))
        return facts

    def _charts(self) -> list[str]:
        at, losses, end = np.array(self.at), np.array(self.loss), float(self.config.epochs)
        best = self._best()
        marks = [(min(best["epoch"], end), "best")] if best else []

        def scores(name: str, key: str, look: Look) -> Line:
            judged = [line for line in self.epochs if isfinite(line.get(key, nan))]
            points = [(min(line["epoch"], end), line[key]) for line in judged]  # the last may be cut short
            x, y = np.array(points, dtype=np.float64).reshape(-1, 2).T
            return Line(name=name, x=x, y=y, look=look, dots=len(x) <= DOTS)

        real = np.isfinite(losses)
        x, loss, low, high = _thinned(at[real], _smoothed(losses[real]), losses[real])
        training = Line(name="training", x=x, y=loss, low=low, high=high)
        validation = scores("validation", "val_loss", "second")
        seen = np.isfinite(self.took)
        speed = self.batch_size / np.maximum(np.array(self.took)[seen], 1e-9)
        speed_x, speed_y, slow, fast = _thinned(at[seen], _smoothed(speed), speed)
        rate_x, rate_y, _, _ = _thinned(at, np.array(self.rate), np.array(self.rate))
        both = [scores("top-1", "val_top1", "first"), scores("macro-F1", "val_macro_f1", "second")]
        rate = Line(name="rate", x=rate_x, y=rate_y)
        fast_and_slow = Line(name="photos/s", x=speed_x, y=speed_y, low=slow, high=fast)
        return [
            lines_svg("Loss", [training, validation], end=end, y_range=_from_zero(loss, validation.y)),
            lines_svg("Validation scores", both, end=end, percent=True, y_range=(0, 1), marks=marks),
            lines_svg("Learning rate of the head", [rate], end=end, y_range=_from_zero(rate_y)),
            lines_svg("Photos a second", [fast_and_slow], end=end, y_range=_from_zero(speed_y)),
        ]


@cache
def _template() -> Template:
    return templates_beside(__file__).get_template("run_page.html.j2")


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def _smoothed(values: Floats) -> Floats:
    """Mean over a twentieth of the values around each."""
    reach = len(values) // 40
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    first, last = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(values))
    return np.asarray((sums[last] - sums[first]) / (last - first), dtype=np.float64)


def _thinned(x: Floats, y: Floats, raw: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """At most POINTS of a line: x, mean of y, and the least and greatest raw value of each stretch."""
    if not len(x):
        return x, y, raw, raw
    starts = np.unique(np.linspace(0, len(x), min(len(x), POINTS), endpoint=False).astype(int))
    counts = np.diff(np.append(starts, len(x)))
    mean_x, mean_y = np.add.reduceat(x, starts) / counts, np.add.reduceat(y, starts) / counts
    return mean_x, mean_y, np.minimum.reduceat(raw, starts), np.maximum.reduceat(raw, starts)


def _from_zero(*lines: Floats) -> tuple[float, float] | None:
    """From zero to somewhat above the highest mean: single steps that leap may leave the chart."""
    values = np.concatenate(lines)
    return (0.0, float(values.max()) * 1.05) if len(values) and values.max() > 0 else None


def _settings(config: TrainConfig, *, changed: bool) -> list[tuple[str, str, str]]:
    """(name, value, meaning) of the settings that differ from their defaults, or of the others."""
    help = {setting.name: setting.help for setting in settings(type(config))}
    default = type(config)()
    return [
        (field.name, said(getattr(config, field.name)), help[field.name])
        for field in fields(config)
        if (getattr(config, field.name) != getattr(default, field.name)) == changed
    ]


def said(value: Any) -> str:
    """A setting for reading."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, dict):
        return ", ".join(f"{key}={said(item)}" for key, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(said, value)) or "none"
    return "unset" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
