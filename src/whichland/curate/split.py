"""Tie related images into groups, put each whole group into train, val or test, and certify it."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import polars as pl

from whichland.curate.certificate import SPLITS, certify, plain
from whichland.curate.components import connected_components
from whichland.curate.earlier import earlier_splits
from whichland.curate.links import LinkConfig, links
from whichland.curate.stratify import position_of, split_at, stratify
from whichland.errors import UserError
from whichland.manifest import Manifest

READ = (
    *("image_id", "sequence", "panorama", "lat", "lon", "country", "drop_reason", "group", "split"),
    *("sha256", "phash", "brightness", "contrast"),
)
REPEATED = ("duplicate", "near_duplicate")
LARGE_SHARE, LARGE_COUNTRY = 0.1, 100  # a group this large a part of a country of so many photos is told of


@dataclass(frozen=True, kw_only=True)
class SplitConfig(LinkConfig):
    """How the images are tied together and divided."""

    seed: Annotated[int, "which of the possible splits"] = 0
    val: Annotated[float, "share of each country's groups for validation"] = 0.15
    test: Annotated[float, "share of each country's groups for the test"] = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.val >= 0 and self.test >= 0 and self.val + self.test < 1):
            raise UserError(f"val {self.val}, test {self.test}: shares are at least 0 and together below 1")


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
    # A repeated photo is left out itself, but its sequence still tells which images belong together.
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
    key = pl.lit("sequence/") + pl.col("sequence")
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
    return used | {"certificate": plain(certificate)}


def _warn_of_gaps(kept: pl.DataFrame, config: SplitConfig) -> None:
    for part, share in (("val", config.val), ("test", config.test)):
        present = kept.filter(pl.col("split") == part)["country"].unique()
        missing = sorted(set(kept["country"].unique()) - set(present))
        if share > 0 and missing:
            what = f"{len(missing)} of {kept['country'].n_unique()} countries have no {part} photo"
            print(f"warning: {what}, having too few groups: {_some(missing)}", file=sys.stderr)


def _warn_of_large_groups(kept: pl.DataFrame) -> None:
    """Tell of groups that decide alone what a country is trained or judged on: chains of near places do that."""
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
