"""What a photo's logits are held against: its country, or a share of the target for others as well."""

import numpy as np
import polars as pl
import torch
from torch import Tensor

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
