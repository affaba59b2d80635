"""Gaussian blur of batches, as explanations need it."""

from math import ceil

import torch
from torch import Tensor
from torch.nn import functional


def gaussian_blur(x_BCHW: Tensor, sigma: float) -> Tensor:
    """Blur each channel with a Gaussian of `sigma` pixels; edges go on as they end."""
    reach = ceil(3 * sigma)
    at = torch.arange(-reach, reach + 1, device=x_BCHW.device, dtype=x_BCHW.dtype)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = kernel / kernel.sum()
    flat_NHW = x_BCHW.flatten(0, 1)[:, None]
    down = functional.pad(flat_NHW, (0, 0, reach, reach), mode="replicate")
    down = functional.conv2d(down, kernel[None, None, :, None])
    across = functional.pad(down, (reach, reach, 0, 0), mode="replicate")
    return functional.conv2d(across, kernel[None, None, None]).reshape(x_BCHW.shape)
