"""From a batch to its loss: what is put into the model, and what its logits are held against.

The target of a photo is its label, a share of it for other labels (smoothing), or that of mixed photos.
Mixup: arXiv 1710.09412. CutMix: arXiv 1905.04899.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from math import sqrt

import numpy as np
import polars as pl
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import Beta
from torch.nn.functional import cross_entropy

from whichland.errors import UserError
from whichland.images.augment import colour
from whichland.images.preprocess import Preprocess
from whichland.manifest import Manifest
from whichland.model.labels import COUNTRY, LabelSpace
from whichland.training.config import TrainConfig
from whichland.training.data import Batch
from whichland.training.frozen_cache import FrozenCache
from whichland.training.process import TOO_FEW

PLACES = 300  # of a country, that its distances to others are measured from


@dataclass(frozen=True)
class Part:
    """Photos that go through the model at once."""

    x: Tensor  # B×3×H×W, normalised, or activations
    targets: Tensor  # labels, B, or where soft B×K
    weights: Tensor  # B
    share: float = 1.0  # of the photos of the process in the step


@dataclass
class Objective:
    """The loss of this process's share of a step, with any model: the fit's own or a copy, as it is or wrapped."""

    config: TrainConfig
    accelerator: Accelerator
    preprocess: Preprocess
    soft_targets: Tensor | None = None  # K×K, those of a photo of each label, from `target_table`
    frozen: FrozenCache | None = None  # batches hold what the frozen part makes of the photos

    def whole(self, batch: Batch) -> Part:
        """This process's share of a step in one part."""
        device = self.accelerator.device
        x = batch.images.to(device, non_blocking=True)
        targets, weights = batch.targets.to(device), batch.weights.to(device)
        if self.soft_targets is not None:
            targets = self.soft_targets.to(device)[targets]
        if self.frozen:
            return Part(x, targets, weights)
        x = colour(x, batch.light, self.preprocess.mean, self.preprocess.std)
        if self.config.mixup or self.config.cutmix:
            x, targets, weights = self._mixed(x, targets, weights)
        return Part(x.contiguous(memory_format=torch.channels_last), targets, weights)

    def parts(self, model: nn.Module, batch: Batch) -> Iterator[Part]:
        """Yield the share in as many parts as `accumulate` says, to be put through `model` one after another.

        Gradients add up over the parts, and are averaged over the processes after the last.
        """
        whole = self.whole(batch)
        count = min(self.config.accumulate, len(whole.x))
        pieces = (tensor.tensor_split(count) for tensor in (whole.x, whole.targets, whole.weights))
        for number, (x, targets, weights) in enumerate(zip(*pieces, strict=True), 1):
            with nullcontext() if number == count else self.accelerator.no_sync(model):
                yield Part(x, targets, weights, len(x) / len(whole.x))

    def predict(self, model: nn.Module, part: Part) -> Tensor:
        """Logits, B×K. Raises UserError for a part that is too small for batch norm."""
        try:
            with self.accelerator.autocast():
                return self.frozen.front.logits(model, part.x) if self.frozen else model(part.x)
        except ValueError as error:
            if not str(error).startswith(TOO_FEW):
                raise
            raise UserError(
                "batch norm has nothing to compare in a part of one photo: raise --batch-size, or lower accumulate"
            ) from None

    def loss(self, logits: Tensor, part: Part) -> Tensor:
        """What a part adds to the loss of this process's share of a step."""
        smoothing = self.config.smoothing if self.soft_targets is None else 0.0
        losses = cross_entropy(logits.float(), part.targets, reduction="none", label_smoothing=smoothing)
        return (losses * part.weights).mean() * part.share

    def _mixed(self, *share: Tensor) -> tuple[Tensor, ...]:
        """Mix over the photos of all processes, and take this one's share: what a single process would have."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        x, targets, weights = (
            torch.stack(self.accelerator.gather(tensor).chunk(world), 1).flatten(0, 1) if world > 1 else tensor
            for tensor in share
        )
        mixed = mix(x, targets, weights, mixup=self.config.mixup, cutmix=self.config.cutmix)
        return tuple(tensor[rank::world] for tensor in mixed)


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
    if cut:  # a box anywhere that leaves `share` of the area, cut off at the edges
        height, width = x_BCHW.shape[-2:]
        rows, columns = (round(side * sqrt(1 - share)) for side in (height, width))
        y, x = int(torch.randint(height, ())), int(torch.randint(width, ()))
        top, left = y - rows // 2, x - columns // 2
        down = slice(max(top, 0), min(top + rows, height))
        across = slice(max(left, 0), min(left + columns, width))
        x_BCHW = x_BCHW.clone()
        x_BCHW[..., down, across] = x_BCHW[partner, :, down, across]
        share = 1 - (down.stop - down.start) * (across.stop - across.start) / (height * width)
    else:
        x_BCHW = torch.lerp(x_BCHW[partner], x_BCHW, share)
    targets_BK, weights_B = (torch.lerp(tensor[partner], tensor, share) for tensor in (targets_BK, weights_B))
    return x_BCHW, targets_BK, weights_B


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
        from whichland.geo.land import neighbours

        if labels.kind != COUNTRY:
            raise UserError(f"smoothing_by neighbour: {labels.kind} has no borders; use all or distance")
        beside = neighbours(labels.codes)
        count = beside.sum(1, keepdims=True)
        spread = np.where(count > 0, beside / np.maximum(count, 1), own)
    return torch.from_numpy((1 - config.smoothing) * own + config.smoothing * spread).float()


def _kilometres(labels: LabelSpace, table: Manifest) -> NDArray[np.float64]:
    """Distances between the labels' training photos; countries without coordinates have those of their area."""
    from whichland.geo.land import kilometres, points_of

    frame = table.kept.filter(pl.col("split") == "train").sort("image_id")
    found: dict[object, NDArray[np.float64]] = {}
    if {"lat", "lon"} <= set(frame.columns):
        for (code,), rows in frame.drop_nulls(["lat", "lon"]).group_by(labels.kind):
            found[code] = rows.select("lat", "lon").gather_every(max(1, rows.height // PLACES)).to_numpy()
    if labels.kind != COUNTRY and (missing := [code for code in labels.codes if code not in found]):
        raise UserError(f"smoothing_by distance: no training photo of {missing[0]!r} has coordinates; use all")
    return kilometres([found[code] if code in found else points_of([code])[0] for code in labels.codes])
