"""What is known before torch is imported, which takes seconds: whether a run may begin or be resumed in a folder, and
what it will go through, so that one bar can show how far all of it is and how long is left.
"""

import os
from math import ceil
from pathlib import Path

import polars as pl

from whichland.config import build, differences, read_toml
from whichland.errors import UserError
from whichland.manifest import Manifest
from whichland.progress import Passes
from whichland.training.config import TrainConfig, settled

STEP = 2.0  # what a photo costs in a training step, where one that is judged, at one and a half times the size, costs 1
LEFT = {"backbone": 0.03, "front": 0.2, "front2": 0.5, "front3": 0.75}  # of that, where the rest is there already


def first_process() -> bool:
    """Whether this is the first of torchrun's processes, or there is no other."""
    return os.environ.get("RANK", "0") == "0"


def check_folder(out: Path, config: TrainConfig, *, resume: bool) -> None:
    """Raise UserError unless `out` is free, or holds a run with the same settings that is to be resumed."""
    file = out / "config.toml"
    if (out / "bundle").exists():
        raise UserError(f"{out} is a finished run; choose another --out")
    if resume and not file.exists():
        raise UserError(f"{out} holds no run to resume; train without --resume, or give --out the run's folder")
    if file.exists() and not resume:
        raise UserError(f"{out} holds an unfinished run: add --resume to resume it, or choose another --out")
    if file.exists() and (changed := differences(build(TrainConfig, read_toml(file), str(file)), config)):
        raise UserError(f"{out} was started with other settings; resume without: {', '.join(changed)}")


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
    freeze = settled(config, train, own_head=bool(config.keep_start)).freeze.split(",")[-1].split(":")[0]
    left = LEFT.get(freeze, 1.0) if config.views else 1.0
    runs = left < 1 and not config.features
    return {
        "fitting the head": Passes(1 if config.head_first and not config.features else 0, train),
        "frozen part, training": Passes(1 if runs else 0, train * config.views),
        "frozen part, validation": Passes(1 if runs else 0, val),
        "epoch": Passes(config.epochs, train * STEP * left),
        "validating": Passes(ceil(config.epochs / config.validate_every) + 1, val * left),
    }
