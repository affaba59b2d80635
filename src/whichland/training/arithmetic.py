"""Processes, precision, and the same bits each time where asked for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from whichland.errors import UserError


def start(precision: str) -> Accelerator:
    """Join the processes that torchrun started, if it did, with arithmetic of a precision."""
    use_bf16 = precision == "bf16"
    if precision == "auto":
        use_bf16 = (
            torch.cuda.is_bf16_supported()
            if torch.cuda.is_available()
            else torch.ops.mkldnn._is_mkldnn_bf16_supported()
        )
    AcceleratorState._reset_state()  # else the precision of an earlier run in this process would be kept
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    gpu = torch.accelerator.current_accelerator(check_available=True)
    # left to itself, Accelerate joins processes by GPUs only, and each would train alone
    on_cpus = several and (gpu is None or gpu.type == "mps")
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
