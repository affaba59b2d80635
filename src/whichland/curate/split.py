"""Tie related images into groups, put each whole group into train, val or test, and certify it."""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import ceil, floor
from typing import Annotated, Any

import numpy as np
import polars as pl
from annotated_types import Interval
from numpy.typing import NDArray

from whichland.curate.certificate import SPLITS, certify
from whichland.curate.links import LinkConfig, links
from whichland.curate.pairs import connected_components
from whichland.errors import UserError
from whichland.manifest import Manifest, sequence_key

READ = (
    *("image_id", "source", "sequence", "panorama", "lat", "lon", "country", "drop_reason", "group", "split"),
    *("sha256", "phash", "brightness", "contrast"),
)
REPEATED = ("duplicate", "near_duplicate")
LARGE_SHARE, LARGE_COUNTRY = 0.1, 100  # a group this large a part of a country of so many photos is reported
SLACK = 0.1  # a country's share of groups may differ from the one asked for by this part of it
TRAIN, VAL, TEST = range(len(SPLITS))

Parts = NDArray[np.int64]  # index into SPLITS


@dataclass(frozen=True, kw_only=True)
class SplitConfig(LinkConfig):
    """How the images are tied together and divided."""

    group = "split"

    seed: Annotated[int, "which of the possible splits"] = 0
    val: Annotated[float, "share of each country's groups for validation", Interval(ge=0, lt=1)] = 0.15
    test: Annotated[float, "share of each country's groups for the test", Interval(ge=0, lt=1)] = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.val + self.test >= 1:
            raise UserError(f"val {self.val}, test {self.test}: give shares that are together below 1")


def split(manifest: Manifest, config: SplitConfig | None = None) -> Manifest:
    """Write `group` and `split` of the kept rows; dropped rows have neither.

    A group is a connected component over `links.LINK_RULES`. Its name is the smallest sequence key in it, else
    its smallest image_id; a group that was named in an earlier split keeps its name. Its split is where the hash
    of (seed, name) falls, repaired for countries that would be far from their shares (`stratify`); it does not
    depend on the order of the rows. A group that has a split by an earlier run with the same seed and shares, on
    this table or on one that was merged into it, keeps it; where a new image ties two such groups together, train
    wins, then val: a model trained on the earlier split is never tested on what it has seen.

    The certificate stands in the step's parameters. `weight` and `rank` of an earlier run are removed. Warns on
    stderr of countries without test or val photos and of groups that are a large part of a country.
    """
    config = config or SplitConfig()
    manifest.require("drop_reason", "phash", "country", hint="run `whichland data clean` first")
    manifest.require("sequence", "lat", "lon", hint="a table of your own needs it, empty where it is not known")
    frame = manifest.frame.drop("weight", "rank", strict=False)
    # A repeated photo is left out itself, but its sequence still ties images together.
    linked = (
        frame.select(name for name in READ if name in frame.columns)  # the rest would be copied for nothing
        .with_row_index("_row")
        .filter(pl.col("drop_reason").is_null() | pl.col("drop_reason").is_in(REPEATED))
    )
    if strange := linked["phash"].null_count():
        raise UserError(f"{strange} kept rows have no phash: run `whichland data measure` and `clean` first")
    component = connected_components(linked.height, links(linked, config))
    earlier = earlier_splits(linked, manifest, seed=config.seed, val=config.val, test=config.test)
    linked = linked.with_columns(
        pl.Series("_component", component),
        (pl.col("group") if "group" in linked.columns else pl.lit(None, dtype=pl.String)).alias("_group"),
        earlier.replace_strict(list(SPLITS), [0, 1, 2], default=None, return_dtype=pl.Int64).alias("_order"),
    )
    kept = linked.filter(pl.col("drop_reason").is_null()).drop("_order")
    kept = kept.with_columns(_names(kept, linked))
    groups = _groups(kept, linked, config)
    kept = kept.drop("split", strict=False).join(
        groups.select("_component", "split"), on="_component", how="left", maintain_order="left"
    )
    rows = pl.DataFrame({"_row": pl.int_range(len(manifest), dtype=pl.UInt32, eager=True)})
    assigned = rows.join(kept.select("_row", "group", "split"), on="_row", how="left", maintain_order="left")
    frame = frame.with_columns(assigned.drop("_row"))
    _warn_of_loose_photos(frame.filter(pl.col("drop_reason").is_null()))
    _warn_of_gaps(kept, config)
    _warn_of_large_groups(kept)
    return manifest.with_step("split", frame, **_parameters(kept, groups, config, linked.height))


def _groups(kept: pl.DataFrame, linked: pl.DataFrame, config: SplitConfig) -> pl.DataFrame:
    """A row a group: `_component`, `group`, `country` (that of most of its photos), `position`, `split`."""
    countries = kept.group_by("_component", "country").len().sort("len", "country", descending=[True, False])
    first = countries.unique("_component", keep="first", maintain_order=True).select("_component", "country")
    orders = linked.group_by("_component").agg(pl.col("_order").min())
    groups = (
        kept.select("_component", "group")
        .unique()
        .join(orders, on="_component")
        .join(first, on="_component")
        .sort("group")
        .with_columns(
            earlier=pl.col("_order").replace_strict([0, 1, 2], list(SPLITS), default=None, return_dtype=pl.String)
        )
    )
    positions = [position_of(name, config.seed) for name in groups["group"]]
    groups = groups.with_columns(pl.Series("position", positions, dtype=pl.Float64))
    return groups.with_columns(stratify(groups, val=config.val, test=config.test).alias("split"))


def _names(kept: pl.DataFrame, linked: pl.DataFrame) -> pl.Series:
    """Return the `group` name of each row of `kept`, which has its `_component`; the names of an earlier run
    stand in `linked`, which also holds the repetitions that are left out.
    """
    key = pl.lit("sequence/") + sequence_key()
    fresh = pl.coalesce(key.min().over("_component"), pl.col("image_id").min().over("_component"))
    kept = kept.with_columns(fresh.alias("_fresh"))
    old = (
        linked.filter(pl.col("_group").is_not_null())
        .group_by("_component", "_group")
        .agg(pl.col("_order").min())
        .sort("_order", "_group", nulls_last=True)
        .unique("_component", keep="first", maintain_order=True)
        .select("_component", _old="_group")
    )
    # Two components can claim one name when ties are fewer than before: only the one that holds its key may.
    kept = kept.join(old, on="_component", how="left", maintain_order="left")
    claims = kept.select("_component", "_fresh", "_old").unique().filter(pl.col("_old").is_not_null())
    claimed = pl.col("_old").is_duplicated() | pl.col("_old").is_in(kept["_fresh"].unique().implode())
    torn = claims.filter(claimed & (pl.col("_old") != pl.col("_fresh")))["_component"]
    keep_old = ~pl.col("_component").is_in(torn.implode())
    named = kept.select(pl.coalesce(pl.when(keep_old).then("_old"), "_fresh").alias("group"))
    return named["group"]


def _parameters(kept: pl.DataFrame, groups: pl.DataFrame, config: SplitConfig, rows: int) -> dict[str, Any]:
    """What the history says of the step: the settings as they were used, and the certificate."""
    used = asdict(config) | {"near_duplicate_distance": config.distance_for(rows)}
    off = [
        (group, part)
        for group, position, part in groups.select("group", "position", "split").iter_rows()
        if split_at(position, config.val, config.test) != part
    ]
    shares = {"val": config.val, "test": config.test}
    rules: dict[str, Any] = dict.fromkeys(("sequence", "panorama", "same_bytes"), True)
    rules |= {name: used[name] for name in ("radius_m", "near_duplicate_distance", "near_duplicate_tone")}
    certificate = certify(kept, seed=config.seed, shares=shares, rules=rules, moved=dict(off))
    return used | {"certificate": certificate}


def _warn_of_loose_photos(kept: pl.DataFrame) -> None:
    """Name the collections in which nothing but looks ties the photos of one drive together."""
    panorama = pl.col("panorama") if "panorama" in kept.columns else pl.lit(None)
    tied = pl.any_horizontal(pl.col("sequence", "lat").is_not_null(), panorama.is_not_null())
    loose = kept.group_by("source").agg(tied=tied.any(), photos=pl.len()).filter(~pl.col("tied")).sort("source")
    for source, photos in loose.select("source", "photos").iter_rows():
        print(
            f"warning: none of the {photos:,} photos of {source!r} has a sequence or coordinates, so photos of one"
            " drive may stand in different splits; put each drive into a folder of its own below the country, or give"
            " a table with a column `sequence`",
            file=sys.stderr,
        )


def _warn_of_gaps(kept: pl.DataFrame, config: SplitConfig) -> None:
    for part, share in (("val", config.val), ("test", config.test)):
        present = kept.filter(pl.col("split") == part)["country"].unique()
        missing = sorted(set(kept["country"].unique()) - set(present))
        if share > 0 and missing:
            what = f"{len(missing)} of {kept['country'].n_unique()} countries have no {part} photo"
            print(f"warning: {what}, having too few groups: {_some(missing)}", file=sys.stderr)


def _warn_of_large_groups(kept: pl.DataFrame) -> None:
    """Report groups that decide alone what a country is trained or judged on: chains of near places do that."""
    large = (
        kept.group_by("country", "group")
        .len()
        .with_columns(share=pl.col("len") / pl.col("len").sum().over("country"))
        .filter(pl.col("share") > LARGE_SHARE, pl.col("len").sum().over("country") >= LARGE_COUNTRY)
        .sort("share", "country", descending=[True, False])
        .unique("country", keep="first", maintain_order=True)
    )
    if large.height:
        listed = [f"{row['country']} {row['share']:.0%}" for row in large.iter_rows(named=True)]
        what = f"one group holds more than {LARGE_SHARE:.0%} of the photos of {large.height} countries"
        print(f"warning: {what}; a smaller --radius-m makes smaller groups: {_some(listed)}", file=sys.stderr)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (" …" if len(names) > 12 else "")


def earlier_splits(frame: pl.DataFrame, manifest: Manifest, *, seed: int, val: float, test: float) -> pl.Series:
    """The split that each row of `frame` has by earlier runs with the same seed and shares; null where none binds.

    What a model was trained on must not become what it is tested on. A row that lost its split but not its group,
    being merged into another table or having given way to a better copy, has the one that the certificate of that
    run gives its group. Where tables were split in different ways before they were merged, nothing binds: the name
    of a group does not say which run it is from.
    """
    nothing = pl.Series("earlier", [None] * frame.height, dtype=pl.String)
    runs = list(_runs(manifest.history[0].params, manifest.last("split"))) if manifest.history else []
    wanted = {"seed": seed, "val": val, "test": test}
    if not runs or any(run.get(name) != value for run in runs for name, value in wanted.items()):
        return nothing
    split = frame["split"] if "split" in frame.columns else nothing
    if "group" not in frame.columns:
        return split.alias("earlier")
    names = frame["group"].filter(split.is_null()).drop_nulls().unique()
    moves = [(run.get("certificate") or {}).get("moved", {}) for run in runs]
    known = [_earlier_split(name, moves, seed=seed, val=val, test=test) for name in names]
    by_group = frame["group"].replace_strict(names, known, default=None, return_dtype=pl.String)
    return split.zip_with(split.is_not_null(), by_group).alias("earlier")


def _runs(begun: dict[str, Any], own: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """The parameters of a table's last split, or else of those of the tables that it was merged from."""
    if own is not None:
        yield own
        return
    for table in begun.get("inputs", ()):
        history = table["history"]
        last = next((line["params"] for line in reversed(history) if line["step"] == "split"), None)
        yield from _runs(history[0]["params"] if history else {}, last)


def _earlier_split(group: str, moves: Sequence[dict[str, str]], *, seed: int, val: float, test: float) -> str:
    """Where a group stood: as its hash has it unless it was moved. Where two tables may disagree train wins."""
    fell = split_at(position_of(group, seed), val, test)
    return min((moved.get(group, fell) for moved in moves), key=SPLITS.index)


def position_of(group: str, seed: int) -> float:
    """Where the hash of (seed, name) falls in [0, 1): the test begins at 0, then comes val, then train."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{group}".encode()).digest()[:8], "big") / 2**64


def split_at(position: float, val: float, test: float) -> str:
    """The split that a position falls into."""
    if position < test:
        return "test"
    return "val" if position < test + val else "train"


def stratify(groups: pl.DataFrame, *, val: float, test: float) -> pl.Series:
    """Return the split of each group of a table with `country`, `position` and `earlier` (a split or null).

    A group that has an earlier split keeps it. Of the others, a country's smallest positions go to the test, the
    next to val: as many as fall there by themselves, unless that is less or more than the country's share allows
    (see `_allowed`). So the splits of a country with many groups are those of the hash alone, whatever other
    groups there are, and a country with few has photos to be judged by. A country's only group is for training.
    """
    rows = groups.with_row_index("_row").sort("country", "position", "_row")
    earlier = rows["earlier"].replace_strict(list(SPLITS), list(range(3)), default=-1, return_dtype=pl.Int64)
    fixed, position = earlier.to_numpy(), rows["position"].to_numpy()
    parts = fixed.copy()
    start = 0
    for size in rows.group_by("country", maintain_order=True).len()["len"]:
        here = slice(start, start + size)
        parts[here] = _of_country(position[here], fixed[here], val, test)
        start += size
    placed = pl.DataFrame({"_row": rows["_row"], "split": parts}).sort("_row")
    return placed["split"].replace_strict([0, 1, 2], list(SPLITS), return_dtype=pl.String)


def _of_country(position: NDArray[np.float64], fixed: Parts, val: float, test: float) -> Parts:
    """The splits of one country's groups, which come by position."""
    free, count = np.flatnonzero(fixed < 0), len(fixed)
    held = np.bincount(fixed[fixed >= 0], minlength=3)
    drawn = position[free]
    low, high = _allowed(test, count, least=2, room=count - (1 if count < 3 or val == 0 else 2))
    to_test = int(np.clip((drawn < test).sum(), low - held[TEST], max(high - held[TEST], 0)))
    to_test = min(max(to_test, 0), free.size)
    low, high = _allowed(val, count, least=3, room=count - 1 - held[TEST] - to_test)
    falls = ((drawn >= test) & (drawn < test + val)).sum()
    to_val = int(np.clip(falls, low - held[VAL], max(high - held[VAL], 0)))
    to_val = min(max(to_val, 0), free.size - to_test)
    parts = fixed.copy()
    parts[free] = TRAIN
    parts[free[:to_test]] = TEST
    parts[free[to_test : to_test + to_val]] = VAL
    return parts


def _allowed(share: float, count: int, *, least: int, room: int) -> tuple[int, int]:
    """Fewest and most of a country's `count` groups that a split may have.

    Within `SLACK` of the share, and at least one where the country has `least` groups; `room` is what the other
    splits leave: none, where earlier runs have given it all away.
    """
    if share == 0 or count < least:
        return 0, 0
    high = max(0, min(ceil(share * count * (1 + SLACK)), room))
    return min(max(1, floor(share * count * (1 - SLACK))), high), high
