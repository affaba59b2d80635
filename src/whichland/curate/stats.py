"""Count a manifest by country, split, source and drop reason, and tell where cleaning took far more."""

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from whichland.curate.drop_rates import Excess, drop_rates, excesses
from whichland.geo.countries import country_name
from whichland.manifest import Manifest

SPLITS = ("train", "val", "test")
KEPT = pl.col("drop_reason").is_null()
PLACES = ("country", "region", "latitude")


@dataclass(frozen=True, kw_only=True)
class Stats:
    """The counts of a manifest; every table is sorted, the largest first."""

    rows: int
    kept: int
    by_country: pl.DataFrame  # country, name, kept, train, val, test, groups, dropped, drop_rate
    by_split: pl.DataFrame  # split, photos, groups, countries, largest_group
    by_source: pl.DataFrame  # source, photos, kept, countries
    by_drop_reason: pl.DataFrame  # drop_reason, photos, share
    drop_rates: dict[str, pl.DataFrame]  # by country, region and latitude, as far as known; see `drop_rates`
    excesses: list[Excess]  # the places that a reason has taken far more of than of the rest

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables by title, in order of printing."""
        return {
            "country": self.by_country,
            "split": self.by_split,
            "source": self.by_source,
            "drop reason": self.by_drop_reason,
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        tables = {f"by_{title.replace(' ', '_')}": table.to_dicts() for title, table in self.tables().items()}
        rates = {kind: table.to_dicts() for kind, table in self.drop_rates.items()}
        return {
            "rows": self.rows,
            "kept": self.kept,
            **tables,
            "drop_rates": rates,
            "excesses": [asdict(line) for line in self.excesses],
        }


def stats(manifest: Manifest) -> Stats:
    """Count the rows of a manifest, as far as the steps have come; what is not written yet counts as null."""
    wanted = {"country": pl.String, "drop_reason": pl.String, "split": pl.String, "group": pl.String}
    missing = [
        pl.lit(None, dtype=kind).alias(name) for name, kind in wanted.items() if name not in manifest.frame.columns
    ]
    frame = manifest.frame.with_columns(missing)
    kept = frame.filter(KEPT)
    return Stats(
        rows=frame.height,
        kept=kept.height,
        by_country=_by_country(frame),
        by_split=_by_split(kept),
        by_source=frame.group_by("source")
        .agg(photos=pl.len(), kept=KEPT.sum(), countries=pl.col("country").filter(KEPT).drop_nulls().n_unique())
        .sort("photos", "source", descending=[True, False]),
        by_drop_reason=frame.filter(~KEPT)
        .group_by("drop_reason")
        .agg(photos=pl.len(), share=pl.len() / max(frame.height, 1))
        .sort("photos", "drop_reason", descending=[True, False]),
        drop_rates={kind: table for kind in PLACES if (table := drop_rates(manifest, kind)).height},
        excesses=[line for kind in PLACES for line in excesses(manifest, kind)],
    )


def _by_country(frame: pl.DataFrame) -> pl.DataFrame:
    counts = frame.group_by("country").agg(
        KEPT.sum().alias("kept"),
        *[(KEPT & (pl.col("split") == part)).sum().alias(part) for part in SPLITS],
        pl.col("group").filter(KEPT).drop_nulls().n_unique().alias("groups"),
        (~KEPT).sum().alias("dropped"),
        (~KEPT).mean().alias("drop_rate"),
    )
    names = [country_name(code) if code else "(none)" for code in counts["country"]]
    return counts.insert_column(1, pl.Series("name", names, dtype=pl.String)).sort(
        "kept", "name", descending=[True, False]
    )


def _by_split(kept: pl.DataFrame) -> pl.DataFrame:
    sizes = pl.col("group").drop_nulls().value_counts().struct.field("count")
    table = (
        kept.filter(pl.col("split").is_not_null())
        .group_by("split")
        .agg(
            photos=pl.len(),
            share=pl.len() / max(kept.height, 1),
            groups=pl.col("group").n_unique(),
            largest_group=sizes.max(),
            countries=pl.col("country").n_unique(),
        )
    )
    order = pl.DataFrame({"split": SPLITS, "_order": range(len(SPLITS))})
    return table.join(order, on="split", how="left").sort("_order").drop("_order")
