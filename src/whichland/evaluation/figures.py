"""Pictures for the report: SVG that takes its colours from the page (light, dark, print), photos as WebP.

Every figure is one hue from nothing to full, so it reads in black and white; text is real text. Colours are CSS
variables with a fallback, so a figure saved alone is right too.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whichland.geo.countries import COUNTRIES, country_name, region_order

NUMBERED = 26  # up to so many countries the cells carry their percentages, and a small variant fits a phone
TOOLTIPS = 60
SHRINK = 0.85  # a narrow page scales a matrix down so far, then scrolls
PHONE_PX = 318
LEGEND_PX = 280

STYLE = (
    "<style>.wl{font-family:system-ui,sans-serif;fill:currentColor}"
    ".wl .cell{fill:var(--cell,#0b3c6f)}.wl .on{fill:var(--paper,#fff)}.wl .soft{opacity:.7}"
    ".wl .rule{stroke:currentColor;fill:none}.wl .faint{stroke:currentColor;stroke-opacity:.25}"
    ".wl .line{fill:none;stroke:var(--cell,#0b3c6f);stroke-width:2}"
    ".wl .other{fill:none;stroke:var(--other,#b4540a);stroke-width:2;stroke-dasharray:6 4}"
    ".wl .dot{fill:var(--cell,#0b3c6f)}.wl .other-dot{fill:var(--other,#b4540a)}</style>"
)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where a confusion matrix is drawn, in pixels."""

    cell: int
    font: int
    left: int  # room for the names of the rows
    top: int
    right: int  # room for the names of the regions
    turned: bool  # codes over the columns stand upright
    numbers: bool


def confusion_svg(counts_KK: NDArray[np.int64], codes: Sequence[str], *, phone: bool = False) -> str:
    """Draw a confusion matrix: rows are true countries, shades their share of the row, regions set apart by lines.

    With `phone`, codes alone, narrow enough for a telephone.
    """
    order = region_order(codes)
    at = [list(codes).index(code) for code in order]
    counts = counts_KK[np.ix_(at, at)]
    grid = _phone_grid(len(order)) if phone else _grid(order)
    side = grid.cell * len(order)
    width = grid.left + max(side + grid.right, LEGEND_PX)
    height = grid.top + side + 34
    title = "Confusion matrix: rows true, columns guessed, shade the share of the row"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="wl" viewBox="0 0 {width} {height}" width="{width}" '
        f'style="max-width:{width}px;min-width:{round(width * SHRINK)}px" font-size="{grid.font}" role="img" '
        f'aria-label="{title}">{STYLE}',
        *_cells(counts, order, grid),
        *_names(order, grid, short=phone),
        *_regions(order, grid, named=not phone),
        _legend(grid, grid.top + side + 12),
        "</svg>",
    ]
    return "".join(parts)


def _grid(order: Sequence[str]) -> Grid:
    many = len(order)
    sizes = ((12, 34, 12), (NUMBERED, 24, 11), (TOOLTIPS, 13, 10), (len(COUNTRIES), 10, 8))
    cell, font = next((cell, font) for up_to, cell, font in sizes if many <= up_to)
    longest = max(len(country_name(code)) + 3 for code in order)
    regions = max(len(COUNTRIES[code].region) for code in order)
    wide = 0.58 * font
    return Grid(
        cell=cell,
        font=font,
        left=round(longest * wide) + 12,
        top=42,
        right=round(regions * wide) + 12,
        turned=many > NUMBERED,
        numbers=many <= NUMBERED,
    )


def _phone_grid(many: int) -> Grid:
    cell = min(28, (PHONE_PX - 24) // many)
    return Grid(cell=cell, font=9, left=22, top=36, right=2, turned=cell < 16, numbers=False)


def _cells(counts: NDArray[np.int64], order: Sequence[str], grid: Grid) -> list[str]:
    parts = []
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for row, column in np.argwhere(counts):
        share = float(shares[row, column])
        x, y = grid.left + column * grid.cell, grid.top + row * grid.cell
        tip = ""
        if len(order) <= TOOLTIPS:
            said = f"{country_name(order[row])}, guessed {country_name(order[column])}: "
            tip = f"<title>{escape(said)}{counts[row, column]} of {counts[row].sum()}</title>"
        parts.append(
            f'<rect class="cell" x="{x}" y="{y}" width="{grid.cell}" height="{grid.cell}" '
            f'fill-opacity="{shade(share):.2f}">{tip}</rect>'
        )
        if grid.numbers and share >= 0.045:
            ink = ' class="on"' if shade(share) > 0.5 else ""
            parts.append(text_at(f"{share * 100:.0f}", x + grid.cell / 2, y + grid.cell / 2 + 3.5, "middle", ink))
    return parts


def shade(share: float) -> float:
    """Opacity of a share of a row; small shares are lifted so that rare confusions show."""
    return float(share**0.6)


def _names(order: Sequence[str], grid: Grid, *, short: bool) -> list[str]:
    side, down = grid.cell * len(order), grid.font * 0.36
    parts = [
        text_at("guessed →", grid.left, 11, "start", ' class="soft"'),
        text_at("true ↓", grid.left - 5, 11, "end", ' class="soft"') if not short else "",
        f'<rect class="rule" x="{grid.left}" y="{grid.top}" width="{side}" height="{side}"/>',
    ]
    for at, code in enumerate(order):
        middle = (at + 0.5) * grid.cell
        name = code if short else f"{country_name(code)} {code}"
        parts.append(text_at(name, grid.left - 5, grid.top + middle + down, "end"))
        if grid.turned:
            x = grid.left + middle + down
            turn = f' transform="rotate(-90 {x:g} {grid.top - 4})"'
            parts.append(text_at(code, x, grid.top - 4, "start", turn))
        else:
            parts.append(text_at(code, grid.left + middle, grid.top - 5, "middle"))
    return parts


def _regions(order: Sequence[str], grid: Grid, *, named: bool) -> list[str]:
    """Lines between regions, thick ones between continents, and each region's name at its rows."""
    side = grid.cell * len(order)
    places = [(COUNTRIES[code].continent, COUNTRIES[code].region) for code in order]
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
            parts.append(text_at(places[begin][1], grid.left + side + 7, down, "start", ' class="soft"'))
    return parts


def _legend(grid: Grid, y: float) -> str:
    parts, x = [], float(grid.left)
    for share in (0.01, 0.1, 0.25, 0.5, 1.0):
        parts.append(
            f'<rect class="cell" x="{x}" y="{y}" width="12" height="12" fill-opacity="{shade(share):.2f}"/>'
            f'<rect class="rule" stroke-width=".5" x="{x}" y="{y}" width="12" height="12"/>'
        )
        parts.append(text_at(f"{share:.0%}", x + 16, y + 10, "start"))
        x += 28 + grid.font * 2.4
    return "".join(parts)


def text_at(text: str, x: float, y: float, anchor: str, attributes: str = "") -> str:
    """A piece of text as SVG; `attributes` begin with a space."""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{attributes}>{escape(text)}</text>'


Series = tuple[str, Sequence[tuple[float, float]]]  # a name and its points


def lines_svg(title: str, series: Sequence[Series], *, percent: bool = False) -> str:
    """Draw one or two lines over epochs; the first is whole, the second dashed, each named at its end."""
    x_S = [x for _, line in series for x, _ in line]
    top_value = 1.0 if percent else max(y for _, line in series for _, y in line) * 1.05 or 1.0
    axes = Axes(first=min(x_S), last=max(x_S), high=top_value)
    ends = [axes.place(*line[-1])[1] for _, line in series]
    if len(ends) == 2 and abs(ends[0] - ends[1]) < 13:  # the names would overlap: push them apart
        middle, up = sum(ends) / 2, 1 if ends[0] <= ends[1] else -1
        ends = [middle - 6.5 * up, middle + 6.5 * up]
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" class="wl" viewBox="0 0 360 190" width="360" height="190" '
        f'font-size="11" role="img" aria-label="{escape(title)} over epochs">{STYLE}',
        text_at(title, axes.left, 14, "start", ' font-weight="600"'),
        *_scales(axes, percent),
    ]
    for (name, line), end, kind in zip(series, ends, ("line", "other"), strict=False):
        placed = [axes.place(x, y) for x, y in line]
        x, y = placed[-1]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
        parts.append(f'<path class="{kind}" d="M{path}"/>')
        parts.append(f'<circle class="dot {kind}-dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
        parts.append(text_at(name, axes.left + axes.wide + 8, end + 4, "start"))
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True, kw_only=True)
class Axes:
    """From two values to pixels; those upward begin at zero."""

    first: float
    last: float
    high: float
    left: int = 38
    top: int = 26
    wide: int = 240
    tall: int = 130

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.first) / (self.last - self.first) if self.last > self.first else 0.5
        return self.left + self.wide * across, self.top + self.tall * (1 - y / self.high)


def _scales(axes: Axes, percent: bool) -> list[str]:
    bottom = axes.top + axes.tall
    parts = [text_at("epoch", axes.left + axes.wide, bottom + 28, "end", ' class="soft"')]
    for tick in np.linspace(0, axes.high, 5):
        y = axes.place(axes.first, float(tick))[1]
        said = f"{tick:.0%}" if percent else f"{tick:.2f}"
        parts.append(f'<path class="faint" d="M{axes.left} {y:g}h{axes.wide}"/>')
        parts.append(text_at(said, axes.left - 5, y + 4, "end", ' class="soft"'))
    shown = sorted({round(axes.first), round((axes.first + axes.last) / 2), round(axes.last)})
    placed = [(f"{epoch}", axes.place(epoch, 0)[0]) for epoch in shown]
    return parts + [text_at(said, x, bottom + 14, "middle", ' class="soft"') for said, x in placed]


def inline_image(pixels: NDArray[np.uint8], longest: int = 320) -> tuple[str, int, int]:
    """Shrink an H×W×3 picture to `longest` pixels and return it as a data: address, with width and height."""
    image = Image.fromarray(pixels)
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    image.save(encoded, "WEBP", quality=72, method=4)
    return "data:image/webp;base64," + base64.b64encode(encoded.getvalue()).decode(), *image.size
