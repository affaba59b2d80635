"""The matrix of train and test sources as a picture: every cell with its numbers, the shade its macro-F1."""

from pathlib import Path
from typing import Any

from whichland.evaluation.cross_source_matrix import OTHERS, CrossSource, Transfer
from whichland.whole_file import whole_file

SIDE = 1.35  # inches a cell
LONG = 22  # characters of a name that fit beside the rows
DARK = 0.7  # from this macro-F1 on white numbers are the ones that stand out


def draw_matrix(result: CrossSource, out: Path) -> None:
    """Draw rows for the training sources, columns for the test sources, the hardest first; write a PNG."""
    import matplotlib
    from matplotlib.figure import Figure

    trained = {cell.trained_on for cell in result.cells}
    rows = [*(source for source in result.sources if source in trained), *([OTHERS] if OTHERS in trained else [])]
    wide, tall = len(result.sources), len(rows)
    figure = Figure(figsize=(2.6 + SIDE * wide, 1.7 + SIDE * tall), layout="constrained")
    axes: Any = figure.add_subplot()
    shades = matplotlib.colormaps["Blues"]
    for cell in result.cells:
        x, y = result.sources.index(cell.tested_on), rows.index(cell.trained_on)
        value = cell.macro_f1.value if cell.macro_f1 else 0.0
        paper = shades(0.05 + 0.9 * value) if cell.macro_f1 else "white"
        axes.add_patch(matplotlib.patches.Rectangle((x, y), 1, 1, facecolor=paper, edgecolor="white"))
        _write_numbers(axes, cell, x, y)
        if not cell.unseen:
            frame = matplotlib.patches.Rectangle((x + 0.02, y + 0.02), 0.96, 0.96, fill=False, edgecolor="0.2")
            axes.add_patch(frame)
    if OTHERS in trained and len(rows) > 1:
        axes.axhline(len(rows) - 1, color="0.2", linewidth=1.5)
    axes.set(xlim=(0, wide), ylim=(tall, 0), aspect="equal", ylabel="trained on")
    axes.set_xticks([at + 0.5 for at in range(wide)], [_short(name) for name in result.sources], rotation=20)
    axes.set_yticks([at + 0.5 for at in range(tall)], [_short(name) for name in rows])
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("tested on")
    axes.spines[:].set_visible(False)
    figure.suptitle(_headline(result), fontsize=11, x=0.02, ha="left")
    figure.supxlabel("macro-F1, %, with the 95% interval; framed: tested on its own source", fontsize=8, color="0.35")
    with whole_file(out) as partial:
        figure.savefig(partial, format="png", dpi=110)


def _headline(result: CrossSource) -> str:
    worst = result.worst
    if worst is None or worst.macro_f1 is None:
        return "No two sources share a country"
    return f"Worst source: {_short(worst.tested_on)}\nmacro-F1 {worst.macro_f1} unseen"


def _write_numbers(axes: Any, cell: Transfer, x: int, y: int) -> None:
    if cell.macro_f1 is None:
        axes.text(x + 0.5, y + 0.5, "no country\nshared", ha="center", va="center", fontsize=8, color="0.4")
        return
    score, ink = cell.macro_f1, "white" if cell.macro_f1.value > DARK else "black"
    lines = (
        (0.36, f"{100 * score.value:.1f}", 15),
        (0.58, f"{100 * score.low:.0f} to {100 * score.high:.0f}", 9),
        (0.76, f"{len(cell.countries)} countries", 7.5),
        (0.88, f"{cell.photos:,} photos", 7.5),
    )
    for down, text, size in lines:
        axes.text(x + 0.5, y + down, text, ha="center", va="center", fontsize=size, color=ink)


def _short(name: str) -> str:
    return name if len(name) <= LONG else name[: LONG - 1] + "…"
