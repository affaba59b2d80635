"""The processes of a job: how they join and with which arithmetic, and how a run ends before its end.

It does when a signal asks for it, or when another process of the job is gone. Batch norms take their statistics over
all processes: W of them with b photos each compute what one with W·b photos would. On a GPU that is torch's own
SyncBatchNorm. On CPUs, where it does not run, count, mean and sum of squared deviations of each process are combined
as by Chan, Golub and LeVeque ("Updating formulae and a pairwise algorithm for computing sample variances", 1979),
which is as good for values far from zero as for others.
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
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, nn

from whichland.errors import UserError
from whichland.training.run_folder import first_process

SAME_S = 2.0  # a signal that follows within this time is the same request by another way

# What torch says of a collective whose partner has gone. Its backends raise plain RuntimeErrors.
_GONE = re.compile(r"gloo|NCCL|connection (closed|reset)|broken pipe|remote process exited", re.IGNORECASE)
TOO_FEW = "Expected more than 1 value per channel when training"  # torch's own words


class Interrupted(Exception):
    """Training was stopped by Ctrl-C or SIGTERM; the checkpoint is written."""


class ProcessLost(Exception):
    """Another process of the job ended, so that this one cannot continue."""


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
        return first_process()
    try:
        # torchrun keeps the store in a process of its own, which outlives the others
        return dist.distributed_c10d._get_default_store().add("whichland/why", 1) == 1
    except RuntimeError:
        return True


def synchronise(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the model with every batch norm taking its statistics over all processes; it is changed in place."""
    if device.type == "cuda":
        converted: nn.Module = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            kind = type(module)
            module.__class__ = type(f"Synchronised{kind.__name__}", (_Synchronised, kind), {})
    return model


def moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count, mean and variance of each channel over all processes, in double precision."""
    dims = [0, *range(2, x.ndim)]
    variance, mean = torch.var_mean(x.double(), dims, correction=0)
    count = x.numel() // x.shape[1]
    own = torch.cat([mean.new_tensor([count]), mean, variance * count])
    each = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(each, own)
    counts_W, means_WC, squares_WC = torch.stack(each).split([1, len(mean), len(mean)], 1)
    total = counts_W.sum()
    mean = (counts_W * means_WC).sum(0) / total
    squares = (squares_WC + counts_W * (means_WC - mean).square()).sum(0)
    return total, mean, squares / total


class _Normalise(torch.autograd.Function):
    """(x - mean) / deviation, both over all processes; so are the sums in its gradient."""

    @staticmethod
    def forward(context: Any, x: Tensor, count: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
        shape = (1, -1, *[1] * (x.ndim - 2))
        scale = torch.rsqrt(variance + eps)
        high = mean.float()  # the rest of the mean counts where it is many deviations
        low = ((mean - high) * scale).float()
        y = (x - high.view(shape)) * scale.float().view(shape) - low.view(shape)
        context.save_for_backward(y, count, scale)
        return y

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        y, count, scale = context.saved_tensors
        shape, dims = (1, -1, *[1] * (y.ndim - 2)), [0, *range(2, y.ndim)]
        given = gradients[0]
        sums = torch.stack([given.sum(dims, dtype=torch.double), (given * y).sum(dims, dtype=torch.double)])
        dist.all_reduce(sums)
        plain, along = (sums / count).float()
        back = (given - plain.view(shape) - y * along.view(shape)) * scale.float().view(shape)
        return back, None, None, None, None


class _Synchronised(nn.modules.batchnorm._BatchNorm):
    """Mixed in before a batch norm class (torch's, or timm's with activation)."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x_BCHW)
        x = x_BCHW.float()
        with torch.no_grad():
            count, mean, variance = moments(x)
            if count == 1:
                raise ValueError(TOO_FEW)
            self._follow(mean, variance * count / (count - 1))
        y: Tensor = _Normalise.apply(x, count, mean, variance, self.eps)  # type: ignore[no-untyped-call]
        if self.affine:
            shape = (1, -1, *[1] * (x.ndim - 2))
            y = y * self.weight.view(shape) + self.bias.view(shape)
        y = y.to(x_BCHW.dtype)
        for name in ("drop", "act"):  # timm's BatchNormAct2d
            y = getattr(self, name)(y) if hasattr(self, name) else y
        return y

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics; without a momentum they are the mean over all steps."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)
