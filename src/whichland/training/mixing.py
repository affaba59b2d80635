"""Photos blended with, or pasted into, others of the same step, and their targets likewise.

Mixup: arXiv 1710.09412. CutMix: arXiv 1905.04899.
"""

from math import sqrt

import torch
from torch import Tensor
from torch.distributions import Beta


def mix(
    x_BCHW: Tensor, targets_BK: Tensor, weights_B: Tensor, *, mixup: float, cutmix: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Mix every photo with a partner by one of the two ways, drawn where both have an alpha above 0.

    Draws come from torch's own generator on the CPU: whoever seeds it gets the same mixture again. Shapes stay.
    """
    cut = cutmix > 0 and (mixup == 0 or bool(torch.rand(()) < 0.5))
    alpha = cutmix if cut else mixup
    share = float(Beta(alpha, alpha).sample())  # of the photo itself
    partner = torch.randperm(len(x_BCHW)).to(x_BCHW.device)
    if cut:
        top, bottom, left, right = _box(share, *x_BCHW.shape[-2:])
        x_BCHW = x_BCHW.clone()
        x_BCHW[..., top:bottom, left:right] = x_BCHW[partner, :, top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (x_BCHW.shape[-2] * x_BCHW.shape[-1])
    else:
        x_BCHW = torch.lerp(x_BCHW[partner], x_BCHW, share)
    return (
        x_BCHW,
        torch.lerp(targets_BK[partner], targets_BK, share),
        torch.lerp(weights_B[partner], weights_B, share),
    )


def _box(share: float, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of a box anywhere that leaves `share` of the area, cut off at the edges."""
    rows, columns = (round(side * sqrt(1 - share)) for side in (height, width))
    y, x = int(torch.randint(height, ())), int(torch.randint(width, ()))
    top, left = y - rows // 2, x - columns // 2
    return max(top, 0), min(top + rows, height), max(left, 0), min(left + columns, width)
