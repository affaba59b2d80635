"""Tie related images into groups and put each whole group into train, val or test."""

import hashlib
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whichland.curate.duplicates import NO_PAIRS, Pairs, near_duplicate_pairs
from whichland.errors import UserError
from whichland.manifest import Manifest

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How the images are tied together and divided."""

    seed: Annotated[int, "which of the possible splits"] = 0
    val: Annotated[float, "share of the groups for validation"] = 0.15
    test: Annotated[float, "share of the groups for the test"] = 0.15
    near_duplicate_distance: Annotated[
        int, "hashes at most this many of 64 bits apart may be one scene; -1: do not look"
    ] = 12
    near_duplicate_tone: Annotated[
        float, "…and are, when brightness and contrast differ by at most this much"
    ] = 0.01

    def __post_init__(self) -> None:
        if self.val < 0 or self.test < 0 or self.val + self.test >= 1:
            raise UserError(f"val {self.val}, test {self.test}: shares are at least 0 and together below 1")
        if not -1 <= self.near_duplicate_distance <= 32:
            raise UserError(f"near_duplicate_distance {self.near_duplicate_distance}: give -1 (off) to 32")
        if not 0 < self.near_duplicate_tone <= 1:
            raise UserError(f"near_duplicate_tone {self.near_duplicate_tone}: give more than 0, at most 1")


def split(manifest: Manifest, config: SplitConfig | None = None) -> Manifest:
    """Write `group` and `split` of the kept rows; dropped rows have neither.

    A group is a connected component over `LINK_RULES`. Its split is a hash of (seed, group name), so it depends
    neither on the order of the rows nor on the other groups. The name is the smallest sequence key in the
    group, else its smallest image_id; a group that was named in an earlier split keeps its name. When a new
    image ties two named groups together, the name that goes to train wins, then val: a model trained on the
    earlier split is never tested on what it has seen.

    `weight` and `rank` of an earlier run are removed. Warns on stderr of countries without test or val photos.
    """
    config = config or SplitConfig()
    manifest.require("drop_reason", "phash", hint="run `whichland data clean` first")
    frame = manifest.frame.drop("weight", "rank", strict=False)
    # An exact duplicate is left out itself, but its sequence still tells which images belong together.
    linked = frame.with_row_index("_row").filter(
        pl.col("drop_reason").is_null() | (pl.col("drop_reason") == "duplicate")
    )
    pairs = np.concatenate([rule(linked, config) for rule in LINK_RULES])
    component = connected_components(linked.height, pairs)
    kept = linked.with_columns(pl.Series("_component", component)).filter(pl.col("drop_reason").is_null())
    names = _names(kept, config)
    part = pl.Series([split_of(name, config) for name in names], dtype=pl.String)
    assigned = pl.DataFrame({"_row": kept["_row"], "group": names, "split": part})
    frame = (
        frame.drop("group", "split", strict=False)
        .with_row_index("_row")
        .join(assigned, on="_row", how="left", maintain_order="left")
        .drop("_row")
    )
    result = manifest.with_step("split", frame, **asdict(config))
    _warn_of_gaps(result.kept, config)
    return result


def split_of(group: str, config: SplitConfig) -> str:
    """Return the split of a group: where the hash of (seed, name) falls, test first, then val, then train."""
    digest = hashlib.sha256(f"{config.seed}:{group}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < config.test:
        return "test"
    return "val" if position < config.test + config.val else "train"


def _links_by(column: str, frame: pl.DataFrame) -> Pairs:
    """Link each row to the first row that has the same value; rows without one are linked to none."""
    rows = frame.select(pl.col(column).alias("key"), row=pl.int_range(pl.len())).drop_nulls()
    rows = rows.with_columns(first=pl.col("row").min().over("key"))
    return rows.filter(pl.col("row") != pl.col("first")).select("first", "row").to_numpy().astype(np.int64)


def sequence_links(frame: pl.DataFrame, config: SplitConfig) -> Pairs:
    """Link the images of a sequence (drive, panorama, capture session), whatever source they come from."""
    return _links_by("sequence", frame)


def same_bytes_links(frame: pl.DataFrame, config: SplitConfig) -> Pairs:
    """Link rows that hold the same bytes: the dropped copy hands on what it is tied to."""
    return _links_by("sha256", frame)


def near_duplicate_links(frame: pl.DataFrame, config: SplitConfig) -> Pairs:
    """Link images whose perceptual hashes, brightness and contrast are alike."""
    if config.near_duplicate_distance < 0:
        return NO_PAIRS
    tones = frame.select("brightness", "contrast").to_numpy()
    return near_duplicate_pairs(
        frame["phash"].to_numpy(), config.near_duplicate_distance, tones, config.near_duplicate_tone
    )


LINK_RULES: tuple[Callable[[pl.DataFrame, SplitConfig], Pairs], ...] = (
    sequence_links,
    same_bytes_links,
    near_duplicate_links,
)
"""Each gives pairs of rows that must not be torn apart. A new kind of tie is a new function here."""


def connected_components(count: int, pairs: Pairs) -> NDArray[np.int64]:
    """Return for each of `count` rows the smallest row it is connected to, shape (count,).

    The smaller label wins along all pairs at once and pointers are followed to their end, until nothing changes.
    """
    label = np.arange(count)
    left, right = pairs[:, 0], pairs[:, 1]
    while True:
        low = np.minimum(label[left], label[right])
        hooked = label.copy()
        np.minimum.at(hooked, label[left], low)
        np.minimum.at(hooked, label[right], low)
        while not np.array_equal(hooked, hooked[hooked]):
            hooked = hooked[hooked]
        if np.array_equal(hooked, label):
            return label
        label = hooked


def _names(kept: pl.DataFrame, config: SplitConfig) -> pl.Series:
    """Return the group name of each row of `kept`, which has its `_component`."""
    key = pl.lit("sequence/") + pl.col("sequence")
    fresh = pl.coalesce(key.min().over("_component"), pl.col("image_id").min().over("_component"))
    kept = kept.with_columns(fresh.alias("_fresh"))
    if "group" not in kept.columns:
        return kept["_fresh"].alias("group")
    old = kept.filter(pl.col("group").is_not_null()).group_by("_component", "group").len().drop("len")
    order = [SPLITS.index(split_of(name, config)) for name in old["group"]]
    old = old.with_columns(pl.Series("_order", order, dtype=pl.Int64)).sort("_order", "group")
    old = old.unique("_component", keep="first", maintain_order=True).select("_component", _old="group")
    # Two components can claim one old name when ties are fewer than before: only the one that holds its key may.
    kept = kept.join(old, on="_component", how="left", maintain_order="left")
    claims = kept.select("_component", "_fresh", "_old").unique().filter(pl.col("_old").is_not_null())
    torn = claims.filter(pl.col("_old").is_duplicated() & (pl.col("_old") != pl.col("_fresh")))["_component"]
    keep_old = ~pl.col("_component").is_in(torn.implode())
    return kept.select(pl.coalesce(pl.when(keep_old).then("_old"), "_fresh").alias("group"))["group"]


def _warn_of_gaps(kept: pl.DataFrame, config: SplitConfig) -> None:
    for part, share in (("val", config.val), ("test", config.test)):
        present = kept.filter(pl.col("split") == part)["country"].unique()
        missing = sorted(set(kept["country"].unique()) - set(present))
        if share > 0 and missing:
            what = f"{len(missing)} of {kept['country'].n_unique()} countries have no {part} photo"
            listed = ", ".join(missing[:12]) + (" …" if len(missing) > 12 else "")
            print(f"warning: {what}, having too few groups: {listed}", file=sys.stderr)
