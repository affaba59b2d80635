"""Charts as SVG text for pages: text is text, colours are the page's variables (light, dark, print), a few kilobytes.

One hue, and a second one that is dashed, so that everything reads in black and white. Each variable has a fallback,
so a chart that is saved alone is right too. Pictures for files (PNG) are drawn with matplotlib, not here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import ceil, floor, log10
from typing import Literal

import numpy as np

from whichland.statistics import Floats, Score

STYLE = (
    "<style>.wl{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:currentColor}"
    ".wl .soft{fill:var(--soft,#59636e)}.wl .head{font-weight:650;font-size:13px}.wl .small{font-size:10.5px}"
    ".wl .grid{stroke:var(--line,#d5dae0);fill:none}.wl .rule{stroke:currentColor;fill:none}"
    ".wl .cell,.wl .dot{fill:var(--cell,#0b3c6f)}.wl .on{fill:var(--paper,#fff)}"
    ".wl .ring{fill:var(--paper,#fff);stroke:var(--cell,#0b3c6f);stroke-width:1.6}"
    ".wl .line{fill:none;stroke:var(--cell,#0b3c6f);stroke-width:2;stroke-linejoin:round}"
    ".wl .bar{fill:none;stroke:var(--cell,#0b3c6f);stroke-width:2.4;stroke-opacity:.45}"
    ".wl .band{fill:var(--cell,#0b3c6f);stroke:var(--cell,#0b3c6f);stroke-linejoin:round;opacity:.2}"
    ".wl .second.line,.wl .second.bar{stroke:var(--other,#b4540a);stroke-dasharray:6 4}"
    ".wl .second.dot,.wl .second.name{fill:var(--other,#b4540a)}.wl .first.name{fill:var(--cell,#0b3c6f)}"
    ".wl .thin{stroke-width:1.5}.wl .mark{stroke:var(--soft,#59636e);stroke-dasharray:2 3;fill:none}</style>"
)
Look = Literal["first", "second"]
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """From values to pixels, straight or logarithmic."""

    low: float
    high: float
    begin: float  # pixel of low
    end: float
    ticks: tuple[float, ...]
    log: bool = False
    percent: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value; outside the axis: its end."""
        value = min(max(value, self.low), self.high)
        if self.log:
            part = log10(value / self.low) / log10(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.begin + (self.end - self.begin) * part

    def label(self, tick: float) -> str:
        """A tick's value for reading."""
        return f"{tick:.0%}" if self.percent else f"{tick:,.0f}" if abs(tick) >= 100 else f"{tick:.3g}"


def round_ticks(low: float, high: float) -> list[float]:
    """Four to six round values that enclose the range."""
    rough = max(high - low, 1e-12) / 4
    size = 10.0 ** floor(log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    first = floor(low / step + 1e-6)
    return [float(f"{step * n:.10g}") for n in range(first, max(ceil(high / step - 1e-6), first + 1) + 1)]


def straight(low: float, high: float, begin: float, end: float, *, percent: bool = False) -> Axis:
    """An axis with round ticks around the values."""
    ticks = tuple(round_ticks(low, high))
    return Axis(low=ticks[0], high=ticks[-1], begin=begin, end=end, ticks=ticks, percent=percent)


def logarithmic(low: float, high: float, begin: float, end: float) -> Axis:
    """An axis by factors, with ticks at 1, 2 and 5, or at 1 alone."""
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    ticks = [float(f"{digit}e{decade}") for decade in decades for digit in (1, 2, 5)]
    low, high = low / 1.12, high * 1.12
    inside = tuple(tick for tick in ticks if low <= tick <= high)
    if len(inside) > 7:  # of many, those of the decades alone
        inside = tuple(tick for tick in inside if f"{tick:e}".startswith("1.0"))
    return Axis(low=low, high=high, begin=begin, end=end, ticks=inside, log=True)


def text(words: str, x: float, y: float, anchor: str = "start", look: str = "", more: str = "") -> str:
    """A piece of text; `more` are further attributes."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{look}"{more}>{escape(words)}</text>'


def path(look: str, d: str, more: str = "") -> str:
    """A path of a look."""
    return f'<path class="{look}" d="{d}"{more}/>'


def through(points: Points) -> str:
    """A path's course through points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def dot(x: float, y: float, look: str = "dot", radius: float = 3) -> str:
    """A disc."""
    return f'<circle class="{look}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'


def svg(
    title: str,
    width: float,
    height: float,
    parts: Sequence[str],
    *,
    heading: str = "",
    font: float = 11.5,
    more: str = "",
) -> str:
    """The whole chart; `title` is for those who hear it, `heading` is printed over it, `more` are attributes."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="wl" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" font-size="{font:g}" role="img" aria-label="{escape(title)}"{more}>{STYLE}'
        + (text(heading, 0, 12, "start", "head") if heading else "")
        + "".join(parts)
        + "</svg>"
    )


def track(score: Score, ticks: Sequence[tuple[float, bool]] = (), *, low: float = 0.0) -> str:
    """A line from `low` (0 or -1) to 1 with interval, value and ticks (value, dashed); what is beyond is cut."""
    axis = Axis(low=low, high=1, begin=0, end=200, ticks=())
    dashes = {True: ' stroke-width="1.5" stroke-dasharray="2 2"', False: ' stroke-width="1.5"'}
    middle = f"M{axis.at(0):.1f} 7v6" if low else ""
    return (
        '<svg class="wl track" viewBox="-4 0 208 20" aria-hidden="true">'
        + path("rule", f"M0 10h200M0 7v6M200 7v6{middle}", ' stroke-width=".5"')
        + "".join(path("rule", f"M{axis.at(tick):.1f} 3v14", dashes[dashed]) for tick, dashed in ticks)
        + _shade(axis, score)
        + f"{dot(axis.at(score.value), 10, radius=4)}</svg>"
    )


def _shade(axis: Axis, score: Score) -> str:
    if score.low is None or score.high is None:
        return ""
    x, wide = axis.at(score.low), axis.at(score.high) - axis.at(score.low)
    return f'<rect class="cell" fill-opacity=".35" x="{x:.1f}" y="5" height="10" width="{max(1.0, wide):.1f}"/>'


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A chart with two axes, to be filled with bands, lines, dots and whiskers."""

    title: str
    across: str  # what the lower axis is
    x: Axis
    y: Axis
    width: int
    height: int

    def grid(self, *, upright: bool = False) -> list[str]:
        """Lines and numbers of both axes."""
        left, right = self.x.begin, self.x.end
        floor_y, top = self.y.begin, self.y.end
        parts = [text(self.across, right, self.height - 4, "end", "soft small")]
        for tick in self.y.ticks:
            y = self.y.at(tick)
            parts.append(path("grid", f"M{left:.1f} {y:.1f}H{right:.1f}"))
            parts.append(text(self.y.label(tick), left - 6, y + 4, "end", "soft small"))
        for tick in self.x.ticks:
            x = self.x.at(tick)
            if upright:
                parts.append(path("grid", f"M{x:.1f} {top:.1f}V{floor_y:.1f}"))
            parts.append(text(self.x.label(tick), x, floor_y + 15, "middle", "soft small"))
        return parts

    def points(self, x_P: Floats, y_P: Floats) -> list[tuple[float, float]]:
        """Pixels of values."""
        return [(self.x.at(x), self.y.at(y)) for x, y in zip(x_P.tolist(), y_P.tolist(), strict=True)]

    def band(self, x_P: Floats, low_P: Floats, high_P: Floats) -> str:
        """The area between two lines."""
        return path("band", through(self.points(x_P, high_P) + self.points(x_P, low_P)[::-1]) + "Z")

    def line(self, x_P: Floats, y_P: Floats, look: str = "") -> str:
        """A line through values."""
        return path(f"line {look}".rstrip(), through(self.points(x_P, y_P)))

    def whisker(self, x: float, score: Score) -> str:
        """A score with its interval, upright."""
        at = self.x.at(x)
        bar = ""
        if score.low is not None and score.high is not None:
            bar = path("bar", f"M{at:.1f} {self.y.at(score.low):.1f}V{self.y.at(score.high):.1f}")
        return bar + dot(at, self.y.at(score.value), radius=3.6)

    def svg(self, parts: Sequence[str]) -> str:
        """The chart around its parts."""
        return svg(self.title, self.width, self.height, parts, heading=self.title)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of finite values over epochs; `low` and `high` give it a band."""

    name: str
    x: Floats
    y: Floats
    look: Look = "first"
    dots: bool = False
    low: Floats | None = None
    high: Floats | None = None


def lines_svg(
    title: str,
    lines: Sequence[Line],
    *,
    end: float,
    percent: bool = False,
    y_range: tuple[float, float] | None = None,
    marks: Sequence[tuple[float, str]] = (),
) -> str:
    """Lines over epochs up to `end`, each named at its end; an empty text when there is nothing to draw.

    Without `y_range` the axis goes as far as the values do; `marks` are epochs to mark, each with a word.
    """
    lines = [line for line in lines if len(line.y)]
    if not lines:
        return ""
    width, height, top, floor_y, left = 440, 230, 30, 196, 50
    right = width - (96 if len(lines) > 1 else 18)  # room for the names of lines; a single one needs none
    whole = [tick for tick in round_ticks(0, end) if tick <= end + 1e-9 and tick == round(tick)]
    x_ticks = tuple(whole if len(whole) > 1 else [0, end])
    panel = Panel(
        title=title,
        across="epoch",
        x=Axis(low=0, high=end, begin=left, end=right, ticks=x_ticks),
        y=straight(*(y_range or _range(lines)), floor_y, top, percent=percent),
        width=width,
        height=height,
    )
    parts = panel.grid()
    for epoch, word in marks:
        x = panel.x.at(epoch)
        late = x > (left + right) / 2
        parts.append(path("mark", f"M{x:.1f} {top}V{floor_y}"))
        parts.append(text(word, x + (-4 if late else 4), floor_y - 5, "end" if late else "start", "soft small"))
    for line in lines:
        if line.low is not None and line.high is not None and len(line.x) > 1:
            parts.append(panel.band(line.x, line.low, line.high))
        if len(line.x) > 1:
            parts.append(panel.line(line.x, line.y, line.look))
        if line.dots or len(line.x) == 1:
            parts += [dot(x, y, f"dot {line.look}", 2.6) for x, y in panel.points(line.x, line.y)]
    if len(lines) > 1:
        ends = apart([panel.y.at(float(line.y[-1])) for line in lines], 14, floor_y)
        parts += [
            text(line.name, right + 10, at + 4, "start", f"name {line.look}")
            for line, at in zip(lines, ends, strict=True)
        ]
    return panel.svg(parts)


def _range(lines: Sequence[Line]) -> tuple[float, float]:
    """From zero, or from somewhat below the values where zero is far, to the highest value."""
    values = np.concatenate([each for line in lines for each in (line.y, line.low, line.high) if each is not None])
    low, high = float(values.min()), float(values.max())
    return (min(0.0, low) if low < high / 2 else low - (high - low) * 0.1), high if high > low else low + 1e-9


def apart(heights: Sequence[float], gap: float, lowest: float) -> list[float]:
    """Heights of names, moved down where they would overlap, up again where the last would be below `lowest`."""
    order = np.argsort(heights, kind="stable")
    placed = list(heights)
    for above, below in pairwise(order):
        placed[below] = max(placed[below], placed[above] + gap)
    over = max(0.0, placed[order[-1]] - lowest)
    return [height - over for height in placed]
