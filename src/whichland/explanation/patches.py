"""Square patches of what a model sees: which ones a photo's answer stands on, which are alike, and pasting them.

All pixels here are those of the model's input (`Preprocess.crop`), H×W×3 uint8; a place is the upper left corner
and the side of a square in them. A patch is laid over a photo with soft edges, so that its outline is no clue.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import nn

from whichland.explanation.activations import network_input, size_of
from whichland.explanation.gradcam import gradcam
from whichland.images.preprocess import Pixels, Preprocess
from whichland.model.bundle import Bundle

EDGE = 1 / 5  # of the side that fades out, on each side of a patch
BATCH = 64
PLACES = 8  # places of each size that are blurred away in a photo, the hottest
KEPT = 5  # patches of a photo that stay
OVERLAP = 0.3  # of the smaller of two patches of one photo, at most
OF_A_GROUP = 3  # patches of one drive in a cluster's core, at most
CORE = 16  # patches that stand for a cluster

Floats = NDArray[np.float32]
Features = NDArray[np.float64]
LogOdds = Callable[[Pixels], Floats]  # crops B×H×W×3 -> log odds B×K


@dataclass(frozen=True)
class Square:
    """A square in the model's input, in pixels."""

    top: int
    left: int
    side: int

    @property
    def part(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return slice(self.top, self.top + self.side), slice(self.left, self.left + self.side)

    def overlap(self, other: "Square") -> float:
        """Share of the smaller of both squares that the other covers."""
        high = min(self.top + self.side, other.top + other.side) - max(self.top, other.top)
        wide = min(self.left + self.side, other.left + other.side) - max(self.left, other.left)
        return max(high, 0) * max(wide, 0) / min(self.side, other.side) ** 2

    def cut(self, crop_HWC: Pixels) -> Pixels:
        """The pixels of a crop at this place."""
        return crop_HWC[self.part]


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One photo of the split that could be read."""

    uri: str
    country: str
    group: int  # number of its drive or session; photos of one are not independent
    right: bool  # whether the model's first guess is the country
    credit: str  # the line to print where a part of it is shown


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A square cut from a photo, as the model saw it."""

    photo: Photo
    place: Square
    pixels: Pixels  # side×side×3
    gain: float  # log odds of the photo's country that are lost when it is blurred away
    features: Features  # F: what the model's middle layers make of it, where it stands


def candidates(bundle: Bundle, score: LogOdds, photo: Photo, crop_HWC: Pixels, scales: Sequence[float]) -> list[Patch]:
    """The patches of one photo, at most `KEPT`, whose loss costs its country the most for their size.

    Looked for where Grad-CAM for the country is high, and in the corners, where marks of a source are and heat
    seldom peaks; at every scale. Then measured by blurring each away.
    """
    label = bundle.labels.index(photo.country)
    x_1CHW = network_input(bundle, crop_HWC[None])
    map_HW = gradcam(bundle.model, x_1CHW, label)[0].cpu().numpy()
    if not map_HW.any():
        return []
    places = [
        place
        for side in sides(bundle.preprocess, scales)
        for place in dict.fromkeys((*hot_places(map_HW, side, PLACES), *corners(map_HW.shape, side)))
    ]
    measured = zip(places, gains(score, crop_HWC, places, label).tolist(), strict=True)
    # by area, as the largest size would always lose the most
    ordered = sorted(((p, g) for p, g in measured if g > 0), key=lambda one: -one[1] / one[0].side ** 2)
    chosen: list[tuple[Square, float]] = []
    for place, gain in ordered:
        if len(chosen) < KEPT and all(place.overlap(other) <= OVERLAP for other, _ in chosen):
            chosen.append((place, gain))
    describe = _features(bundle.model, x_1CHW)
    return [
        Patch(photo=photo, place=place, pixels=place.cut(crop_HWC).copy(), gain=gain, features=describe(place))
        for place, gain in chosen
    ]


@torch.inference_mode()
def _features(model: nn.Module, x_1CHW: torch.Tensor) -> Callable[[Square], Features]:
    """The model's two middle stages, as a function that averages each over a place: texture, colour and form.

    The last stage would be of no use: its cells see the whole photo, so patches would be sorted by photo.
    """
    stages = model.forward_intermediates(x_1CHW, intermediates_only=True)  # type: ignore[operator]
    middle = [stage[0].float().cpu().numpy() for stage in stages[(len(stages) - 1) // 2 :][:2]]
    height, width = size_of(x_1CHW)

    def covered(start: int, side: int, cells: int, pixels: int) -> Features:
        """Share of a place's side that lies in each of the cells."""
        edges = np.arange(cells + 1) * pixels / cells
        inside = np.minimum(edges[1:], start + side) - np.maximum(edges[:-1], start)
        return np.asarray(np.clip(inside, 0, None) / side)

    def describe(place: Square) -> Features:
        means = []
        for stage_Chw in middle:
            rows = covered(place.top, place.side, stage_Chw.shape[1], height)
            columns = covered(place.left, place.side, stage_Chw.shape[2], width)
            means.append(np.einsum("chw,h,w->c", stage_Chw, rows, columns))
        return np.concatenate(means).astype(np.float64)

    return describe


def clusters(patches: Sequence[Patch], most: int, seed: int) -> list[list[Patch]]:
    """Sort the patches of a country by likeness; each list begins with the patches that are most typical.

    K-means over the standardised features; of the numbers of clusters that leave 12 to 25 patches to each on
    average, up to `most`, the one with the best silhouette.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    if not patches:
        return []
    features_NF = np.stack([patch.features for patch in patches])
    spread_F = features_NF.std(axis=0)
    features_NF = (features_NF - features_NF.mean(axis=0)) / np.where(spread_F > 0, spread_F, 1)
    low, high = -(-len(patches) // 25), min(len(patches) // 12, most)
    best, best_N = -2.0, np.zeros(len(patches), np.int64)
    for number in range(max(2, min(low, high)), high + 1):
        label_N = KMeans(number, n_init=4, random_state=seed).fit_predict(features_NF)
        quality = float(silhouette_score(features_NF, label_N))
        if quality > best:
            best, best_N = quality, label_N
    found = []
    for label in np.unique(best_N):
        members = np.flatnonzero(best_N == label)
        away = ((features_NF[members] - features_NF[members].mean(axis=0)) ** 2).sum(axis=1)
        found.append([patches[at] for at in members[np.argsort(away, kind="stable")]])
    return found


def core(cluster: Sequence[Patch]) -> list[Patch]:
    """The patches that stand for a cluster: the most typical, at most `OF_A_GROUP` of one drive."""
    taken: Counter[int] = Counter()
    chosen: list[Patch] = []
    for patch in cluster:
        if taken[patch.photo.group] < OF_A_GROUP and len(chosen) < CORE:
            taken[patch.photo.group] += 1
            chosen.append(patch)
    return chosen


def soft_edges(side: int) -> Floats:
    """How much a patch covers what is under it: side×side, 1 in the middle, falling to nearly 0 at the rim."""
    reach = max(1.0, side * EDGE)
    distance = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5)
    ramp = (0.5 - 0.5 * np.cos(np.pi * np.minimum(distance / reach, 1))).astype(np.float32)
    cover: Floats = np.minimum.outer(ramp, ramp)
    return cover


def paste(crop_HWC: Pixels, patch_SSC: Pixels, place: Square) -> Pixels:
    """Lay a patch over a crop at `place`, blended at its edges; the crop itself is left as it was."""
    cover = soft_edges(place.side)[..., None]
    pasted = crop_HWC.copy()
    under = place.cut(crop_HWC)
    pasted[place.part] = np.rint(under * (1 - cover) + patch_SSC * cover)
    return pasted


def blurred(crop_HWC: Pixels, radius: float) -> Pixels:
    """A crop with what is smaller than `radius` pixels smoothed away."""
    return np.asarray(Image.fromarray(crop_HWC).filter(ImageFilter.GaussianBlur(radius)))


def sides(preprocess: Preprocess, scales: Sequence[float]) -> list[int]:
    """Sides in pixels of patches that take these shares of the input's short side."""
    return [max(4, round(scale * min(preprocess.size))) for scale in scales]


def log_odds(bundle: Bundle) -> LogOdds:
    """The model as a function from crops to log odds: of each country against all others together, B×K.

    Natural logarithms, at the bundle's temperature. The model runs in bf16 where the device computes in it:
    thousands of crops are compared with each other, and its rounding is far below what a patch does.
    """
    device = next(bundle.model.parameters()).device
    fast = device.type == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    own_KK = torch.eye(len(bundle.labels), dtype=torch.bool, device=device)

    @torch.inference_mode()
    def score(crops_BHWC: Pixels) -> Floats:
        found = []
        for start in range(0, len(crops_BHWC), BATCH):
            x_BCHW = network_input(bundle, crops_BHWC[start : start + BATCH])
            with torch.autocast(device.type, torch.bfloat16, enabled=fast):
                logits_BK = bundle.model(x_BCHW)
            logits_BK = logits_BK.double() / bundle.temperature
            # less the log of the sum over the others: finite however sure the model is
            others_BKK = logits_BK[:, None, :].masked_fill(own_KK, -torch.inf)
            found.append((logits_BK - others_BKK.logsumexp(dim=2)).cpu())
        return torch.cat(found).float().numpy()

    return score


def hot_places(map_HW: Floats, side: int, most: int) -> list[Square]:
    """The places of one size where a map is highest, half a side apart or more, hottest first, at most `most`.

    Only places with at least half of the hottest one's heat; none for a map that is zero everywhere.
    """
    step = max(1, side // 4)
    squares = np.lib.stride_tricks.sliding_window_view(map_HW, (side, side))[::step, ::step]
    heat = squares.sum(axis=(2, 3), dtype=np.float64)
    chosen: list[Square] = []
    for at in np.argsort(-heat, axis=None, kind="stable"):
        row, column = divmod(int(at), heat.shape[1])
        if len(chosen) == most or heat[row, column] <= heat.max() / 2:
            break
        place = Square(row * step, column * step, side)
        if all(place.overlap(other) <= 0.5 for other in chosen):
            chosen.append(place)
    return chosen


def corners(size: tuple[int, int], side: int) -> list[Square]:
    """The four places of one size in the corners of a picture of that height and width."""
    height, width = size
    return [Square(top, left, side) for top in (0, height - side) for left in (0, width - side)]


def gains(score: LogOdds, crop_HWC: Pixels, places: Sequence[Square], label: int) -> Floats:
    """How much the log odds of a label fall when each place is blurred away: one number a place."""
    smooth = {side: blurred(crop_HWC, side / 2) for side in {place.side for place in places}}
    without = [paste(crop_HWC, place.cut(smooth[place.side]), place) for place in places]
    probabilities = score(np.stack([crop_HWC, *without]))[:, label]
    lost: Floats = probabilities[0] - probabilities[1:]
    return lost
