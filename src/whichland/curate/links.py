"""What ties two photos together, so that they must not stand in different splits."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from zipfile import BadZipFile

import numpy as np
import polars as pl
from annotated_types import Interval
from numpy.typing import NDArray

from whichland.config import Config
from whichland.curate.pairs import (
    NO_PAIRS,
    Groups,
    Pairs,
    near_duplicate_batches,
    pairs_within,
    similar_batches,
    spanning_pairs,
)
from whichland.errors import UserError
from whichland.manifest import sequence_key

# up to so many rows: bits with like tones, bits at any tone; see docs/decisions/splits.md
BITS = ((150_000, 12, 4), (1_000_000, 10, 4), (float("inf"), 8, 2))
CLOSER = ((2, 10), (4, 2))  # bits more than those at any tone, and how many times the tone
HELD = 20_000_000  # pairs kept in memory before they are thinned to what they tie


@dataclass(frozen=True, kw_only=True)
class SplitConfig(Config):
    """How the images are tied together and divided."""

    group = "split"

    seed: Annotated[int, "which of the possible splits"] = 0
    val: Annotated[float, "share of each country's groups for validation", Interval(ge=0, lt=1)] = 0.15
    test: Annotated[float, "share of each country's groups for the test", Interval(ge=0, lt=1)] = 0.15
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
    near_duplicate_any_tone: Annotated[
        int | None,
        "…or whatever these are, when the hashes are at most this many bits apart (2 more: by ten times that much, "
        "4 more: by twice); -1: never. [default: 4; over 1,000,000 rows 2]",
        Interval(ge=-1, le=8),
    ] = None
    near_duplicate_cosine: Annotated[
        float | None,
        "photos are one scene whose features have a cosine of at least this; unset: features tie nothing",
        Interval(gt=0, le=1),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.val + self.test >= 1:
            raise UserError(f"val {self.val}, test {self.test}: give shares that are together below 1")
        if self.radius_m != 0 and not 10 <= self.radius_m <= 100_000:
            raise UserError(f"radius_m {self.radius_m:g}: give 0 (off), or 10 to 100,000 metres")

    def distance_for(self, rows: int) -> int:
        """Bits within which hashes are alike; by default so few that strangers hardly ever are among `rows`."""
        given = self.near_duplicate_distance
        return next(bits for most, bits, _ in BITS if rows <= most) if given is None else given

    def closer_for(self, rows: int) -> list[tuple[int, float]]:
        """Bits within which hashes are alike although their tones differ more, and how much these may, 1: at will."""
        given, distance = self.near_duplicate_any_tone, self.distance_for(rows)
        least = min(distance, next(bits for most, _, bits in BITS if rows <= most) if given is None else given)
        steps = [(least + more, min(1.0, times * self.near_duplicate_tone)) for more, times in CLOSER]
        return [(least, 1.0), *(step for step in steps if step[0] < distance)] if least >= 0 else []


def links(frame: pl.DataFrame, config: SplitConfig) -> Pairs:
    """Return pairs of rows of `frame` that tie all that belongs together, shape (P, 2)."""
    return np.concatenate([rule(frame, config) for rule in LINK_RULES])


def _same(key: pl.Expr, frame: pl.DataFrame) -> Pairs:
    """Link each row to the first row that has the same value; rows without one are linked to none."""
    rows = frame.select(key.alias("key"), row=pl.int_range(pl.len())).drop_nulls()
    rows = rows.filter(pl.col("key").is_duplicated())
    codes = rows["key"].cast(pl.Categorical).to_physical().to_numpy().astype(np.uint64)
    return rows["row"].to_numpy()[Groups(codes).chain()]


def sequence_links(frame: pl.DataFrame, config: SplitConfig) -> Pairs:
    """Link the images of a sequence: drive, panorama, capture session."""
    return _same(sequence_key(), frame)


def panorama_links(frame: pl.DataFrame, config: SplitConfig) -> Pairs:
    """Link the views of a panorama with each other and with the panorama, where it is in the table itself."""
    cut = pl.col("image_id").is_in(frame["panorama"].drop_nulls().unique().implode())
    return _same(pl.coalesce("panorama", pl.when(cut).then("image_id")), frame)


def place_links(frame: pl.DataFrame, config: SplitConfig) -> Pairs:
    """Link images taken at most `radius_m` apart."""
    if not config.radius_m:
        return NO_PAIRS
    return pairs_within(frame["lat"].to_numpy(), frame["lon"].to_numpy(), config.radius_m)


def same_bytes_links(frame: pl.DataFrame, config: SplitConfig) -> Pairs:
    """Link rows that hold the same bytes: the dropped copy hands on what it is tied to."""
    return _same(pl.col("sha256"), frame)


def near_duplicate_links(frame: pl.DataFrame, config: SplitConfig) -> Pairs:
    """Link images whose perceptual hashes, brightness and contrast are alike."""
    distance = config.distance_for(frame.height)
    if distance < 0:
        return NO_PAIRS
    tones = frame.select("brightness", "contrast").to_numpy()
    closer = config.closer_for(frame.height)
    phash, tone = frame["phash"].to_numpy(), config.near_duplicate_tone
    return _thinned(near_duplicate_batches(phash, distance, tones, tone, closer), frame.height)


def feature_links(frame: pl.DataFrame, config: SplitConfig) -> Pairs:
    """Link images whose `features` are alike, where these are asked for."""
    if config.near_duplicate_cosine is None:
        return NO_PAIRS
    return _thinned(similar_batches(frame["features"].to_numpy(), config.near_duplicate_cosine), frame.height)


def _thinned(batches: Iterable[Pairs], count: int) -> Pairs:
    """All pairs, or, of very many, fewer that tie the same: ten thousand frames of a static camera make 50 million."""
    found, held = [NO_PAIRS], 0
    for pairs in batches:
        found.append(pairs)
        held += len(pairs)
        if held > HELD:
            found = [spanning_pairs(count, np.concatenate(found))]
            held = len(found[0])
    return np.concatenate(found)


def read_features(path: Path, frame: pl.DataFrame) -> NDArray[np.float32]:
    """Read the features of a manifest's rows, N×F, with NaN for those that have none.

    An .npy file holds them in the order of the rows. A Parquet file has a column `features` of lists and `image_id` or
    `sha256`; an .npz file `keys` (sha256) and `vectors`, as `data split` and `data score` keep them. Raises UserError.
    """
    try:
        if path.suffix == ".npy":
            vectors = np.load(path, allow_pickle=False).astype(np.float32)
            table = pl.DataFrame({"image_id": frame["image_id"], "features": vectors})
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as held:
                table = pl.DataFrame({"sha256": held["keys"], "features": held["vectors"].astype(np.float32)})
        else:
            table = pl.read_parquet(path, glob=False)
        key = "image_id" if "image_id" in table.columns else "sha256"
        lists = table["features"].cast(pl.List(pl.Float32)).list
        table = table.select(key, features=lists.to_array(max(lists.len().to_list(), default=1))).unique(key)
        joined = frame.select(key).join(table, on=key, how="left", maintain_order="left")
        found: NDArray[np.float32] = joined["features"].to_numpy()
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path}: no features of these photos ({str(error).splitlines()[0]})") from None
    return found


LINK_RULES: tuple[Callable[[pl.DataFrame, SplitConfig], Pairs], ...] = (
    sequence_links,
    panorama_links,
    place_links,
    same_bytes_links,
    near_duplicate_links,
    feature_links,
)
"""Each gives pairs of rows that must not be torn apart. A new kind of tie is a new function here."""
