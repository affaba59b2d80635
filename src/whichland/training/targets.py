"""What a photo's logits are held against: its label, a share of the target for others, or those of mixed photos.

Mixup: arXiv 1710.09412. CutMix: arXiv 1905.04899.
"""

from math import sqrt

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.distributions import Beta

from whichland.errors import UserError
from whichland.manifest import Manifest
from whichland.model.labels import COUNTRY, LabelSpace
from whichland.training.config import TrainConfig

PLACES = 300  # of a country, that its distances to others are measured from


def target_table(labels: LabelSpace, config: TrainConfig, table: Manifest) -> Tensor | None:
    """Soft targets, K×K: in row k those of a photo of label k; None where each photo has one label alone.

    The share `smoothing` is spread evenly over all labels; or by exp(-km / `smoothing_km`), the own included;
    or over the neighbours of the photo's country, which keeps it where none of them is a label. Evenly spread
    smoothing is a table only for photos that are mixed; without mixing the loss does it by itself. Raises
    UserError where labels that are no countries have no neighbours or no coordinates.
    """
    if config.smoothing_by == "all" and not (config.mixup or config.cutmix):
        return None
    own = np.eye(len(labels))
    spread = np.full_like(own, 1 / len(labels))
    if config.smoothing_by == "distance":
        spread = np.exp(-_kilometres(labels, table) / config.smoothing_km)
        spread /= spread.sum(1, keepdims=True)
    if config.smoothing_by == "neighbour":
        from whichland.geo.relations import neighbours

        if labels.kind != COUNTRY:
            raise UserError(f"smoothing_by neighbour: {labels.kind} has no borders; use all or distance")
        beside = neighbours(labels.codes)
        count = beside.sum(1, keepdims=True)
        spread = np.where(count > 0, beside / np.maximum(count, 1), own)
    return torch.from_numpy((1 - config.smoothing) * own + config.smoothing * spread).float()


def _kilometres(labels: LabelSpace, table: Manifest) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Distances between the labels' training photos; countries without coordinates have those of their area."""
    from whichland.geo.relations import kilometres, points_of

    frame = table.kept
    if {"lat", "lon"} <= set(frame.columns):
        frame = frame.filter(pl.col("split") == "train", pl.col("lat").is_not_null(), pl.col("lon").is_not_null())
        frame = frame.sort("image_id").select(labels.kind, "lat", "lon")
    else:
        frame = frame.select(labels.kind, lat=0.0, lon=0.0).clear()
    places = []
    for code in labels.codes:
        own = frame.filter(pl.col(labels.kind) == code).select("lat", "lon").to_numpy()
        own = own[:: max(1, len(own) // PLACES)]
        if not len(own) and labels.kind != COUNTRY:
            raise UserError(f"smoothing_by distance: no training photo of {code!r} has coordinates; use all")
        places.append(own if len(own) else points_of([code])[0])
    return kilometres(places)


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
