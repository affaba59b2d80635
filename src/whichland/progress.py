"""Progress of long work on stderr: a bar on a terminal, a plain line about every ten seconds elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

from whichland.printed import clock

T = TypeVar("T")

LINE_EVERY_S = 10.0


def track(
    iterable: Iterable[T], total: int | None = None, description: str = "working", unit: str = "photos"
) -> Iterator[T]:
    """Yield the items of `iterable` while showing how many are done, how fast, and how long is left.

    `total` may be left out when the iterable has a length. Everything goes to stderr; stdout is for results.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    with Progress(description, total, unit=unit) as progress:
        for item in iterable:
            yield item
            progress.advance()


class Progress(AbstractContextManager["Progress"]):
    """The same as `track` for work that advances by uneven steps.

        with Progress("measuring", total=3818) as progress:
            progress.advance(32)

    `show=False` keeps it silent. `unit` is what is counted, for the plain lines. Within `whole` it moves that one.
    """

    def __init__(self, description: str, total: int | None = None, *, show: bool = True, unit: str = "photos") -> None:
        self.description, self.total, self.unit = description, total, unit
        self.outer = _whole.get()
        self.show = show and self.outer is None
        self.done = 0

    def __enter__(self) -> "Progress":
        self._start = self._said = time.monotonic()
        if self.outer:
            self.outer.begin(self.description)
        self._bar = _bar() if self.show and sys.stderr.isatty() else None
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self.description, total=self.total)
        return self

    def __exit__(self, *raised: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self.show and raised[0] is None and self._said > self._start and self._shown < self.done:
            self._say(time.monotonic())  # a closing line only after long work; short work stays silent
        if self.outer and raised[0] is None:
            self.outer.advance(1.0, ends=True)

    def advance(self, items: int = 1) -> None:
        """Count `items` more as done."""
        self.done += items
        if self.outer and self.total:
            self.outer.advance(items / self.total)
        if self._bar is not None:
            self._bar.advance(self._task, items)
        elif self.show and time.monotonic() - self._said >= LINE_EVERY_S:
            self._say(time.monotonic())

    def _say(self, now: float) -> None:
        self._said, self._shown = now, self.done
        rate = self.done / max(now - self._start, 1e-9)
        line = f"{self.description}: {self.done:,}"
        if self.total:
            line += f" of {self.total:,}"
        line += f" {self.unit}"
        if self.total:
            line += f" ({self.done / self.total:.0%})"
        line += f", {rate:.1f} a second" if rate >= 1 else f", {1 / rate:.0f} s each"
        if self.total and self.done < self.total:
            line += f", {clock((self.total - self.done) / rate)} left"
        print(line, file=sys.stderr, flush=True)


class Passes(NamedTuple):
    """How often a part of a whole is gone through, and what each time costs, in units of the whole's own."""

    times: float
    cost: float


class Whole:
    """One bar over work whose parts have a Progress of their own: made by `whole`."""

    def __init__(self, parts: Mapping[str, Passes], *, show: bool = True) -> None:
        self.parts, self.total = parts, _cost(parts)
        self.cost = self.within = self.done = 0.0
        self.description = ""
        self._start = self._said = time.monotonic()
        self._bar = _bar(counts=False) if show and sys.stderr.isatty() else None
        self._task = self._bar.add_task("beginning", total=self.total) if self._bar is not None else None

    def foresee(self, parts: Mapping[str, Passes]) -> None:
        """Replace what is still to come, now that it is known better."""
        self.parts, self.total = parts, self.done + _cost(parts)
        if self._bar is not None:
            self._bar.update(self._task, total=self.total)

    def begin(self, description: str) -> None:
        """A part begins; of one that was not foreseen nothing moves."""
        self.description = description
        self.cost = next((part.cost for name, part in self.parts.items() if description.startswith(name)), 0.0)
        self.within = 0.0
        self.advance(0.0)

    def advance(self, share: float, *, ends: bool = False) -> None:
        """Count a share of the present part as done; the rest of it when it ends."""
        share = min(share, 1 - self.within)
        self.within += share
        self.done = min(self.done + share * self.cost, self.total)
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, description=self.description)
        elif self.cost and self.done and not ends and time.monotonic() - self._said >= LINE_EVERY_S:
            self._said = time.monotonic()
            left = (self.total / self.done - 1) * (self._said - self._start)
            share_done = f"{self.done / self.total:.0%} of all"
            text = f"{self.description}, {share_done}, about {clock(left)} left"
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """All is done, whatever was foreseen."""
        if self._bar is not None:
            self._bar.update(self._task, completed=self.total)


def _cost(parts: Mapping[str, Passes]) -> float:
    return sum(part.times * part.cost for part in parts.values())


_whole: ContextVar[Whole | None] = ContextVar("whole", default=None)


@contextmanager
def whole(parts: Mapping[str, Passes], *, show: bool = True) -> Iterator[Whole]:
    """Within, one bar shows how far all is, and how long is left, in place of a bar for each part.

        with whole({"measuring": Passes(1, 100), "epoch": Passes(6, 5000)}):
            ...

    A part is a Progress whose description begins so. Within another one, that one stays.
    """
    if not show or (outer := _whole.get()) is not None:
        yield outer if show and outer is not None else Whole(parts, show=False)
        return
    shown = Whole(parts)
    token = _whole.set(shown)
    try:
        with shown._bar or nullcontext():
            yield shown
            shown.end()
    finally:
        _whole.reset(token)


def _bar(*, counts: bool = True) -> Any:
    """The terminal's bar; rich is imported only when one is shown. Without `counts`, per cent in place of numbers."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        *((MofNCompleteColumn(), _rate_column()) if counts else (TaskProgressColumn(),)),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        speed_estimate_period=30 if counts else 600,  # parts differ in speed; of a whole the mean over them counts
    )


def _rate_column() -> Any:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:.0f}/s")

    return Rate()
