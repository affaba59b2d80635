"""The same bits each time, where asked for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from whichland.errors import UserError


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
