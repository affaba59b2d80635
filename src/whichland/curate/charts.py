"""Draw how many photos each country has: by split, or before and after a step."""

from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import polars as pl

from whichland.curate.certificate import SPLITS
from whichland.curate.stats import Stats
from whichland.errors import UserError
from whichland.geo.countries import country_name
from whichland.manifest import Manifest
from whichland.whole_file import whole_file

# Dark to light, so that the order survives a black-and-white print; colour-blind eyes can distinguish the hues.
BARS: dict[str, dict[str, Any]] = {
    "train": {"color": "#1f4e79", "hatch": ""},
    "val": {"color": "#56b4e9", "hatch": "////"},
    "test": {"color": "#f0c36d", "hatch": ""},
    "kept": {"color": "#1f4e79", "hatch": ""},
}
LIGHT, DARK = "#b9cfe4", "#1f4e79"

ROWS = 64  # countries that stand in one column of a page
LOGARITHMIC = 100  # times the smallest count from which on the axis is logarithmic


def chart(found: Stats, path: str | Path) -> Path:
    """Draw the kept photos of each country as horizontal bars, stacked by split, the largest on top.

    Raises UserError when there is nothing to draw or matplotlib (extra `train`) is missing.
    """
    table = found.by_country.filter((pl.col("kept") > 0) & pl.col("country").is_not_null())
    if not table.height:
        raise UserError("no photo has a country: there is nothing to draw")
    figure = _figure(8, 1.4 + 0.24 * table.height)
    axes = figure.subplots()
    parts = [part for part in SPLITS if table[part].sum()] or ["kept"]
    left = [0] * table.height
    for part in parts:
        counts = table[part].to_list()
        names = table["name"].to_list()
        axes.barh(names, counts, left=left, label=part, **BARS[part], edgecolor="white", linewidth=0.4)
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
    return _save(figure, path)


def in_use(manifest: Manifest, split: str | None = None) -> dict[str, int]:
    """Photos of each country that are kept and, once balanced, not thinned out; of one split or of all."""
    rows = manifest.kept.drop_nulls("country")
    if "weight" in rows.columns:
        rows = rows.filter((pl.col("weight") > 0) | pl.col("weight").is_null())
    if split is not None:
        rows = rows.filter(pl.col("split") == split)
    return dict(rows["country"].value_counts().iter_rows())


def before_and_after(before: dict[str, int], after: dict[str, int], path: str | Path, *, what: str) -> Path:
    """Draw two counts of each country: a light bar for before, a dark one on it for after, the largest on top.

    `what` names the photos in the title. Many countries stand in columns beside each other with one scale; where
    the largest has a hundred times as many as the smallest, the scale is logarithmic.
    """
    codes = sorted({*before, *after}, key=lambda code: (-before.get(code, 0), -after.get(code, 0), code))
    if not codes:
        raise UserError("no photo has a country: there is nothing to draw")
    columns = -(-len(codes) // ROWS)
    rows = -(-len(codes) // columns)
    figure = _figure(7.5 if columns > 1 else 7, 1.3 + 0.155 * rows)
    counts = np.array([(before.get(code, 0), after.get(code, 0)) for code in codes])
    logarithmic = counts.max() > LOGARITHMIC * counts[counts > 0].min()
    for column, axes in enumerate(np.atleast_1d(figure.subplots(1, columns, sharex=True))):
        part = slice(column * rows, (column + 1) * rows)
        _bars(axes, [country_name(code) for code in codes[part]], counts[part], logarithmic)
        axes.set_xlim(0.8 if logarithmic else 0, counts.max() * (9 if logarithmic else 1.35))
        axes.set_ylim(rows - 0.4, -0.6)  # a shorter last column keeps the height of its bars
        axes.set_xlabel("photos, logarithmic" if logarithmic else "photos", fontsize=8)
    both = [f"{total:,}" for total in counts.sum(axis=0).tolist()]
    used = [int(count) for count in (counts > 0).sum(axis=0)]
    figure.suptitle(
        f"{what}: {both[0]} of {used[0]} countries before, {both[1]} of {used[1]} after",
        x=0.01, ha="left", fontsize=9,
    )  # fmt: skip
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=8
    )
    return _save(figure, path)


def _bars(axes: Any, names: list[str], counts: np.ndarray, logarithmic: bool) -> None:
    """One column of countries."""
    places = np.arange(len(names))
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.minorticks_off()
    axes.barh(places, counts[:, 0], height=0.82, color=LIGHT, label="before")
    axes.barh(places, counts[:, 1], height=0.44, color=DARK, label="after")
    for row, (old, new) in enumerate(counts.tolist()):
        text = f" {old:,}" if old == new else f" {old:,} → {new:,}"
        axes.text(max(old, new, 1), row, text, va="center", fontsize=6, color="#333333")
    axes.set_yticks(places, [shorten(name, 30, placeholder=" …") for name in names], fontsize=6.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0, pad=2)
    axes.tick_params(axis="x", labelsize=7)


def _figure(width: float, height: float) -> Any:
    """An empty figure in inches that can only be saved: no window, no state kept."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("a chart needs matplotlib: pip install 'whichland[train]'") from None
    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: str | Path) -> Path:
    path = Path(path)
    kinds = sorted(figure.canvas.get_supported_filetypes())
    if path.suffix[1:].lower() not in kinds:
        raise UserError(f"{path}: a chart is written as .{', .'.join(kinds)}")
    with whole_file(path) as partial:
        figure.savefig(partial, format=path.suffix[1:].lower())
    return path
