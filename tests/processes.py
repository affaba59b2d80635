"""Waiting for other processes: what tests of workers share."""

import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 60


def wait_until(true: Callable[[], bool]) -> None:
    """Return once that is true; fail after a minute."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
