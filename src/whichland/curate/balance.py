"""Order the training images of each country, cap them, and weigh the countries against each other."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Annotated

import polars as pl

from whichland.errors import UserError
from whichland.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class BalanceConfig:
    """How many training images a country gives, and how loudly it speaks."""

    cap: Annotated[
        int | None, "most training images of a country; the rest stay in the file with weight 0"
    ] = None
    seed: Annotated[int, "which of the possible orders"] = 0
    power: Annotated[float, "weight of an image is its country's count to the minus this: 0 none, 1 full"] = (
        0.5
    )

    def __post_init__(self) -> None:
        if self.cap is not None and self.cap < 1:
            raise UserError(f"cap {self.cap}: a country gives at least one image")
        if not 0 <= self.power <= 1:
            raise UserError(f"power {self.power}: give 0 (every image alike) to 1 (every country alike)")


def balance(manifest: Manifest, config: BalanceConfig | None = None) -> Manifest:
    """Write `rank` and `weight` of the training rows; validation and test are never rebalanced and have neither.

    `rank` counts from 0 within a country: the rows with rank < n are its n-photo subset, and a smaller subset
    lies within a larger one. Every group gives one image before any gives a second, so small subsets are
    diverse; within a round the order is a hash of (seed, image). Rows from `cap` on have weight 0: they stay in
    the file but are not trained on. The others have `count(country) ** -power`, scaled to a mean of 1.
    """
    config = config or BalanceConfig()
    manifest.require("split", "group", hint="run `whichland data split` first")
    frame = manifest.frame.drop("rank", "weight", strict=False).with_row_index("_row")
    train = frame.filter((pl.col("split") == "train") & pl.col("drop_reason").is_null())
    ranked = _ranked(train, config.seed)
    used = pl.col("rank") < (train.height if config.cap is None else config.cap)
    count = used.sum().over("country").cast(pl.Float64)
    raw = pl.when(used).then(count.pow(-config.power)).otherwise(0.0)
    weighed = ranked.with_columns(weight=raw).with_columns(
        weight=pl.col("weight") / pl.col("weight").filter(pl.col("weight") > 0).mean()
    )
    result = frame.join(
        weighed.select("_row", "rank", "weight"), on="_row", how="left", maintain_order="left"
    ).drop("_row")
    return manifest.with_step("balance", result, **asdict(config))


def _ranked(train: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Add `rank`: by round over the groups of the country, then by hash, then by image_id."""
    content = pl.coalesce("sha256", "image_id") if "sha256" in train.columns else pl.col("image_id")
    hashes = [
        hashlib.sha256(f"{seed}:{text}".encode()).hexdigest() for text in train.select(content).to_series()
    ]
    within_group = pl.int_range(pl.len()).over("country", "group")
    return (
        train.with_columns(pl.Series("_hash", hashes, dtype=pl.String))
        .sort("_hash", "image_id")
        .with_columns(within_group.alias("_round"))
        .sort("_round", "_hash", "image_id")
        .with_columns(rank=pl.int_range(pl.len(), dtype=pl.Int64).over("country"))
    )
