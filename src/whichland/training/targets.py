"""What a photo's logits are held against: its country, or a share of the target for others as well."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from torch import Tensor

from whichland.manifest import Manifest
from whichland.training.config import TrainConfig

PLACES = 300  # of a country, that its distances to others are measured from


def target_table(labels: Sequence[str], config: TrainConfig, table: Manifest) -> Tensor | None:
    """Soft targets, K×K: in row k those of a photo of country k; None where each photo has one country alone.

    The share `smoothing` is spread evenly over all countries; or by exp(-km / `smoothing_km`), the own included;
    or over the neighbours of the photo's own, which keeps it where none of them is a label. Evenly spread
    smoothing is a table only for photos that are mixed; without mixing the loss does it by itself.
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

        beside = neighbours(labels)
        count = beside.sum(1, keepdims=True)
        spread = np.where(count > 0, beside / np.maximum(count, 1), own)
    return torch.from_numpy((1 - config.smoothing) * own + config.smoothing * spread).float()


def _kilometres(labels: Sequence[str], table: Manifest) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Distances between the labels' training photos; countries without coordinates have those of their area."""
    from whichland.geo.relations import kilometres, points_of

    frame = table.kept
    if {"lat", "lon"} <= set(frame.columns):
        frame = frame.filter(pl.col("split") == "train", pl.col("lat").is_not_null(), pl.col("lon").is_not_null())
        frame = frame.sort("image_id").select("country", "lat", "lon")
    else:
        frame = frame.select("country", lat=0.0, lon=0.0).clear()
    places = []
    for code, everywhere in zip(labels, points_of(labels), strict=True):
        own = frame.filter(pl.col("country") == code).select("lat", "lon").to_numpy()
        own = own[:: max(1, len(own) // PLACES)]
        places.append(own if len(own) else everywhere)
    return kilometres(places)
