"""Pictures for the pages of an evaluation: the confusion matrix, the probabilities, and photos as WebP.

Every figure is one hue from nothing to full, so it reads in black and white.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whichland.charts import Panel, dot, path, straight, svg, text, through
from whichland.evaluation.probabilities import RiskCurve
from whichland.evaluation.reliability import Bin
from whichland.model.labels import LabelSpace

NUMBERED = 26  # up to so many countries the cells carry their percentages, and a small variant fits a phone
TOOLTIPS = 60
SHORT = 3  # characters of a code that fits between the cells of a telephone
SHRINK = 0.85  # a narrow page scales a matrix down so far, then scrolls
PHONE_PX = 318
LEGEND_PX = 280


@dataclass(frozen=True, kw_only=True)
class MatrixGrid:
    """Where a confusion matrix is drawn, in pixels."""

    cell: int
    font: int
    left: int  # room for the names of the rows
    top: int
    right: int  # room for the names of the regions
    turned: bool  # codes over the columns stand upright
    numbers: bool


def confusion_svg(counts_KK: NDArray[np.int64], labels: LabelSpace, *, phone: bool = False) -> str:
    """Draw a confusion matrix: rows are true labels, shades their share of the row, lines part what they lie in.

    With `phone`, codes alone, narrow enough for a telephone.
    """
    order = labels.in_order()
    at = [labels.index[code] for code in order]
    counts = counts_KK[np.ix_(at, at)]
    grid = _phone_grid(len(order)) if phone else _grid(order, labels)
    side = grid.cell * len(order)
    width = grid.left + max(side + grid.right, LEGEND_PX)
    parts = [
        *_cells(counts, order, grid, labels),
        *_names(order, grid, labels, short=phone),
        *_regions(order, grid, labels, named=not phone),
        _legend(grid, grid.top + side + 12),
    ]
    title = "Confusion matrix: rows true, columns guessed, shade the share of the row"
    narrowest = f' style="max-width:{width}px;min-width:{round(width * SHRINK)}px"'
    return svg(title, width, grid.top + side + 34, parts, font=grid.font, more=narrowest)


def _grid(order: Sequence[str], labels: LabelSpace) -> MatrixGrid:
    many = len(order)
    sizes = ((12, 34, 12), (NUMBERED, 24, 11), (TOOLTIPS, 13, 10), (many, 10, 8))
    cell, font = next((cell, font) for up_to, cell, font in sizes if many <= up_to)
    longest = max(len(_row_name(code, labels)) for code in order)
    code = max(map(len, order))
    regions = max((len(place) for places in _places(order, labels) for place in places[-1:]), default=0)
    wide = 0.58 * font
    turned = many > NUMBERED or code * wide > cell
    return MatrixGrid(
        cell=cell,
        font=font,
        left=round(longest * wide) + 12,
        top=max(42, round(code * wide) + 18) if turned else 42,
        right=round(regions * wide) + 12,
        turned=turned,
        numbers=many <= NUMBERED,
    )


def _phone_grid(many: int) -> MatrixGrid:
    cell = min(28, (PHONE_PX - 24) // many)
    return MatrixGrid(cell=cell, font=9, left=22, top=36, right=2, turned=cell < 16, numbers=False)


def _cells(counts: NDArray[np.int64], order: Sequence[str], grid: MatrixGrid, labels: LabelSpace) -> list[str]:
    parts = []
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for row, column in np.argwhere(counts):
        share = float(shares[row, column])
        x, y = grid.left + column * grid.cell, grid.top + row * grid.cell
        tip = ""
        if len(order) <= TOOLTIPS:
            said = f"{labels.name(order[row])}, guessed {labels.name(order[column])}: "
            tip = f"<title>{escape(said)}{counts[row, column]} of {counts[row].sum()}</title>"
        parts.append(
            f'<rect class="cell" x="{x}" y="{y}" width="{grid.cell}" height="{grid.cell}" '
            f'fill-opacity="{shade(share):.2f}">{tip}</rect>'
        )
        if grid.numbers and share >= 0.045:
            ink = "on" if shade(share) > 0.5 else ""
            parts.append(text(f"{share * 100:.0f}", x + grid.cell / 2, y + grid.cell / 2 + 3.5, "middle", ink))
    return parts


def shade(share: float) -> float:
    """Opacity of a share of a row; small shares are lifted so that rare confusions show."""
    return float(share**0.6)


def _names(order: Sequence[str], grid: MatrixGrid, labels: LabelSpace, *, short: bool) -> list[str]:
    side, down = grid.cell * len(order), grid.font * 0.36
    parts = [
        text("guessed →", grid.left, 11, "start", "soft"),
        text("true ↓", grid.left - 5, 11, "end", "soft") if not short else "",
        f'<rect class="rule" x="{grid.left}" y="{grid.top}" width="{side}" height="{side}"/>',
    ]
    for at, code in enumerate(order):
        middle = (at + 0.5) * grid.cell
        name = code if short else _row_name(code, labels)
        parts.append(text(name, grid.left - 5, grid.top + middle + down, "end"))
        if grid.turned:
            x = grid.left + middle + down
            turn = f' transform="rotate(-90 {x:g} {grid.top - 4})"'
            parts.append(text(code, x, grid.top - 4, more=turn))
        else:
            parts.append(text(code, grid.left + middle, grid.top - 5, "middle"))
    return parts


def _row_name(code: str, labels: LabelSpace) -> str:
    name = labels.name(code)
    return code if name == code else f"{name} {code}"


def _places(order: Sequence[str], labels: LabelSpace) -> list[tuple[str, ...]]:
    """What each label lies in at the next two levels, the upper one first, by name."""
    above = labels.levels[2:0:-1]
    return [tuple(labels.at(level).name(str(labels.named(code, level))) for level in above) for code in order]


def _regions(order: Sequence[str], grid: MatrixGrid, labels: LabelSpace, *, named: bool) -> list[str]:
    """Lines between regions, thick ones between continents, and each region's name at its rows."""
    side = grid.cell * len(order)
    places = _places(order, labels)
    if not places[0]:
        return []
    begins = [at for at in range(len(order)) if at == 0 or places[at] != places[at - 1]]
    parts = []
    for begin, end in zip(begins, [*begins[1:], len(order)], strict=True):
        if begin:
            thick = 1.6 if places[begin][0] != places[begin - 1][0] else 0.5
            offset = begin * grid.cell
            x, y = grid.left + offset, grid.top + offset
            parts.append(
                f'<path class="rule" stroke-width="{thick}" d="M{grid.left} {y}h{side}M{x} {grid.top}v{side}"/>'
            )
        if named:
            down = grid.top + (begin + end) / 2 * grid.cell + grid.font * 0.36
            parts.append(text(places[begin][-1], grid.left + side + 7, down, "start", "soft"))
    return parts


def _legend(grid: MatrixGrid, y: float) -> str:
    parts, x = [], float(grid.left)
    for share in (0.01, 0.1, 0.25, 0.5, 1.0):
        parts.append(
            f'<rect class="cell" x="{x}" y="{y}" width="12" height="12" fill-opacity="{shade(share):.2f}"/>'
            f'<rect class="rule" stroke-width=".5" x="{x}" y="{y}" width="12" height="12"/>'
        )
        parts.append(text(f"{share:.0%}", x + 16, y + 10, "start"))
        x += 28 + grid.font * 2.4
    return "".join(parts)


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
            f'height="{bottom - y:.1f}"><title>{words} ({score.low:.0%} to {score.high:.0%})</title></rect>'
        )
        parts.append(path("line", f"M{x:.1f} {y:.1f}h{wide:.1f}"))
        middle, top = panel.x.at(found.probabilities), panel.y.at(score.high)
        tall = panel.y.at(score.low) - top
        whisker = f"M{middle:.1f} {top:.1f}v{tall:.1f}M{middle - 3:.1f} {top:.1f}h6m-6 {tall:.1f}h6"
        parts += [path("line thin", whisker), dot(middle, y)]
    corners = (panel.x.at(0), panel.y.at(0)), (panel.x.at(1), panel.y.at(1))
    parts.append(path("second line", through(corners)))
    parts += [path("second line", f"M{panel.x.end - 68:.1f} 20h24"), text("honest", panel.x.end, 24, "end", "small")]
    return panel.svg(parts)


def risk_svg(curve: RiskCurve) -> str:
    """The share of wrong answers over the share that is answered, surest first, with its 95 % band."""
    highest = max(0.1, min(1.0, float(curve.high.max())))
    panel = _shares_panel("Wrong, when only the surest are answered", "share of the photos answered", highest)
    flat = panel.y.at(curve.unordered)
    return panel.svg(
        [
            *panel.grid(),
            panel.band(curve.coverage, curve.low, curve.high),
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
