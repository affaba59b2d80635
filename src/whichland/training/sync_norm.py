"""Batch normalisation over all processes: W processes with b photos each compute what one with W·b photos would.

On a GPU that is torch's own SyncBatchNorm. On CPUs, where it does not run, count, mean and sum of squared deviations of
each process are combined as by Chan, Golub and LeVeque ("Updating formulae and a pairwise algorithm for computing
sample variances", 1979), which is as good for values far from zero as for others.
"""

from typing import Any

import torch
import torch.distributed as dist
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, nn

TOO_FEW = "Expected more than 1 value per channel when training"  # torch's own words


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
