"""Pictures for the pages of an evaluation: the confusion matrix, the probabilities, the sources, photos as WebP.

Every figure is one hue from nothing to full, so it reads in black and white.
"""

import base64
import io
from collections.abc import Sequence
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Template
from numpy.typing import NDArray
from PIL import Image

from whichland.charts import Panel, dot, path, straight, svg, text, through
from whichland.evaluation.cross_source_matrix import OTHERS, CrossSource, Transfer
from whichland.evaluation.probabilities import Bin, RiskCurve
from whichland.model.labels import LabelSpace
from whichland.templates import templates_beside
from whichland.whole_file import whole_file

NUMBERED = 26  # up to so many countries the cells carry their percentages, and a small variant fits a phone
TOOLTIPS = 60
SHORT = 3  # characters of a code that fits between the cells of a telephone
SHRINK = 0.85  # a narrow page scales a matrix down so far, then scrolls
PHONE_PX = 318
LEGEND_PX = 280

SIDE = 1.35  # inches a cell of the matrix of sources
LONG = 22  # characters of a name that fit beside the rows
DARK = 0.7  # from this macro-F1 on white numbers are the ones that stand out


@cache
def _confusion_template() -> Template:
    return templates_beside(__file__).get_template("confusion.svg.j2")


def confusion_svg(counts_KK: NDArray[np.int64], labels: LabelSpace, *, phone: bool = False) -> str:
    """Draw a confusion matrix: rows are true labels, shades their share of the row, lines part what they lie in.

    With `phone`, codes alone, narrow enough for a telephone.
    """
    order = labels.in_order()
    names = [labels.name(code) for code in order]
    rows = [code if name == code else f"{name} {code}" for code, name in zip(order, names, strict=True)]
    above = labels.levels[2:0:-1]  # what each label lies in at the next two levels, the upper one first, by name
    places = [tuple(labels.at(level).name(str(labels.named(code, level))) for level in above) for code in order]
    size = (
        _phone_size(len(order))
        if phone
        else _size(order, rows, max(len(place[-1]) if place else 0 for place in places))
    )
    cell, left, top = size["cell"], size["left"], size["top"]
    at = [labels.index[code] for code in order]
    counts = counts_KK[np.ix_(at, at)]
    of_K = counts.sum(axis=1)
    cells = []
    for (row, column), count in np.ndenumerate(counts):
        if count:
            at_cell = {"x": left + column * cell, "y": top + row * cell, "row": row, "column": column}
            share = count / of_K[row]
            cells.append(at_cell | {"count": count, "of": of_K[row], "share": share, "shade": shade(share)})
    regions, begin = [], 0
    for place, of in groupby(places) if above else ():
        end = begin + len(list(of))
        other = begin > 0 and place[0] != places[begin - 1][0]
        regions.append({"begin": begin, "end": end, "name": place[-1], "other_continent": other})
        begin = end
    side = cell * len(order)
    inside = _confusion_template().render(
        **{"cells": cells, "regions": regions, "codes": order, "names": names, "rows": rows, "many": len(order)},
        **{"side": side, "down": size["font"] * 0.36, "phone": phone, "numbered": NUMBERED, "tooltips": TOOLTIPS},
        legend=[(share, shade(share)) for share in (0.01, 0.1, 0.25, 0.5, 1.0)],
        **size,
    )
    width = left + max(side + size["right"], LEGEND_PX)
    narrowest = f' style="max-width:{width}px;min-width:{round(width * SHRINK)}px"'
    title = "Confusion matrix: rows true, columns guessed, shade the share of the row"
    return svg(title, width, top + side + 34, [inside], font=size["font"], more=narrowest)


def shade(share: float) -> float:
    """Opacity of a share of a row; small shares are lifted so that rare confusions show."""
    return float(share**0.6)


def _size(order: Sequence[str], rows: Sequence[str], regions: int) -> dict[str, Any]:
    """Pixels of a cell, a letter and the margins, and whether the codes over the columns stand upright.

    `rows` are the names beside the rows, `regions` the most letters of a region's name.
    """
    many = len(order)
    sizes = ((12, 34, 12), (NUMBERED, 24, 11), (TOOLTIPS, 13, 10), (many, 10, 8))
    cell, font = next((cell, font) for up_to, cell, font in sizes if many <= up_to)
    code, wide = max(map(len, order)), 0.58 * font
    turned = many > NUMBERED or code * wide > cell
    top = max(42, round(code * wide) + 18) if turned else 42
    left, right = (round(letters * wide) + 12 for letters in (max(map(len, rows)), regions))
    return {"cell": cell, "font": font, "left": left, "top": top, "right": right, "turned": turned}


def _phone_size(many: int) -> dict[str, Any]:
    cell = min(28, (PHONE_PX - 24) // many)
    return {"cell": cell, "font": 9, "left": 22, "top": 36, "right": 2, "turned": cell < 16}


def reliability_svg(bins: Sequence[Bin]) -> str:
    """The share that was right over the first guess's probability: a bar a bin with its interval, beside y = x."""
    panel = _shares_panel("Right, by the probabilities given", "probabilities of the first guess", 1.0)
    parts = panel.grid()
    edges = [bins[0].low, *((left.high + right.low) / 2 for left, right in pairwise(bins)), bins[-1].high]
    bottom = panel.y.begin
    for found, (low, high) in zip(bins, pairwise(edges), strict=True):
        score = found.right
        x, y = panel.x.at(low), panel.y.at(score.value)
        wide = max(2.0, panel.x.at(high) - x - 1)
        words = f"probabilities {found.probabilities:.0%} on average, {score.value:.0%} of {found.photos} right"
        parts.append(
            f'<rect class="cell" fill-opacity=".3" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" '
            f'height="{bottom - y:.1f}"><title>{words} ({score.within(".0%")})</title></rect>'
        )
        parts.append(path("line", f"M{x:.1f} {y:.1f}h{wide:.1f}"))
        middle = panel.x.at(found.probabilities)
        if score.low is not None and score.high is not None:
            top, tall = panel.y.at(score.high), panel.y.at(score.low) - panel.y.at(score.high)
            whisker = f"M{middle:.1f} {top:.1f}v{tall:.1f}M{middle - 3:.1f} {top:.1f}h6m-6 {tall:.1f}h6"
            parts.append(path("line thin", whisker))
        parts.append(dot(middle, y))
    corners = (panel.x.at(0), panel.y.at(0)), (panel.x.at(1), panel.y.at(1))
    parts.append(path("second line", through(corners)))
    parts += [path("second line", f"M{panel.x.end - 68:.1f} 20h24"), text("honest", panel.x.end, 24, "end", "small")]
    return panel.svg(parts)


def risk_svg(curve: RiskCurve) -> str:
    """The share of wrong answers over the share that is answered, surest first, with its 95 % band."""
    highest = max(0.1, float((curve.risk if curve.high is None else curve.high).max()))
    panel = _shares_panel("Wrong, when only the surest are answered", "share of the photos answered", highest)
    flat = panel.y.at(curve.unordered)
    return panel.svg(
        [
            *panel.grid(),
            "" if curve.low is None or curve.high is None else panel.band(curve.coverage, curve.low, curve.high),
            panel.line(curve.coverage, curve.risk),
            path("second line", f"M{panel.x.begin:.1f} {flat:.1f}H{panel.x.end:.1f}"),
            text("answering at random", panel.x.begin + 4, flat - 5, "start", "soft small"),
        ]
    )


def _shares_panel(title: str, across: str, highest: float) -> Panel:
    """A panel of shares over shares."""
    x, y = straight(0, 1, 40, 340, percent=True), straight(0, highest, 230, 30, percent=True)
    return Panel(title=title, across=across, x=x, y=y, width=358, height=266)


def inline_image(pixels: NDArray[np.uint8], longest: int = 320) -> tuple[str, int, int]:
    """Shrink an H×W×3 picture to `longest` pixels and return it as a data: address, with width and height."""
    image = Image.fromarray(pixels)
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    image.save(encoded, "WEBP", quality=72, method=4)
    return "data:image/webp;base64," + base64.b64encode(encoded.getvalue()).decode(), *image.size


def draw_matrix(result: CrossSource, out: Path) -> None:
    """Draw rows for the training sources, columns for the test sources, the hardest first; write a PNG."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

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
        axes.add_patch(Rectangle((x, y), 1, 1, facecolor=paper, edgecolor="white"))
        _write_numbers(axes, cell, x, y)
        if not cell.unseen:
            frame = Rectangle((x + 0.02, y + 0.02), 0.96, 0.96, fill=False, edgecolor="0.2")
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
        (0.58, score.within(".0f", 100), 9 if score.low is not None else 6),
        (0.76, f"{len(cell.countries)} countries", 7.5),
        (0.88, f"{cell.photos:,} photos", 7.5),
    )
    for down, words, size in lines:
        axes.text(x + 0.5, y + down, words, ha="center", va="center", fontsize=size, color=ink)


def _short(name: str) -> str:
    return name if len(name) <= LONG else name[: LONG - 1] + "…"
