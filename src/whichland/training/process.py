"""The processes of a job: how they join and with which arithmetic, and how a run ends before its end.

It does when a signal asks for it, or when another process of the job is gone.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from signal import SIGINT, SIGTERM, getsignal, raise_signal, signal
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from whichland.errors import UserError

SAME_S = 2.0  # a signal that follows within this time is the same request by another way

# What torch says of a collective whose partner has gone. Its backends raise plain RuntimeErrors.
_GONE = re.compile(r"gloo|NCCL|connection (closed|reset)|broken pipe|remote process exited", re.IGNORECASE)


class Interrupted(Exception):
    """Training was stopped by Ctrl-C or SIGTERM; the checkpoint is written."""


class ProcessLost(Exception):
    """Another process of the job ended, so that this one cannot go on."""


def join(precision: str) -> Accelerator:
    """Join the processes that torchrun started, if it did, with arithmetic of a precision."""
    gpu = torch.accelerator.current_accelerator(check_available=True)
    use_bf16 = precision == "bf16"
    if precision == "auto":
        cuda = torch.cuda.is_available()
        use_bf16 = torch.cuda.is_bf16_supported() if cuda else torch.ops.mkldnn._is_mkldnn_bf16_supported()
    AcceleratorState._reset_state()  # else the precision of an earlier run in this process would be kept
    # left to itself, Accelerate joins processes by GPUs only, and each would train alone
    on_cpus = int(os.environ.get("WORLD_SIZE", "1")) > 1 and (gpu is None or gpu.type == "mps")
    return Accelerator(mixed_precision="bf16" if use_bf16 else "no", cpu=on_cpus or None)


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Within, torch takes deterministic algorithms alone. Raises UserError where there is none."""
    if not wanted:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it at its first use
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        reason = str(error).split(". ")[0]
        raise UserError(f"{reason}; train without run.deterministic, or another architecture") from None
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


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
