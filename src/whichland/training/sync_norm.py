"""Batch normalisation over all processes, also on CPUs, where torch's SyncBatchNorm does not run.

With it, W processes with b photos each compute what one process with W·b photos would.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def synchronise(model: nn.Module) -> None:
    """Make every batch norm of the model take its statistics over all processes, in place."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            kind = type(module)
            module.__class__ = type(f"Synchronised{kind.__name__}", (_Synchronised, kind), {})


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient."""

    @staticmethod
    def forward(_context: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


class _Synchronised(nn.modules.batchnorm._BatchNorm):
    """Mixed in before a batch norm class (torch's, or timm's with activation)."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if not self.training or self.momentum is None:
            return super().forward(x_BCHW)
        x = x_BCHW.float()
        sums = torch.cat([x.sum((0, 2, 3)), x.square().sum((0, 2, 3)), x.new_tensor([x.numel() / x.shape[1]])])
        sums = _SumOverProcesses.apply(sums)  # type: ignore[no-untyped-call]
        channels, count = x.shape[1], sums[-1].detach()
        mean = sums[:channels] / count
        variance = sums[channels : 2 * channels] / count - mean.square()
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        y = (x - mean.view(1, -1, 1, 1)) * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return self._after(y.to(x_BCHW.dtype))

    def _after(self, y: Tensor) -> Tensor:
        own: Any = self
        for name in ("drop", "act"):  # timm's BatchNormAct2d
            if hasattr(own, name):
                y = getattr(own, name)(y)
        return y
