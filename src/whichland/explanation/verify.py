"""A map put to the test: does it mark what matters to the answer, and is it about this model at all?

The first is measured by taking away what it marks; the second by the randomised-model test (Adebayo et al., arXiv
1810.03292): a map that is about the model changes with it. What is learnt is destroyed by shuffling each weight
tensor in itself. That keeps the values a layer works with, and so its scale, where drawing them anew can mute a
network and make every map differ trivially.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from whichland.explanation.activations import network_input
from whichland.explanation.methods import find_method
from whichland.explanation.overlay import Map
from whichland.images.preprocess import Pixels
from whichland.model.bundle import Bundle
from whichland.statistics import Floats

RANDOM_MAPS = 19  # with all of them beaten, chance is at most 1 in 20
SHUFFLES = 3
LEVEL = 0.05
ALIKE = 0.5  # rank correlation with the shuffled models' maps above which a map is not about the model

STEPS = 8  # at which a curve is taken between the untouched and the blurred photo
BLUR = 0.06  # deviation of the blur that hides, in short sides: shapes and writing go, light and sky stay
BATCH = 64

LATE = 1 / 3  # share of the layers, from the head back, whose weights are shuffled
COARSE = 32  # rows and columns on which ranks are compared

Label = int | tuple[int, int]  # what a map is about: a class, or the first of a pair against the second


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a map of one photo stood the test."""

    insertion: float  # area under the curve: the larger the better
    deletion: float  # the smaller the better
    random_insertion: float  # mean over random maps of the same values and smoothness
    random_deletion: float
    beaten: int  # of the random maps, by insertion less deletion
    random_maps: int
    rank_correlation: float  # with the maps of models whose late layers are shuffled, mean
    ssim: float
    empty: bool = False  # no evidence was found

    @property
    def gain(self) -> float:
        """Insertion less deletion, over that of random maps."""
        return (self.insertion - self.deletion) - (self.random_insertion - self.random_deletion)

    @property
    def failures(self) -> tuple[str, ...]:
        """Why the map is not to be trusted; empty for one that holds."""
        if self.empty:
            return ("no evidence for it was found",)
        found = []
        if (1 + self.random_maps - self.beaten) / (1 + self.random_maps) > LEVEL:
            found.append(f"beats only {self.beaten} of {self.random_maps} random maps")
        if self.rank_correlation > ALIKE:
            found.append("is much the same for a model with shuffled late layers")
        return tuple(found)

    @property
    def passed(self) -> bool:
        return not self.failures


class Verifier:
    """Tests maps of one model by one method; the shuffled models are made once."""

    def __init__(self, model: nn.Module, method: str = "gradcam", *, shuffles: int = SHUFFLES) -> None:
        self.model, self.method = model, find_method(method)
        self.shuffled: Sequence[nn.Module] = [shuffled(model, seed=seed) for seed in range(shuffles)]

    def judge(self, bundle: Bundle, crop_HWC: Pixels, map_HW: Map, target: Label) -> Verdict:
        """Judge the map of one view, from the pixels of its crop; `target` is what the map is about."""
        x_1CHW = network_input(bundle, crop_HWC[None])
        return self(x_1CHW, torch.from_numpy(map_HW)[None].to(x_1CHW.device), target)

    def __call__(self, x_1CHW: Tensor, map_1HW: Tensor, target: Label) -> Verdict:
        """Judge the map of one photo, from the model's normalised input."""
        moved = moved_at_random(map_1HW[0], RANDOM_MAPS)
        insertion_M, deletion_M = insertion_and_deletion(self.model, x_1CHW, torch.cat([map_1HW, moved]), target)
        # A shuffled model's answers mean nothing; it is asked for its own, as for another the map is often empty.
        others = torch.cat([self.method.maps(other, x_1CHW, None) for other in self.shuffled])
        same = map_1HW.expand_as(others)
        score_M = insertion_M - deletion_M
        return Verdict(
            insertion=float(insertion_M[0]),
            deletion=float(deletion_M[0]),
            random_insertion=float(insertion_M[1:].mean()),
            random_deletion=float(deletion_M[1:].mean()),
            beaten=int((score_M[0] > score_M[1:]).sum()),
            random_maps=RANDOM_MAPS,
            rank_correlation=float(rank_correlation(same, others).mean()),
            ssim=float(ssim(same, others).mean()),
            empty=not bool(map_1HW.any()),
        )


def insertion_and_deletion(model: nn.Module, x_1CHW: Tensor, maps_MHW: Tensor, target: Label) -> tuple[Floats, Floats]:
    """Areas under the insertion and the deletion curve of M maps of one photo (Petsiuk et al., arXiv 1806.07421).

    Deletion blurs the photo from the map's peak down and follows the probabilities of the target: a good map
    makes them fall at once, so its area is small. Insertion begins with the blurred photo and uncovers it in the
    same order: there a good map's area is large. The probabilities of a pair (a, b) are those between these two.
    Places of equal heat come in random order.
    """
    rank_M1HW = _order(maps_MHW)
    blurred_1CHW = gaussian_blur(x_1CHW, BLUR * min(x_1CHW.shape[-2:]))
    whole, hidden = _probabilities(model, torch.cat([x_1CHW, blurred_1CHW]), target).tolist()
    areas = []
    for start, end, shown_first in ((hidden, whole, True), (whole, hidden, False)):
        probs_SM = [np.full(len(maps_MHW), start)]
        for step in range(1, STEPS):
            shown_M1HW = (rank_M1HW < step / STEPS) == shown_first
            probs_SM.append(_probabilities(model, torch.where(shown_M1HW, x_1CHW, blurred_1CHW), target).numpy())
        probs_SM.append(np.full(len(maps_MHW), end))
        areas.append(np.trapezoid(np.stack(probs_SM), dx=1 / STEPS, axis=0).astype(np.float64))
    return areas[0], areas[1]


@torch.inference_mode()
def _probabilities(model: nn.Module, x_BCHW: Tensor, target: Label) -> Tensor:
    """The probabilities of a class, or of the first of a pair against the second; length B."""
    logits_BK = torch.cat([model(part).float() for part in x_BCHW.split(BATCH)])
    if isinstance(target, tuple):
        return torch.sigmoid(logits_BK[:, target[0]] - logits_BK[:, target[1]]).cpu()
    return torch.softmax(logits_BK, dim=1)[:, target].cpu()


def moved_at_random(map_HW: Tensor, count: int) -> Tensor:
    """Random maps of the same values and the same smoothness: the map mirrored at random and rolled."""
    random = np.random.default_rng(0)
    height, width = map_HW.shape
    moved = []
    for _ in range(count):
        flips = [axis for axis in (0, 1) if random.random() < 0.5]
        rolls = (int(random.integers(height)), int(random.integers(width)))
        moved.append(map_HW.flip(flips).roll(rolls, dims=(0, 1)))
    return torch.stack(moved)


def _order(maps_MHW: Tensor) -> Tensor:
    """Each place's share of places that are hotter: M×1×H×W in [0, 1); equals are put in random order."""
    flat_MP = maps_MHW.flatten(1).cpu()
    shuffle_P = torch.randperm(flat_MP.shape[1], generator=torch.Generator().manual_seed(0))
    order_MP = shuffle_P[flat_MP[:, shuffle_P].argsort(dim=1, descending=True, stable=True)]
    place_MP = torch.arange(flat_MP.shape[1]).expand_as(order_MP) / flat_MP.shape[1]
    rank_MP = torch.empty(flat_MP.shape).scatter_(1, order_MP, place_MP)
    return rank_MP.reshape(maps_MHW.shape)[:, None].to(maps_MHW.device)


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


def rank_correlation(a_BHW: Tensor, b_BHW: Tensor) -> Floats:
    """Spearman's rank correlation of maps, pair by pair; 0 where a map is the same everywhere."""
    from scipy.stats import spearmanr

    a_BP, b_BP = (
        functional.adaptive_avg_pool2d(maps_BHW[:, None].float(), COARSE).flatten(1).cpu().numpy()
        for maps_BHW in (a_BHW, b_BHW)
    )
    pairs = zip(a_BP, b_BP, strict=True)
    return np.array([float(spearmanr(a, b).statistic) if np.ptp(a) and np.ptp(b) else 0.0 for a, b in pairs])


def ssim(a_BHW: Tensor, b_BHW: Tensor) -> Floats:
    """Structural similarity of maps in [0, 1], pair by pair (Wang et al., doi 10.1109/TIP.2003.819861)."""
    a, b = a_BHW[:, None].double(), b_BHW[:, None].double()
    mean_a, mean_b, aa, bb, ab = (gaussian_blur(part, 1.5) for part in (a, b, a * a, b * b, a * b))
    var_a, var_b, cov = aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b
    light, contrast = 0.01**2, 0.03**2
    above = (2 * mean_a * mean_b + light) * (2 * cov + contrast)
    below = (mean_a**2 + mean_b**2 + light) * (var_a + var_b + contrast)
    return (above / below).mean(dim=(1, 2, 3)).cpu().numpy()


def gaussian_blur(x_BCHW: Tensor, sigma: float) -> Tensor:
    """Blur each channel with a Gaussian of `sigma` pixels; pixels at the edge are repeated."""
    from scipy.ndimage import gaussian_filter

    blurred_BCHW = gaussian_filter(x_BCHW.cpu().numpy(), sigma, mode="nearest", radius=ceil(3 * sigma), axes=(2, 3))
    return torch.from_numpy(blurred_BCHW).to(x_BCHW.device)
