"""Progress of long work on stderr: a bar on a terminal, a plain line about every ten seconds elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import AbstractContextManager
from typing import Any, TypeVar

T = TypeVar("T")

LINE_EVERY_S = 10.0


def track(iterable: Iterable[T], total: int | None = None, description: str = "working") -> Iterator[T]:
    """Yield the items of `iterable` while showing how many are done, how fast, and how long is left.

    `total` may be left out when the iterable has a length. Everything goes to stderr; stdout is for results.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    with Progress(description, total) as progress:
        for item in iterable:
            yield item
            progress.advance()


class Progress(AbstractContextManager["Progress"]):
    """The same as `track` for work that advances by uneven steps.

        with Progress("measuring", total=3818) as progress:
            progress.advance(32)

    `show=False` keeps it silent.
    """

    def __init__(self, description: str, total: int | None = None, *, show: bool = True) -> None:
        self.description, self.total, self.show = description, total, show
        self.done = 0

    def __enter__(self) -> "Progress":
        self._start = self._said = time.monotonic()
        self._bar = _bar() if self.show and sys.stderr.isatty() else None
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self.description, total=self.total)
        return self

    def __exit__(self, *raised: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self.show and raised[0] is None and self._said > self._start:
            self._say(time.monotonic())  # a closing line only after long work; short work stays silent

    def advance(self, items: int = 1) -> None:
        """Count `items` more as done."""
        self.done += items
        if self._bar is not None:
            self._bar.advance(self._task, items)
        elif self.show and time.monotonic() - self._said >= LINE_EVERY_S:
            self._say(time.monotonic())

    def _say(self, now: float) -> None:
        self._said = now
        rate = self.done / max(now - self._start, 1e-9)
        line = f"{self.description}: {self.done:,}"
        if self.total:
            line += f" of {self.total:,} ({self.done / self.total:.0%})"
        line += f", {rate:.1f}/s"
        if self.total and self.done < self.total:
            line += f", {_clock((self.total - self.done) / rate)} left"
        print(line, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _bar() -> Any:
    """The terminal's bar; rich is imported only when one is shown."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _rate_column(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _rate_column() -> Any:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:.0f}/s")

    return Rate()
