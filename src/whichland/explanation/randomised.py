"""The randomised-model test (Adebayo et al., arXiv 1810.03292): a map that is about the model changes with it.

What is learnt is destroyed by shuffling each weight tensor in itself. That keeps the values a layer works with,
and so its scale, where drawing them anew can mute a network and make every map differ trivially.
"""

from copy import deepcopy
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from whichland.explanation.smoothing import gaussian_blur

LATE = 1 / 3  # share of the layers, from the head back
COARSE = 32  # rows and columns on which ranks are compared


def shuffled(model: nn.Module, share: float = LATE, *, seed: int = 0) -> nn.Module:
    """A copy of the model whose last layers, this `share` of all (at least the head), have shuffled weights."""
    copy = deepcopy(model)
    layers = [layer for layer in copy.modules() if next(layer.parameters(recurse=False), None) is not None]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in layers[-max(1, ceil(share * len(layers))) :]:
            for weights in layer.parameters(recurse=False):
                order = torch.randperm(weights.numel(), generator=generator).to(weights.device)
                weights.copy_(weights.flatten()[order].reshape(weights.shape))
    return copy.eval()


def rank_correlation(a_BHW: Tensor, b_BHW: Tensor) -> NDArray[np.float64]:
    """Spearman's rank correlation of maps, pair by pair; 0 where a map is the same everywhere."""
    pairs = zip(_coarse(a_BHW), _coarse(b_BHW), strict=True)
    return np.array([_correlation(_ranks(a), _ranks(b)) for a, b in pairs])


def ssim(a_BHW: Tensor, b_BHW: Tensor) -> NDArray[np.float64]:
    """Structural similarity of maps in [0, 1], pair by pair (Wang et al., doi 10.1109/TIP.2003.819861)."""
    a, b = a_BHW[:, None].double(), b_BHW[:, None].double()
    mean_a, mean_b, aa, bb, ab = (gaussian_blur(part, 1.5) for part in (a, b, a * a, b * b, a * b))
    var_a, var_b, cov = aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b
    light, contrast = 0.01**2, 0.03**2
    above = (2 * mean_a * mean_b + light) * (2 * cov + contrast)
    below = (mean_a**2 + mean_b**2 + light) * (var_a + var_b + contrast)
    return (above / below).mean(dim=(1, 2, 3)).cpu().numpy()


def _coarse(maps_BHW: Tensor) -> NDArray[np.float32]:
    return functional.adaptive_avg_pool2d(maps_BHW[:, None].float(), COARSE)[:, 0].flatten(1).cpu().numpy()


def _ranks(values_P: NDArray[np.float32]) -> NDArray[np.float64]:
    """Ranks in which equals share their mean: a map is zero in many places."""
    _, inverse, counts = np.unique(values_P, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _correlation(a_P: NDArray[np.float64], b_P: NDArray[np.float64]) -> float:
    if a_P.std() == 0 or b_P.std() == 0:
        return 0.0
    return float(np.corrcoef(a_P, b_P)[0, 1])
