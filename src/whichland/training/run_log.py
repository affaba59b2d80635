"""log.jsonl: a line a step and an epoch, on disk at once, and passed on to whoever watches."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Watcher = Callable[[dict[str, Any]], None]  # is given every line of the log as it is written


class RunLog:
    """The log of a run; only the main process writes."""

    def __init__(self, file: Path, watchers: Sequence[Watcher], *, writes: bool) -> None:
        self.file, self.watchers, self.writes = file, watchers, writes
        self.lines = 0

    def cut(self, lines: int) -> None:
        """Leave the first `lines` alone: what came after the checkpoint that a run goes on from is done again."""
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
