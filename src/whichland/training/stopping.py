"""How a run ends before its end: a signal asks for it, or another process of the job is gone."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from signal import SIGINT, SIGTERM, getsignal, raise_signal, signal
from typing import Any

import torch.distributed as dist

SAME_S = 2.0  # a signal that follows within this time is the same request by another way

# What torch says of a collective whose partner has gone. Its backends raise plain RuntimeErrors.
_GONE = re.compile(r"gloo|NCCL|connection (closed|reset)|broken pipe|remote process exited", re.IGNORECASE)


class Interrupted(Exception):
    """Training was stopped by Ctrl-C or SIGTERM; the checkpoint is written."""


class ProcessLost(Exception):
    """Another process of the job ended, so that this one cannot go on."""


@contextmanager
def stop_signal() -> Iterator[Callable[[], bool]]:
    """Within, the first Ctrl-C or SIGTERM only asks to stop at the end of the step; a later one acts at once.

    torchrun passes on to its processes the Ctrl-C that the terminal has sent to each of them already.
    """
    asked: list[float] = []
    before: dict[int, Any] = {number: getsignal(number) for number in (SIGINT, SIGTERM)}

    def ask(number: int, _frame: Any) -> None:
        asked.append(time.monotonic())
        if asked[-1] - asked[0] >= SAME_S:
            signal(number, before[number])
            raise_signal(number)

    for number in before:
        signal(number, ask)
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal(number, handler)


@contextmanager
def partners_watched() -> Iterator[None]:
    """Within, the error of a collective whose partner has gone becomes ProcessLost."""
    try:
        yield
    except RuntimeError as error:
        if dist.is_initialized() and (isinstance(error, dist.DistError) or _GONE.search(str(error))):
            raise ProcessLost(str(error).splitlines()[0]) from None
        raise


def first_to_say() -> bool:
    """Whether this process is to say why the job ends: the first that asks, of all its processes."""
    if not dist.is_initialized():
        return os.environ.get("RANK", "0") == "0"
    try:
        # torchrun keeps the store in a process of its own, which outlives the others
        return dist.distributed_c10d._get_default_store().add("whichland/why", 1) == 1
    except RuntimeError:
        return True
