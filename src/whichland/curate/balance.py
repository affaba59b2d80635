"""Order the training images of each label, thin them out, and weigh the labels against each other.

A label is a country, or a value of any other text column; below, "country" stands for both.
"""

import hashlib
import sys
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whichland.config import AT_LEAST_1, SHARE, Config
from whichland.errors import UserError
from whichland.manifest import Manifest, with_empty

Counts = NDArray[np.int64]  # a number for each country

QUALITY = ("brightness", "sharpness", "entropy")
READ = ("image_id", "sha256", "split", "group", "drop_reason", "lat", "rank", "weight", *QUALITY)
THIRDS = 3  # of a country, from south to north
HALVINGS = 200  # of the scale that is sought, far more than a float has bits


@dataclass(frozen=True, kw_only=True)
class BalanceConfig(Config):
    """How many training images a country gives, which ones go first, and how loudly it speaks."""

    group = "balance"

    label: Annotated[str, "column whose values are balanced: country, or any other column of text"] = "country"
    cap: Annotated[
        int | None, "most training images of a country; the rest stay in the file with weight 0", AT_LEAST_1
    ] = None
    total: Annotated[int | None, "most training images of all countries together", AT_LEAST_1] = None
    temper: Annotated[
        float, "a country of N images is thinned to a share of N to this: 1 as in nature, 0 all alike", SHARE
    ] = 0.0
    floor: Annotated[int, "…but not below so many, where a country has them", AT_LEAST_1] = 1
    min_photos: Annotated[int, "a country with fewer training images is left out, with weight 0", AT_LEAST_1] = 1
    poorest: Annotated[
        float, "share of a country's images, the darkest, most blurred and plainest, that come a round later", SHARE
    ] = 0.1
    seed: Annotated[int, "which of the possible orders"] = 0
    power: Annotated[float, "weight of an image is its country's count to the minus this: 0 none, 1 full", SHARE] = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cap is not None and self.cap < self.floor:
            raise UserError(f"cap {self.cap} is below floor {self.floor}: no country can keep to both")
        if self.temper and self.cap is None and self.total is None:
            raise UserError(f"temper {self.temper}: say how many images are wanted, by total or cap")


def balance(manifest: Manifest, config: BalanceConfig | None = None) -> Manifest:
    """Write `rank` and `weight` of the training rows; validation and test are never touched and have neither.

    `rank` counts from 0 within a country: the rows with rank < n are its n-photo subset, and a smaller subset
    lies within a larger one, whatever the settings of thinning are. Every group gives one image before any gives
    a second, its best one first; see `ranked`. Of a country the first `quota` rows are used; the others have
    weight 0: they stay in the file but are not trained on. The used ones have `count(country) ** -power`, scaled
    to a mean of 1.
    """
    config = config or BalanceConfig()
    label = config.label
    manifest.require("split", "group", hint="run `whichland data split` first")
    manifest.require(label, hint="give a column of text that the table has as --label")
    if manifest.frame[label].dtype != pl.String:
        raise UserError(f"label {label}: the column holds {manifest.frame[label].dtype}, not text; cast it first")
    frame = manifest.frame.drop("rank", "weight", strict=False).with_row_index("_row")
    names = (name for name in frame.columns if name in {*READ, "_row", label})
    train = frame.select(names).filter(pl.col("split") == "train", pl.col("drop_reason").is_null())
    counts = train.group_by(label).agg(count=pl.col(label).count()).sort(label)  # 0 of those without a label
    used = quotas(counts["count"].to_numpy().astype(np.int64), config)
    if train.height and not used.any():
        raise UserError(f"min_photos {config.min_photos}: no {label} has so many training photos")
    if out := counts[label].filter(pl.Series(used == 0)).drop_nulls().to_list():
        listed = ", ".join(out[:12]) + (f" and {len(out) - 12} more" if len(out) > 12 else "")
        print(f"warning: {listed}: fewer than {config.min_photos} training photos, left out", file=sys.stderr)
    weighed = (
        ranked(train, config)
        .join(counts.select(label, _used=pl.Series(used)), on=label, nulls_equal=True)
        .with_columns(
            weight=pl.when(pl.col("rank") < pl.col("_used"))
            .then(pl.col("_used").cast(pl.Float64).pow(-config.power))
            .otherwise(0.0)
        )
        .with_columns(weight=pl.col("weight") / pl.col("weight").filter(pl.col("weight") > 0).mean())
    )
    written = weighed.select("_row", "rank", "weight")
    result = frame.join(written, on="_row", how="left", maintain_order="left").drop("_row")
    return manifest.with_step("balance", result, **asdict(config))


def quotas(counts: Counts, config: BalanceConfig) -> Counts:
    """How many of its images each country gives; 0 for one that has fewer than `min_photos`.

    Country c gives `scale * counts[c] ** temper`, but at most `cap` and what it has, and at least `floor` of
    what it has. The scale is the largest that keeps the sum within `total`; without a total, the one at which the
    largest country gives `cap` images. Every number grows with the total, and, where no total is given or it does not
    bind, with the cap: such a thinner set lies within a fuller one. Under a total that binds, what a higher cap gives
    to the large countries is taken from the small ones.
    """
    kept = counts >= config.min_photos
    most = np.where(kept, np.minimum(counts, config.cap or counts.max(initial=0)), 0)
    least = np.minimum(most, config.floor)
    share = np.where(kept, counts.astype(np.float64), 0.0) ** config.temper
    largest = share.max(initial=1.0)
    # Countries of one size would all step up at once and miss the total; each steps at a point of its own.
    offset = (np.arange(counts.size) + 0.5) / max(counts.size, 1)

    def at(scale: float) -> Counts:
        found: Counts = np.clip(np.floor(scale * share / largest + offset).astype(np.int64), least, most)
        return found

    if config.total is None:
        wanted: Counts = np.rint(most.max(initial=0) * share / largest).astype(np.int64)
        return np.clip(wanted, least, most)
    if least.sum() > config.total:
        raise UserError(
            f"total {config.total:,}: {int(kept.sum())} countries with at least {config.floor} images each"
            f" make {int(least.sum()):,}; raise it, or lower floor, or leave countries out with min_photos"
        )
    low, high = 0.0, float(largest) * (float(counts.max(initial=0)) + 1)
    if at(high).sum() <= config.total:
        return at(high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle).sum() <= config.total else (low, middle)
    return at(low)


def ranked(train: pl.DataFrame, config: BalanceConfig) -> pl.DataFrame:
    """Add `rank`: by round over the groups of the country, then by a hash of (seed, image), then by image_id.

    Within a group the best image comes first (`quality`), so what is redundant goes before what is not, and of
    what is redundant the dark and blurred first. The `poorest` share of a country wait a round longer: they stand
    behind the first images of all groups. Which are poor is decided within a third of the country, from south
    to north, where coordinates are known, so that each third loses the same share.
    """
    train = with_empty(train, "lat", *QUALITY)
    label = config.label
    south = (pl.col("lat").rank("ordinal") - 1).over(label)
    rows = train.select(
        "_row",
        label,
        pl.col("group").cast(pl.Categorical).to_physical(),
        _quality=quality(label),
        _third=(south * THIRDS).floordiv(pl.col("lat").count().over(label)),
        _chance=pl.struct(keys(train, config.seed), "image_id").rank("ordinal"),
    )
    place = (label, "_third")
    poor = pl.struct("_quality", "_chance").rank("ordinal").over(place) <= config.poorest * pl.len().over(place)
    return (
        rows.with_columns(_poor=poor)
        .sort("_poor", -pl.col("_quality"), "_chance")
        .with_columns(_round=pl.int_range(pl.len()).over(label, "group") + pl.col("_poor"))
        .sort("_round", "_chance")
        .select("_row", label, rank=pl.int_range(pl.len(), dtype=pl.Int64).over(label))
    )


def quality(label: str) -> pl.Expr:
    """How good an image is among those of its country, 0 to 1: the least of its places by each of `QUALITY`.

    A place is the share of the country's images that are no better, so equal ones all have the highest. An image
    that is good in all is better than one that is excellent in one and the worst in another. What is not measured
    speaks against none.
    """
    places = (pl.col(name).rank("max").over(label) / pl.col(name).count().over(label) for name in QUALITY)
    return pl.min_horizontal(pl.lit(1.0), *places).fill_null(1.0)


def keys(frame: pl.DataFrame, seed: int) -> pl.Series:
    """A number for each row that follows from its bytes and the seed alone: the same on every machine.

    The head of `sha256` (of image_id where there is none), mixed with the seed by the finaliser of SplitMix64
    (Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, 2014).
    """
    digest = with_empty(frame, "sha256")["sha256"]
    if digest.null_count():
        names = [hashlib.sha256(name.encode()).hexdigest() for name in frame["image_id"]]
        digest = digest.zip_with(digest.is_not_null(), pl.Series(names, dtype=pl.String))
    head = digest.str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64)
    mixed = head.to_numpy() + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return pl.Series("_key", mixed ^ (mixed >> np.uint64(31)))
