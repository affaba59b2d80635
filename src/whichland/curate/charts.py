"""Draw how many photos each country has: by split, or before and after a step."""

from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whichland.curate.split import SPLITS
from whichland.curate.stats import Stats
from whichland.errors import UserError
from whichland.geo.countries import country_name
from whichland.manifest import Manifest
from whichland.printed import counted, install
from whichland.whole_file import whole_file

# Dark to light, so that the order survives a black-and-white print; colour-blind eyes can distinguish the hues.
BARS: dict[str, dict[str, Any]] = {
    "train": {"color": "#1f4e79"},
    "val": {"color": "#56b4e9", "hatch": "////"},
    "test": {"color": "#f0c36d"},
    "kept": {"color": "#1f4e79"},
    "before": {"color": "#b9cfe4", "height": 0.82},
    "after": {"color": "#1f4e79", "height": 0.44},
}
ROWS = 64  # countries that stand in one column of a page
LOGARITHMIC = 100  # times the smallest count from which on the axis is logarithmic


def chart(found: Stats, path: str | Path) -> Path:
    """Draw the kept photos of each country as horizontal bars, stacked by split, the largest on top.

    Raises UserError when there is nothing to draw or matplotlib (extra `train`) is missing.
    """
    table = found.by_country.filter((pl.col("kept") > 0) & pl.col("country").is_not_null())
    parts = [part for part in SPLITS if table[part].sum()] or ["kept"]
    title = f"{counted(int(table['kept'].sum()), 'photo')} of {counted(table.height, 'country', 'countries')}"
    return _draw(table["name"].to_list(), table.select(parts).to_numpy(), parts, path, title)


def in_use(manifest: Manifest, split: str | None = None, *, label: str = "country") -> dict[str, int]:
    """Photos of each label that are kept and, once balanced, not thinned out; of one split or of all."""
    rows = manifest.kept.drop_nulls(label)
    if "weight" in rows.columns:
        rows = rows.filter((pl.col("weight") > 0) | pl.col("weight").is_null())
    if split is not None:
        rows = rows.filter(pl.col("split") == split)
    return dict(rows[label].value_counts().iter_rows())


def before_and_after(
    before: dict[str, int], after: dict[str, int], path: str | Path, *, what: str, label: str = "country"
) -> Path:
    """Draw two counts of each label: a light bar for before, a dark one on it for after, the largest on top.

    `what` names the photos in the title, and `label` what they are counted by. Where the largest has a hundred times
    as many as the smallest, the scale is logarithmic. Raises as `chart` does.
    """
    codes = sorted({*before, *after}, key=lambda code: (-before.get(code, 0), -after.get(code, 0), code))
    counts = np.array([(before.get(code, 0), after.get(code, 0)) for code in codes]).reshape(-1, 2)
    (was, now), (were, are) = counts.sum(axis=0).tolist(), (counts > 0).sum(axis=0).tolist()
    plural = "countries" if label == "country" else f"values of {label}"
    title = f"{what}: {was:,} of {were} {plural} before, {now:,} of {are} after"
    names = [country_name(code) for code in codes] if label == "country" else codes
    return _draw(names, counts, ["before", "after"], path, title)


def _draw(names: list[str], counts: NDArray[np.integer], series: list[str], path: str | Path, title: str) -> Path:
    """Draw counts, countries × series; many countries stand in columns beside each other with one scale."""
    path = Path(path)
    if not names:
        raise UserError("no photo has a label: there is nothing to draw")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(f"a chart needs matplotlib: {install('train')}") from None
    columns = -(-len(names) // ROWS)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(7.5 if columns > 1 else 7, 1.3 + 0.155 * rows), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)  # can only be saved: no window, no state kept
    kinds = sorted(figure.canvas.get_supported_filetypes())
    if path.suffix[1:].lower() not in kinds:
        raise UserError(f"{path}: a chart is written as .{', .'.join(kinds)}")
    stacked = "before" not in series
    longest = counts.sum(axis=1).max() if stacked else counts.max()
    logarithmic = not stacked and longest > LOGARITHMIC * counts[counts > 0].min()
    for column, axes in enumerate(np.atleast_1d(figure.subplots(1, columns, sharex=True))):
        part = slice(column * rows, (column + 1) * rows)
        if logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.minorticks_off()
        _bars(axes, names[part], counts[part], series, stacked)
        axes.set_xlim(0.8 if logarithmic else 0, longest * (9 if logarithmic else 1.35))
        axes.set_ylim(rows - 0.4, -0.6)  # a shorter last column keeps the height of its bars
        axes.set_xlabel("photos, logarithmic" if logarithmic else "photos", fontsize=8)
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    if len(series) > 1:
        handles = figure.axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=len(series), frameon=False, fontsize=8)
    with whole_file(path) as partial:
        figure.savefig(partial, format=path.suffix[1:].lower())
    return path


def _bars(axes: Any, names: list[str], counts: NDArray[np.integer], series: list[str], stacked: bool) -> None:
    """One column of countries: bars end to end, or the second on the first."""
    places, left = np.arange(len(names)), np.zeros(len(names))
    for name, widths in zip(series, counts.T, strict=True):
        axes.barh(places, widths, left=left, label=name, **BARS[name], edgecolor="white", linewidth=0.3)
        left = left + widths * stacked
    for row, values in enumerate(counts.tolist()):
        if stacked or values[0] == values[1]:
            text = f" {sum(values) if stacked else values[0]:,}"
        else:
            text = " {:,} → {:,}".format(*values)
        end = sum(values) if stacked else max(*values, 1)
        axes.text(end, row, text, va="center", fontsize=6, color="#333333")
    axes.set_yticks(places, [shorten(name, 30, placeholder=" …") for name in names], fontsize=6.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0, pad=2)
    axes.tick_params(axis="x", labelsize=7)
