"""Does an explanation point at what matters, and is it about the model at all?

The first is measured by taking away what it points at, and on masks of known clues; the second by the
randomised-model test (Adebayo et al., arXiv 1810.03292): a map that is about the model changes with it. What is
learnt is destroyed by shuffling each weight tensor in itself. That keeps the values a layer works with, and so its
scale, where drawing them anew can mute a network and make every map differ trivially.
"""

from collections.abc import Callable
from copy import deepcopy
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from whichland.explanation.activations import Target

STEPS = 8  # at which a curve is taken between the untouched and the blurred photo
BLUR = 0.06  # deviation of the blur that hides, in short sides: shapes and writing go, light and sky stay
BATCH = 64

LATE = 1 / 3  # share of the layers, from the head back, whose weights are shuffled
COARSE = 32  # rows and columns on which ranks are compared

Areas = NDArray[np.float64]


def insertion_and_deletion(
    model: nn.Module, x_1CHW: Tensor, maps_MHW: Tensor, target: Target, *, steps: int = STEPS, seed: int = 0
) -> tuple[Areas, Areas]:
    """Areas under the insertion and the deletion curve of M maps of one photo (Petsiuk et al., arXiv 1806.07421).

    Deletion blurs the photo from the map's peak down and follows the probabilities of the target: a good map
    makes them fall at once, so its area is small. Insertion begins with the blurred photo and uncovers it in the
    same order: there a good map's area is large. The probabilities of a pair (a, b) are those between these two.
    Places of equal heat come in random order.
    """
    probabilities_of = target_probability(target)
    rank_M1HW = _order(maps_MHW, seed)
    blurred_1CHW = gaussian_blur(x_1CHW, BLUR * min(x_1CHW.shape[-2:]))
    whole, hidden = probabilities_of(_logits(model, torch.cat([x_1CHW, blurred_1CHW]))).tolist()
    areas = []
    for shown_first in (True, False):
        probs_SM = [np.full(len(maps_MHW), hidden if shown_first else whole)]
        for step in range(1, steps):
            touched_M1HW = rank_M1HW < step / steps
            shown = touched_M1HW if shown_first else ~touched_M1HW
            probs_SM.append(probabilities_of(_logits(model, torch.where(shown, x_1CHW, blurred_1CHW))).numpy())
        probs_SM.append(np.full(len(maps_MHW), whole if shown_first else hidden))
        areas.append(np.trapezoid(np.stack(probs_SM), dx=1 / steps, axis=0).astype(np.float64))
    return areas[0], areas[1]


def target_probability(target: Target) -> Callable[[Tensor], Tensor]:
    """From logits B×K to the probabilities of a class, or of the first of a pair against the second; length B."""

    def probabilities(logits_BK: Tensor) -> Tensor:
        if isinstance(target, tuple):
            return torch.sigmoid(logits_BK[:, target[0]] - logits_BK[:, target[1]]).cpu()
        assert isinstance(target, int)
        return torch.softmax(logits_BK, dim=1)[:, target].cpu()

    return probabilities


def moved_at_random(map_HW: Tensor, count: int, seed: int = 0) -> Tensor:
    """Random maps of the same values and the same smoothness: the map mirrored at random and rolled."""
    random = np.random.default_rng(seed)
    height, width = map_HW.shape
    moved = []
    for _ in range(count):
        flips = [axis for axis in (0, 1) if random.random() < 0.5]
        rolls = (int(random.integers(height)), int(random.integers(width)))
        moved.append(map_HW.flip(flips).roll(rolls, dims=(0, 1)))
    return torch.stack(moved)


def _order(maps_MHW: Tensor, seed: int) -> Tensor:
    """Each place's share of places that are hotter: M×1×H×W in [0, 1); equals are put in random order."""
    flat_MP = maps_MHW.flatten(1).cpu()
    generator = torch.Generator().manual_seed(seed)
    shuffle_P = torch.randperm(flat_MP.shape[1], generator=generator)
    order_MP = shuffle_P[flat_MP[:, shuffle_P].argsort(dim=1, descending=True, stable=True)]
    place_MP = torch.arange(flat_MP.shape[1]).expand_as(order_MP) / flat_MP.shape[1]
    rank_MP = torch.empty(flat_MP.shape).scatter_(1, order_MP, place_MP)
    return rank_MP.reshape(maps_MHW.shape)[:, None].to(maps_MHW.device)


@torch.inference_mode()
def _logits(model: nn.Module, x_BCHW: Tensor) -> Tensor:
    return torch.cat([model(part).float() for part in x_BCHW.split(BATCH)])


def clue_mass(
    maps_BHW: NDArray[np.floating], masks_BHW: NDArray[np.bool_], *, tolerance: int = 8
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Compare maps with the masks of the clues, photo by photo: three arrays of length B.

    `mass`: share of the map's mass that falls on the mask; 0 for a map that is zero everywhere.
    `area`: share of the picture that the mask covers, which is the mass an even map would have: chance.
    `hit`: the pointing game (Zhang et al., arXiv 1608.00507): the map's peak lies on the mask, or at most
    `tolerance` pixels from it.
    """
    total_B = maps_BHW.sum(axis=(1, 2), dtype=np.float64)
    inside_B = np.where(masks_BHW, maps_BHW, 0).sum(axis=(1, 2), dtype=np.float64)
    mass_B = np.divide(inside_B, total_B, out=np.zeros_like(total_B), where=total_B > 0)
    area_B = masks_BHW.mean(axis=(1, 2), dtype=np.float64)
    hit_B = np.array([_points_at(m, mask, tolerance) for m, mask in zip(maps_BHW, masks_BHW, strict=True)])
    return mass_B, area_B, hit_B.astype(np.bool_)


def _points_at(map_HW: NDArray[np.floating], mask_HW: NDArray[np.bool_], tolerance: int) -> bool:
    if not mask_HW.any() or not map_HW.any():
        return False
    row, column = np.unravel_index(map_HW.argmax(), map_HW.shape)
    rows, columns = np.nonzero(mask_HW)
    return bool(((rows - row) ** 2 + (columns - column) ** 2).min() <= tolerance**2)


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
    from scipy.stats import spearmanr

    pairs = zip(_coarse(a_BHW), _coarse(b_BHW), strict=True)
    return np.array([float(spearmanr(a, b).statistic) if np.ptp(a) and np.ptp(b) else 0.0 for a, b in pairs])


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
