"""Line charts as SVG text for a page: colours from the page's variables, text as text, a few kilobytes each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from math import ceil, floor, log10

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WIDTH, HEIGHT = 440, 230
LEFT, TOP, BOTTOM = 50, 30, 34
NAMES, ALONE = 96, 18  # room at the right for the names of lines, and where a single one needs none


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of finite values; `low` and `high` give it a band, which is a faint line where they are equal."""

    name: str
    x: Floats
    y: Floats
    look: str = "first"  # a class of the page: first, second
    dots: bool = False
    low: Floats | None = None
    high: Floats | None = None


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Lines over epochs."""

    title: str
    lines: Sequence[Line]
    end: float  # last epoch of the axis
    unit: str = ""  # "%" shows shares as percentages
    y_range: tuple[float, float] | None = None  # as far as the values go when None
    marks: Sequence[tuple[float, str]] = field(default_factory=tuple)  # epochs to mark, with a word

    def svg(self) -> str:
        """The chart as one <svg> element; an empty text when there is nothing to draw."""
        lines = [line for line in self.lines if len(line.y)]
        if not lines:
            return ""
        low, high = self.y_range or _range(lines)
        ticks = _ticks(low, high)
        low, high = min(low, ticks[0]), max(high, ticks[-1])
        place = _Place(self.end, low, high, WIDTH - (NAMES if len(lines) > 1 else ALONE))
        parts = [
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.title)}">',
            _text(LEFT, 16, self.title, "start", "title"),
            *_scales(place, ticks, self.unit),
            *_marks(place, self.marks),
        ]
        for line in lines:
            parts += _drawn(line, place)
        if len(lines) > 1:
            ends = _apart([place.y(line.y[-1]) for line in lines])
            parts += [
                _text(place.right + 10, end + 4, line.name, "start", f"name {line.look}")
                for line, end in zip(lines, ends, strict=True)
            ]
        return "".join([*parts, "</svg>"])


@dataclass(frozen=True)
class _Place:
    """From epochs and values to pixels."""

    last: float  # epoch
    low: float
    high: float
    right: int  # pixel where the axis ends

    def x(self, value: float) -> float:
        return LEFT + (self.right - LEFT) * value / self.last

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def _range(lines: Sequence[Line]) -> tuple[float, float]:
    """From zero, or from somewhat below the values where zero is far, to the highest value."""
    values = np.concatenate([each for line in lines for each in (line.y, line.low, line.high) if each is not None])
    low, high = float(values.min()), float(values.max())
    return (min(0.0, low) if low < high / 2 else low - (high - low) * 0.1), high if high > low else low + 1e-9


def _ticks(low: float, high: float) -> list[float]:
    """Four to six round values that enclose the range."""
    rough = max(high - low, 1e-12) / 4
    size = 10.0 ** floor(log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    return [step * number for number in range(floor(low / step + 1e-6), ceil(high / step - 1e-6) + 1)]


def _scales(place: _Place, ticks: Sequence[float], unit: str) -> list[str]:
    parts = []
    for tick in ticks:
        y = place.y(tick)
        said = f"{tick:.0%}" if unit == "%" else f"{tick:,.0f}" if abs(tick) >= 100 else f"{tick:.3g}"
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{place.right}"/>')
        parts.append(_text(LEFT - 6, y + 4, said, "end", "soft"))
    whole = [tick for tick in _ticks(0, place.last) if tick <= place.last + 1e-9 and tick == round(tick)]
    parts += [
        _text(place.x(tick), HEIGHT - BOTTOM + 16, f"{tick:g}", "middle", "soft")
        for tick in (whole if len(whole) > 1 else [0, place.last])
    ]
    parts.append(_text(place.right, HEIGHT - 4, "epoch", "end", "soft"))
    return parts


def _marks(place: _Place, marks: Sequence[tuple[float, str]]) -> list[str]:
    parts = []
    for epoch, word in marks:
        x = place.x(epoch)
        parts.append(f'<path class="mark" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        late = x > (LEFT + place.right) / 2
        parts.append(_text(x + (-4 if late else 4), HEIGHT - BOTTOM - 5, word, "end" if late else "start", "soft"))
    return parts


def _drawn(line: Line, place: _Place) -> list[str]:
    points = [(place.x(x), place.y(y)) for x, y in zip(line.x.tolist(), line.y.tolist(), strict=True)]
    parts = []
    if line.low is not None and line.high is not None and len(line.x) > 1:
        upper = [f"{place.x(x):.1f} {place.y(y):.1f}" for x, y in zip(line.x, line.high, strict=True)]
        lower = [f"{place.x(x):.1f} {place.y(y):.1f}" for x, y in zip(line.x, line.low, strict=True)]
        parts.append(f'<path class="band" d="M{"L".join(upper + lower[::-1])}Z"/>')
    if len(points) > 1:
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path class="line {line.look}" d="M{path}"/>')
    if line.dots or len(points) == 1:
        parts += [f'<circle class="dot {line.look}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>' for x, y in points]
    return parts


def _apart(heights: list[float], gap: float = 14) -> list[float]:
    """Names at the lines' ends, moved down where they would overlap, up again where they would leave the chart."""
    order = np.argsort(heights, kind="stable")
    placed = list(heights)
    for above, below in pairwise(order):
        placed[below] = max(placed[below], placed[above] + gap)
    over = max(0.0, placed[order[-1]] - (HEIGHT - BOTTOM)) if placed else 0.0
    return [height - over for height in placed]


def _text(x: float, y: float, words: str, anchor: str, look: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{look}">{escape(words)}</text>'
