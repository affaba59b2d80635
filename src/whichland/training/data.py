"""Training photos as batches: chosen, drawn, decoded and cropped ahead of the step that uses them."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from whichland.errors import UserError
from whichland.images.augment import Augment, Draw
from whichland.images.decode import load
from whichland.images.preprocess import Pixels
from whichland.manifest import Manifest, left_out
from whichland.model.label_points import located
from whichland.model.label_sources import column_labels
from whichland.model.labels import COUNTRY, LabelSpace
from whichland.model.views import made_ahead
from whichland.training.config import Balance, TrainConfig, Weighting

NO_LABELS = ("image_id", "uri", "sequence", "group", "split", "drop_reason", "sha256", "panorama")


@dataclass(frozen=True)
class Photos:
    """The photos of one split."""

    uris: list[str]
    targets: NDArray[np.int64]  # index into the labels
    weights: NDArray[np.float64]  # mean 1

    def __len__(self) -> int:
        return len(self.uris)


def choose_labels(manifest: Manifest, config: TrainConfig) -> LabelSpace:
    """The labels to learn, with the points where they are photographed: all that can be wrong with them is found here.

    Raises UserError when the manifest is not split yet or lacks a label, and for labels that cannot be learnt: codes
    that are no countries, one alone, names that differ in case or blanks only, a photo each.
    """
    column = config.label
    manifest.require(column, "split", hint="run `whichland data prepare` (or split) first")
    if column in NO_LABELS or manifest.frame.schema[column] != pl.String:
        raise UserError(f"label {column}: no column of text to learn; `country`, or one that your table brought along")
    train = manifest.kept.filter(pl.col("split") == "train")
    if _weighed_by(manifest, column):  # a label that balancing left out is none
        train = train.filter(pl.col("weight") > 0)
    counts = dict(train[column].drop_nulls().value_counts().sort(column).iter_rows())
    if missing := sorted(set(config.countries) - set(counts)):
        raise UserError(f"no training photos of {', '.join(missing)}; the manifest has {', '.join(counts)}")
    codes = tuple(sorted(config.countries) or counts)
    if len(codes) < 2:
        raise UserError(
            f"training needs photos of at least two labels of `{column}`; the manifest has {len(codes)} "
            f"({left_out(manifest)})"
        )
    seen: dict[str, str] = {}
    for code in codes:  # some labels look the same, and no file can name others
        plain = " ".join(unicodedata.normalize("NFKC", code).split()).casefold()
        if not plain or not code.isprintable():
            raise UserError(f"label {code!r} of `{column}` is empty or not printable; mend the column")
        if plain in seen:
            raise UserError(f"labels {seen[plain]!r} and {code!r} of `{column}` have one name; mend the column")
        seen[plain] = code
    single = sum(counts[code] == 1 for code in codes)
    if 2 * single > len(codes):
        raise UserError(
            f"{single} of {len(codes)} labels of `{column}` have one training photo alone: too few to learn from; "
            "choose some with --countries, or another column with --label"
        )
    return located(column_labels(manifest, column, codes), manifest)


def _balanced_by(manifest: Manifest, column: str) -> bool:
    """Whether weights and ranks, where the manifest has them, are those of the labels of a column."""
    balanced = manifest.last("balance") or {"label": column}
    return bool(balanced.get("label", COUNTRY) == column)


def _weighed_by(manifest: Manifest, column: str) -> bool:
    return "weight" in manifest.frame.columns and _balanced_by(manifest, column)


def select(manifest: Manifest, split: str, labels: LabelSpace, *, photos: int | None = None) -> Photos:
    """The kept photos of a split that have one of `labels`; of training, those with a weight above 0.

    Weights that were made for another column do not count. With `photos` the first of each label, by rank, which
    raises UserError where the ranks are those of another column.
    """
    column = labels.kind
    frame = manifest.kept.filter(pl.col("split") == split, pl.col(column).is_in(labels.codes))
    weighed = split == "train" and _weighed_by(manifest, column)
    if weighed:
        frame = frame.filter(pl.col("weight") > 0)
    if photos is not None:
        manifest.require("rank", hint="photos takes the first of each country; run `whichland data balance`")
        if not _balanced_by(manifest, column):
            raise UserError(
                f"photos {photos}: the ranks are not those of `{column}`; run `whichland data balance --label {column}`"
            )
        frame = frame.filter(pl.col("rank") < photos)
    frame = frame.sort("image_id")  # the order of the file must not change the run
    targets = np.array([labels.index[code] for code in frame[column]], dtype=np.int64)
    weights = frame["weight"].to_numpy().astype(np.float64) if weighed else np.ones(frame.height)
    if photos is not None and frame.height:
        counts = np.bincount(targets, minlength=len(labels))  # weights of the file are for the whole label
        weights = 1 / np.sqrt(counts[targets])
    return Photos(frame["uri"].to_list(), targets, weights / weights.mean() if frame.height else weights)


def balanced(photos: Photos, by: Balance) -> Photos:
    """Weigh photos by how many their country has: 1/√n (sqrt), 1/n (class), alike (none); or leave the manifest's.

    With "class", every country weighs the same altogether. Weights have mean 1.
    """
    if by == "manifest" or not len(photos):
        return photos
    power = {"none": 0.0, "sqrt": -0.5, "class": -1.0}[by]
    weights = np.bincount(photos.targets)[photos.targets].astype(np.float64) ** power
    return replace(photos, weights=weights / weights.mean())


def epoch_order(photos: Photos, seed: int, epoch: int, weighting: Weighting) -> NDArray[np.int64]:
    """Indices of one epoch in order; with "sample", drawn by weight with as few repetitions as possible."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, epoch))))
    order = generator.permutation(len(photos))
    if weighting == "sample":
        edges = np.cumsum(photos.weights[order])
        marks = (np.arange(len(photos)) + generator.random()) * edges[-1] / len(photos)
        order = generator.permutation(order[np.searchsorted(edges, marks)])
    return order.astype(np.int64)


@dataclass(frozen=True)
class Batch:
    """One process's share of a step."""

    images: Tensor  # uint8 b×H×W×3, or what a frozen front made of them (see frozen_cache)
    targets: Tensor  # int64 b
    weights: Tensor  # float32 b
    light: NDArray[np.float32]  # b×3, see Draw.light


@dataclass(frozen=True, kw_only=True)
class Loader:
    """Batches of one epoch for one process of several.

    Step s of an epoch takes positions s·B … s·B+B-1 of its order; process r of W takes every W-th of them, so
    the processes together see exactly what a single one would.
    """

    photos: Photos
    augment: Augment
    batch_size: int  # over all processes
    seed: int
    weighting: Weighting
    rank: int = 0
    world: int = 1
    workers: int = 2
    pixels: Sequence[Pixels] | None = None  # the photos decoded already, scaled to what the crops need

    @property
    def steps(self) -> int:
        """Steps an epoch; what is left over comes in another epoch's order."""
        return max(1, len(self.photos) // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from step `start` on, prepared ahead of use."""
        order = epoch_order(self.photos, self.seed, epoch, self.weighting)

        def one(position: int) -> tuple[Tensor, Draw]:
            draw = self.augment.draw(self.seed, epoch, position)
            return self.crops(order[position], [draw])[0], draw

        positions = chain.from_iterable(self.plan(start))
        for some, made in made_ahead(positions, one, self.batch_size // self.world, threads=self.workers):
            images, draws = zip(*made, strict=True)
            yield self.batch(torch.stack(images), order[some], np.array([draw.light for draw in draws], np.float32))

    def plan(self, start: int = 0) -> Iterator[range]:
        """Yield the positions, in the order of an epoch, of this process's share of each step from `start` on."""
        for step in range(start, self.steps):
            end = min((step + 1) * self.batch_size, len(self.photos))
            yield range(step * self.batch_size + self.rank, end, self.world)

    def crops(self, index: int, draws: Sequence[Draw]) -> list[Tensor]:
        """Crops of one photo, decoded once and no larger than the crops need: uint8 H×W×3 each."""
        if self.pixels is not None:
            image = self.pixels[index]
        else:
            needed = max(self.augment.needed(draw) for draw in draws)
            image = load(self.photos.uris[index], short_side=needed)
        return [self.augment.cut(image, draw) for draw in draws]

    def batch(self, images: Tensor, index: NDArray[np.int64], light: NDArray[np.float32]) -> Batch:
        """The batch of the photos `index`, of which `images` are made; weights count here where they scale the loss."""
        weights = self.photos.weights[index] if self.weighting == "loss" else np.ones(len(index))
        targets = torch.from_numpy(self.photos.targets[index])
        return Batch(images, targets, torch.from_numpy(weights.astype(np.float32)), light)
