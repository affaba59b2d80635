"""Count a manifest by country, split, source and drop reason, as tables and as a chart."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from whichland.errors import UserError
from whichland.geo.countries import country_name
from whichland.manifest import Manifest

SPLITS = ("train", "val", "test")
KEPT = pl.col("drop_reason").is_null()

# Dark to light, so that the order survives a black-and-white print; the hues are told apart by colour-blind eyes.
BARS: dict[str, dict[str, Any]] = {
    "train": {"color": "#1f4e79", "hatch": ""},
    "val": {"color": "#56b4e9", "hatch": "////"},
    "test": {"color": "#f0c36d", "hatch": ""},
    "kept": {"color": "#1f4e79", "hatch": ""},
}


@dataclass(frozen=True, kw_only=True)
class Stats:
    """The counts of a manifest; every table is sorted, the largest first."""

    rows: int
    kept: int
    by_country: pl.DataFrame  # country, name, kept, train, val, test, groups, dropped
    by_split: pl.DataFrame  # split, photos, groups, countries, largest_group
    by_source: pl.DataFrame  # source, photos, kept, countries
    by_drop_reason: pl.DataFrame  # drop_reason, photos, share

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
        return {"rows": self.rows, "kept": self.kept, **tables}


def stats(manifest: Manifest) -> Stats:
    """Count the rows of a manifest, as far as the steps have come; what is not written yet counts as null."""
    wanted = {"country": pl.String, "drop_reason": pl.String, "split": pl.String, "group": pl.String}
    missing = [
        pl.lit(None, dtype=kind).alias(name)
        for name, kind in wanted.items()
        if name not in manifest.frame.columns
    ]
    frame = manifest.frame.with_columns(missing)
    kept = frame.filter(KEPT)
    return Stats(
        rows=frame.height,
        kept=kept.height,
        by_country=_by_country(frame),
        by_split=_by_split(kept),
        by_source=frame.group_by("source")
        .agg(
            photos=pl.len(),
            kept=KEPT.sum(),
            countries=pl.col("country").filter(KEPT).drop_nulls().n_unique(),
        )
        .sort("photos", "source", descending=[True, False]),
        by_drop_reason=frame.filter(~KEPT)
        .group_by("drop_reason")
        .agg(photos=pl.len(), share=pl.len() / max(frame.height, 1))
        .sort("photos", "drop_reason", descending=[True, False]),
    )


def _by_country(frame: pl.DataFrame) -> pl.DataFrame:
    counts = frame.group_by("country").agg(
        KEPT.sum().alias("kept"),
        *[(KEPT & (pl.col("split") == part)).sum().alias(part) for part in SPLITS],
        pl.col("group").filter(KEPT).drop_nulls().n_unique().alias("groups"),
        (~KEPT).sum().alias("dropped"),
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


def chart(found: Stats, path: str | Path) -> Path:
    """Draw the kept photos of each country as horizontal bars, stacked by split, the largest on top.

    Raises UserError when there is nothing to draw or matplotlib (extra `train`) is missing.
    """
    table = found.by_country.filter((pl.col("kept") > 0) & pl.col("country").is_not_null())
    if not table.height:
        raise UserError("no photo has a country: there is nothing to draw")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("a chart needs matplotlib: pip install 'whichland[train]'") from None
    figure = Figure(figsize=(8, 1.4 + 0.24 * table.height), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    parts = [part for part in SPLITS if table[part].sum()] or ["kept"]
    left = [0] * table.height
    for part in parts:
        counts = table[part].to_list()
        axes.barh(
            table["name"].to_list(),
            counts,
            left=left,
            label=part,
            **BARS[part],
            edgecolor="white",
            linewidth=0.4,
        )
        left = [so_far + count for so_far, count in zip(left, counts, strict=True)]
    for row, total in enumerate(left):
        axes.text(total, row, f" {total:,}", va="center", fontsize=8, color="#333333")
    axes.invert_yaxis()
    axes.margins(x=0.08, y=0.01)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("photos", fontsize=9)
    axes.set_title(f"{sum(left):,} photos of {table.height} countries", loc="left", fontsize=10)
    if len(parts) > 1:
        axes.legend(loc="lower right", frameon=False, fontsize=9)
    figure.savefig(path)
    return Path(path)
