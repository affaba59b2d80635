"""What a run will go through, so that one bar can show how far all of it is and how long is left."""

from math import ceil

import polars as pl

from whichland.manifest import Manifest
from whichland.progress import Passes
from whichland.training.config import TrainConfig

STEP = 2.0  # what a photo costs in a training step, where one that is judged, at one and a half times the size, costs 1
HEAD_STEP = 0.05  # the same where the backbone's activations are there already


def photos_of(manifest: Manifest, config: TrainConfig) -> dict[str, int]:
    """How many photos of each split a run has to do with."""
    kept = manifest.kept
    if config.countries:
        kept = kept.filter(pl.col(config.label).is_in(config.countries))
    counts = dict(kept["split"].drop_nulls().value_counts().iter_rows())
    if config.photos and "train" in counts:
        counts["train"] = min(counts["train"], config.photos * kept[config.label].n_unique())
    return counts


def passes(train: int, val: int, config: TrainConfig) -> dict[str, Passes]:
    """The parts of a run by how their progress is called; costs are in photos that are judged."""
    frozen = config.views and not config.freeze.endswith("none")
    runs = bool(frozen and not config.features)
    return {
        "fitting the head": Passes(1 if config.head_first and not config.features else 0, train),
        "frozen part, training": Passes(1 if runs else 0, train * config.views),
        "frozen part, validation": Passes(1 if runs else 0, val),
        "epoch": Passes(config.epochs, train * (HEAD_STEP if frozen else STEP)),
        "validating": Passes(ceil(config.epochs / config.validate_every) + 1, val * (HEAD_STEP if frozen else 1)),
    }
