"""Candidates for clues: the patches of a country's photos that its decisions stand on, and which are alike."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from whichland.explanation.gradcam import gradcam
from whichland.explanation.patches import LogOdds, Square, corners, gains, hot_places, sides
from whichland.images.preprocess import Pixels
from whichland.model.bundle import Bundle

PLACES = 8  # places of each size that are blurred away in a photo, the hottest
KEPT = 5  # patches of a photo that stay
OVERLAP = 0.3  # of the smaller of two patches of one photo, at most
OF_A_GROUP = 3  # patches of one drive in a cluster's core, at most
CORE = 16  # patches that stand for a cluster

Floats = NDArray[np.float64]


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
    features: Floats  # F: what the model's middle layers make of it, where it stands


def candidates(bundle: Bundle, score: LogOdds, photo: Photo, crop_HWC: Pixels, scales: Sequence[float]) -> list[Patch]:
    """The patches of one photo, at most `KEPT`, whose loss costs its country the most for their size.

    Looked for where Grad-CAM for the country is high, and in the corners, where marks of a source are and heat
    seldom peaks; at every scale. Then measured by blurring each away.
    """
    label = bundle.labels.index(photo.country)
    device = next(bundle.model.parameters()).device
    x_1CHW = torch.from_numpy(bundle.preprocess.normalise(crop_HWC[None])).to(device)
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
def _features(model: nn.Module, x_1CHW: torch.Tensor) -> Callable[[Square], Floats]:
    """The model's two middle stages, as a function that averages each over a place: texture, colour and form.

    The last stage would be of no use: its cells see the whole photo, so patches would be sorted by photo.
    """
    stages = model.forward_intermediates(x_1CHW, intermediates_only=True)  # type: ignore[operator]
    height = x_1CHW.shape[-2]
    width = x_1CHW.shape[-1]
    middle = [stage[0].float().cpu().numpy() for stage in stages[(len(stages) - 1) // 2 :][:2]]

    def describe(place: Square) -> Floats:
        means = []
        for stage_Chw in middle:
            rows = _coverage(place.top, place.side, stage_Chw.shape[1], height)
            columns = _coverage(place.left, place.side, stage_Chw.shape[2], width)
            means.append(np.einsum("chw,h,w->c", stage_Chw, rows, columns))
        return np.concatenate(means).astype(np.float64)

    return describe


def _coverage(start: int, side: int, cells: int, pixels: int) -> Floats:
    """Share of the stretch from `start` to `start` + `side` that lies in each of the cells."""
    edges = np.arange(cells + 1) * pixels / cells
    inside = np.minimum(edges[1:], start + side) - np.maximum(edges[:-1], start)
    covered: Floats = np.clip(inside, 0, None) / side
    return covered


def clusters(patches: Sequence[Patch], most: int, seed: int) -> list[list[Patch]]:
    """Sort the patches of a country by likeness; each list begins with the patches that are most typical.

    K-means over the standardised features; of the numbers of clusters that leave 12 to 25 patches to each on
    average, up to `most`, the one with the best silhouette.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    low, high = -(-len(patches) // 25), min(len(patches) // 12, most)
    if high < 2:
        return [_typical_first(patches, _standardised(patches))] if patches else []
    features_NF = _standardised(patches)
    best, best_N = -2.0, np.zeros(len(patches), np.int64)
    for number in range(max(2, min(low, high)), high + 1):
        label_N = KMeans(number, n_init=4, random_state=seed).fit_predict(features_NF)
        quality = float(silhouette_score(features_NF, label_N))
        if quality > best:
            best, best_N = quality, label_N
    members = [np.flatnonzero(best_N == label) for label in np.unique(best_N)]
    return [_typical_first([patches[at] for at in rows.tolist()], features_NF[rows]) for rows in members]


def _standardised(patches: Sequence[Patch]) -> Floats:
    features_NF = np.stack([patch.features for patch in patches])
    spread_F = features_NF.std(axis=0)
    centred: Floats = (features_NF - features_NF.mean(axis=0)) / np.where(spread_F > 0, spread_F, 1)
    return centred


def _typical_first(patches: Sequence[Patch], features_NF: Floats) -> list[Patch]:
    away_N = ((features_NF - features_NF.mean(axis=0)) ** 2).sum(axis=1)
    return [patches[at] for at in np.argsort(away_N, kind="stable").tolist()]


def core(cluster: Sequence[Patch]) -> list[Patch]:
    """The patches that stand for a cluster: the most typical, at most `OF_A_GROUP` of one drive."""
    taken: Counter[int] = Counter()
    chosen: list[Patch] = []
    for patch in cluster:
        if taken[patch.photo.group] < OF_A_GROUP and len(chosen) < CORE:
            taken[patch.photo.group] += 1
            chosen.append(patch)
    return chosen
