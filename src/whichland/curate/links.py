"""What ties two photos together, so that they must not stand in different splits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
from annotated_types import Interval

from whichland.config import Config
from whichland.curate.pairs import NO_PAIRS, Pairs, near_duplicate_batches, pairs_within, spanning_pairs
from whichland.errors import UserError
from whichland.manifest import sequence_key

STRANGERS = ((150_000, 12), (1_000_000, 10))  # (rows, bits): see docs/decisions/splits.md
MANY = 8  # bits, for more rows than those
HELD = 20_000_000  # pairs kept in memory before they are thinned to what they tie


@dataclass(frozen=True, kw_only=True)
class LinkConfig(Config):
    """Which photos belong together."""

    group = "split"

    radius_m: Annotated[float, "photos at most this many metres apart belong together; 0: coordinates tie nothing"] = (
        50.0
    )
    near_duplicate_distance: Annotated[
        int | None,
        "hashes at most this many of 64 bits apart may be one scene; -1: do not look. "
        "[default: 12; over 150,000 rows 10, over 1,000,000 rows 8]",
        Interval(ge=-1, le=32),
    ] = None
    near_duplicate_tone: Annotated[
        float, "…and are, when brightness and contrast differ by at most this much", Interval(gt=0, le=1)
    ] = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.radius_m != 0 and not 10 <= self.radius_m <= 100_000:
            raise UserError(f"radius_m {self.radius_m:g}: give 0 (off), or 10 to 100,000 metres")

    def distance_for(self, rows: int) -> int:
        """Bits within which hashes are alike; by default so few that strangers hardly ever are among `rows`."""
        if self.near_duplicate_distance is not None:
            return self.near_duplicate_distance
        return next((bits for most, bits in STRANGERS if rows <= most), MANY)


def links(frame: pl.DataFrame, config: LinkConfig) -> Pairs:
    """Return pairs of rows of `frame` that tie all that belongs together, shape (P, 2)."""
    return np.concatenate([rule(frame, config) for rule in LINK_RULES])


def _same(key: pl.Expr, frame: pl.DataFrame) -> Pairs:
    """Link each row to the first row that has the same value; rows without one are linked to none."""
    rows = frame.select(key.alias("key"), row=pl.int_range(pl.len())).drop_nulls()
    rows = rows.with_columns(first=pl.col("row").min().over("key"))
    return rows.filter(pl.col("row") != pl.col("first")).select("first", "row").to_numpy().astype(np.int64)


def sequence_links(frame: pl.DataFrame, config: LinkConfig) -> Pairs:
    """Link the images of a sequence: drive, panorama, capture session."""
    return _same(sequence_key(), frame)


def panorama_links(frame: pl.DataFrame, config: LinkConfig) -> Pairs:
    """Link the views of a panorama with each other and with the panorama, where it is in the table itself."""
    cut = pl.col("image_id").is_in(frame["panorama"].drop_nulls().unique().implode())
    return _same(pl.coalesce("panorama", pl.when(cut).then("image_id")), frame)


def place_links(frame: pl.DataFrame, config: LinkConfig) -> Pairs:
    """Link images taken at most `radius_m` apart."""
    if not config.radius_m:
        return NO_PAIRS
    return pairs_within(frame["lat"].to_numpy(), frame["lon"].to_numpy(), config.radius_m)


def same_bytes_links(frame: pl.DataFrame, config: LinkConfig) -> Pairs:
    """Link rows that hold the same bytes: the dropped copy hands on what it is tied to."""
    return _same(pl.col("sha256"), frame)


def near_duplicate_links(frame: pl.DataFrame, config: LinkConfig) -> Pairs:
    """Link images whose perceptual hashes, brightness and contrast are alike."""
    distance = config.distance_for(frame.height)
    if distance < 0:
        return NO_PAIRS
    tones = frame.select("brightness", "contrast").to_numpy()
    found, held = [NO_PAIRS], 0
    for pairs in near_duplicate_batches(frame["phash"].to_numpy(), distance, tones, config.near_duplicate_tone):
        found.append(pairs)
        held += len(pairs)
        if held > HELD:  # a static camera's ten thousand frames make fifty million pairs
            found = [spanning_pairs(frame.height, np.concatenate(found))]
            held = len(found[0])
    return np.concatenate(found)


LINK_RULES: tuple[Callable[[pl.DataFrame, LinkConfig], Pairs], ...] = (
    sequence_links,
    panorama_links,
    place_links,
    same_bytes_links,
    near_duplicate_links,
)
"""Each gives pairs of rows that must not be torn apart. A new kind of tie is a new function here."""
