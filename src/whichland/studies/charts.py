"""Charts of a study as SVG text: rows of dots with intervals, a scatter with its front, curves with bands.

One hue, so that they read in print; every track has its own words, so that no legend is needed. Names stand over
their tracks and not beside them: a chart then fits a telephone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from math import ceil, floor, log10

import numpy as np

from whichland.statistics import Score
from whichland.studies.learning_curve import LearningCurve

WIDTH = 440
LEFT, RIGHT = 42, 58  # room for the words before and behind a track
NAME, TRACK, GAP, HEADING = 15, 14, 7, 26  # heights
STYLE = (
    "<style>.st{font-family:system-ui,'DejaVu Sans',sans-serif;fill:var(--ink,#1b1f24);font-size:12px}"
    ".st .soft{fill:var(--soft,#59636e)}.st .head{font-weight:650;font-size:13px}"
    ".st .grid{stroke:var(--line,#d5dae0);fill:none}.st .bar{stroke:var(--cell,#0b3c6f);stroke-width:2.4;"
    "stroke-opacity:.45;fill:none}.st .dot{fill:var(--cell,#0b3c6f)}.st .front{stroke:var(--other,#b4540a);"
    "stroke-width:1.6;stroke-dasharray:5 3;fill:none}.st .ring{fill:var(--paper,#fff);stroke:var(--cell,#0b3c6f);"
    "stroke-width:1.6}.st .band{fill:var(--cell,#0b3c6f);fill-opacity:.16}.st .line{stroke:var(--cell,#0b3c6f);"
    "stroke-width:2;fill:none}.st .ahead{stroke-dasharray:4 4}.st .small{font-size:10.5px}"
    ".st .lead{stroke:var(--soft,#59636e);stroke-width:.8;fill:none}"
    ".st .halo{paint-order:stroke;stroke:var(--paper,#fff);stroke-width:3px;stroke-linejoin:round}</style>"
)


@dataclass(frozen=True, kw_only=True)
class Track:
    """One value with its interval, a word before it and one behind."""

    score: Score
    before: str = ""
    behind: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A name, what is said of it at the right, and its tracks."""

    name: str
    tracks: Sequence[Track]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """From values to pixels, straight or logarithmic."""

    low: float
    high: float
    begin: float  # pixel of low
    end: float
    log: bool = False
    ticks: tuple[float, ...] = field(default_factory=tuple)

    def at(self, value: float) -> float:
        """The pixel of a value; outside the axis: its end."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = log10(value / self.low) / log10(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.begin + (self.end - self.begin) * share


def straight(low: float, high: float, begin: float, end: float) -> Axis:
    """An axis with round ticks around the values."""
    rough = max(high - low, 1e-9) / 4
    size = 10.0 ** floor(log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    first, last = floor(low / step + 1e-6), ceil(high / step - 1e-6)
    last = max(last, first + 1)
    ticks = tuple(round(step * n, 10) for n in range(first, last + 1))
    return Axis(low=ticks[0], high=ticks[-1], begin=begin, end=end, ticks=ticks)


def logarithmic(low: float, high: float, begin: float, end: float) -> Axis:
    """An axis by factors, with ticks at 1, 2 and 5, or at 1 alone."""
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    ticks = [float(f"{digit}e{decade}") for decade in decades for digit in (1, 2, 5)]
    low, high = low / 1.12, high * 1.12
    inside = tuple(tick for tick in ticks if low <= tick <= high)
    if len(inside) > 7:  # of many, those of the decades alone
        inside = tuple(tick for tick in inside if f"{tick:e}".startswith("1.0"))
    return Axis(low=low, high=high, begin=begin, end=end, log=True, ticks=inside)


def rows_svg(title: str, groups: Sequence[tuple[str, Sequence[Row]]], *, unit: str, log: bool = False) -> str:
    """Rows of dots with intervals under headings; `unit` is "%" or what stands under the axis."""
    scores = [track.score for _, rows in groups for row in rows for track in row.tracks]
    scale = logarithmic if log else straight
    low, high = min(score.low for score in scores), max(score.high for score in scores)
    axis = scale(low, high, LEFT, WIDTH - RIGHT)
    parts, y = [], 30.0
    for heading, rows in groups:
        if heading:
            parts.append(_text(heading, 0, y + 14, "start", "soft head"))
            y += HEADING
        for row in rows:
            parts.append(_text(row.name, LEFT, y + 10, "start"))
            parts.append(_text(row.note, WIDTH, y + 10, "end", "soft"))
            y += NAME
            for track in row.tracks:
                parts += _track(track, axis, y + TRACK / 2)
                y += TRACK
            y += GAP
    bottom = y + 2
    grid = []
    for tick in axis.ticks:
        x = axis.at(tick)
        grid.append(f'<path class="grid" d="M{x:.1f} 30V{bottom:.0f}"/>')
        grid += [_text(_said(tick, unit), x, at, "middle", "soft small") for at in (24, bottom + 14)]
    if unit != "%":
        grid.append(_text(unit, axis.end, bottom + 28, "end", "soft small"))
    height = bottom + (34 if unit != "%" else 20)
    return _svg(title, WIDTH, height, [*grid, *parts], around=title)


def _track(track: Track, axis: Axis, y: float) -> list[str]:
    score = track.score
    x = axis.at(score.value)
    return [
        _text(track.before, LEFT - 8, y + 4, "end", "soft small"),
        f'<path class="bar" d="M{axis.at(score.low):.1f} {y:.1f}H{axis.at(score.high):.1f}"/>',
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3.6"/>',
        _text(track.behind, WIDTH, y + 4, "end", "small"),
    ]


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A point of the scatter: a name, a value across and one up, each with its interval."""

    name: str
    across: Score
    up: Score


def front(spots: Sequence[Spot]) -> list[Spot]:
    """The Pareto front: spots that no other beats or equals in both, being better in one; slowest first."""

    def beaten(spot: Spot) -> bool:
        a, u = spot.across.value, spot.up.value
        return any(o.across.value >= a and o.up.value >= u and (o.across.value, o.up.value) != (a, u) for o in spots)

    return sorted((spot for spot in spots if not beaten(spot)), key=lambda spot: spot.across.value)


def scatter_svg(title: str, spots: Sequence[Spot], *, across: str, up: str) -> str:
    """Spots with intervals both ways, the front as a line; names are put where they cover nothing."""
    height, top, bottom, left = 360, 34, 46, 44
    x_axis = logarithmic(min(s.across.low for s in spots), max(s.across.high for s in spots), left, WIDTH - 12)
    y_axis = straight(min(s.up.low for s in spots), max(s.up.high for s in spots), height - bottom, top)
    parts = [_text(up, 0, 24, "start", "soft small"), _text(across, WIDTH, height - 6, "end", "soft small")]
    for tick in x_axis.ticks:
        x = x_axis.at(tick)
        parts.append(f'<path class="grid" d="M{x:.1f} {top}V{height - bottom}"/>')
        parts.append(_text(f"{tick:,.10g}", x, height - bottom + 16, "middle", "soft small"))
    for tick in y_axis.ticks:
        y = y_axis.at(tick)
        parts.append(f'<path class="grid" d="M{left} {y:.1f}H{WIDTH - 12}"/>')
        parts.append(_text(f"{tick:.0%}", left - 6, y + 4, "end", "soft small"))
    best = front(spots)
    corners = [(x_axis.at(s.across.value), y_axis.at(s.up.value)) for s in best]
    # a step: from each spot of the front to the next, at the score that is still to be had at that speed
    steps = "".join(f"V{b[1]:.1f}H{b[0]:.1f}" for _, b in pairwise(corners))
    if steps:
        parts.append(f'<path class="front" d="M{corners[0][0]:.1f} {corners[0][1]:.1f}{steps}"/>')
    best_first = sorted(spots, key=lambda s: -s.up.value)
    places = [(spot, x_axis.at(spot.across.value), y_axis.at(spot.up.value)) for spot in best_first]
    boxes: list[Box] = []
    dots = []
    for spot, x, y in places:
        top_y, bottom_y = y_axis.at(spot.up.high), y_axis.at(spot.up.low)
        first_x, last_x = x_axis.at(spot.across.low), x_axis.at(spot.across.high)
        both = f"M{x:.1f} {bottom_y:.1f}V{top_y:.1f}M{first_x:.1f} {y:.1f}H{last_x:.1f}"
        parts.append(f'<path class="bar" d="{both}"/>')
        look = "dot" if spot in best else "ring"
        dots.append(f'<circle class="{look}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        boxes += [(x - 5, y - 5, x + 5, y + 5), (x - 1, top_y, x + 1, bottom_y)]
    names = [_named(spot.name, x, y, boxes, height - bottom) for spot, x, y in places]
    parts += [*(line for line, _ in names), *dots, *(text for _, text in names)]
    return _svg(title, WIDTH, height, parts, around=title)


Box = tuple[float, float, float, float]


def _named(name: str, x: float, y: float, boxes: list[Box], floor_y: float) -> tuple[str, str]:
    """A name near its spot where it covers least: (line to the spot when it is far, text). Its place is taken."""
    wide = 6.0 * len(name)
    choices: list[tuple[float, Box]] = []
    for down in (4, -8, 16, -22, 30, -36, 44, -50, 58):
        for left in (x + 8, x - 8 - wide, x - wide / 2, x + 30, x - 30 - wide):
            at = min(max(left, 46.0), WIDTH - 12 - wide)
            box = (at, y + down - 10, at + wide, y + down + 3)
            outside = max(0.0, box[3] - floor_y, 30 - box[1])
            far = abs(down - 4) + max(0.0, at - x - 8, x - 8 - at - wide)
            covered = sum(_overlap(box, other) for other in boxes)
            choices.append((covered + 50 * outside + 0.4 * far, box))
    _, box = min(choices, key=lambda choice: choice[0])
    boxes.append(box)
    near = min(max(x, box[0]), box[2]), min(max(y, box[1] + 3), box[3] - 1)
    far = abs(near[0] - x) + abs(near[1] - y) > 14
    line = f'<path class="lead" d="M{x:.1f} {y:.1f}L{near[0]:.1f} {near[1]:.1f}"/>' if far else ""
    return line, _text(name, box[0], box[3] - 3, "start", "small halo")


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def curve_svg(
    name: str, curve: LearningCurve, points: Sequence[tuple[float, Score]], y_range: tuple[float, float]
) -> str:
    """One model's learning curve with its band and points; beyond the most photos seen it is dashed."""
    width, height, left, bottom, top = 260, 190, 40, 32, 28
    x_axis = logarithmic(curve.photos[0], curve.photos[-1], left, width - 8)
    y_axis = straight(*y_range, height - bottom, top)
    xs = [x_axis.at(photos) for photos in curve.photos.tolist()]
    upper = [f"{x:.1f} {y_axis.at(v):.1f}" for x, v in zip(xs, curve.high.tolist(), strict=True)]
    lower = [f"{x:.1f} {y_axis.at(v):.1f}" for x, v in zip(xs, curve.low.tolist(), strict=True)]
    line = [f"{x:.1f} {y_axis.at(v):.1f}" for x, v in zip(xs, curve.score.tolist(), strict=True)]
    seen = int(np.searchsorted(curve.photos, curve.last * 1.001))
    parts = []
    for tick in y_axis.ticks:
        y = y_axis.at(tick)
        parts.append(f'<path class="grid" d="M{left} {y:.1f}H{width - 8}"/>')
        parts.append(_text(f"{tick:.0%}", left - 5, y + 4, "end", "soft small"))
    parts += [
        _text(f"{tick:,.10g}", x_axis.at(tick), height - bottom + 14, "middle", "soft small") for tick in x_axis.ticks
    ]
    parts.append(_text("photos a country", width - 8, height - 4, "end", "soft small"))
    parts.append(f'<path class="band" d="M{"L".join(upper + lower[::-1])}Z"/>')
    parts.append(f'<path class="line" d="M{"L".join(line[:seen])}"/>')
    parts.append(f'<path class="line ahead" d="M{"L".join(line[max(0, seen - 1) :])}"/>')
    for photos, score in points:
        x = x_axis.at(photos)
        parts.append(f'<path class="bar" d="M{x:.1f} {y_axis.at(score.low):.1f}V{y_axis.at(score.high):.1f}"/>')
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y_axis.at(score.value):.1f}" r="3.6"/>')
    return _svg(f"{name}: macro-F1 by photos a country", width, height, parts, around=name)


def _said(tick: float, unit: str) -> str:
    return f"{tick:.0%}" if unit == "%" else f"{tick:,.10g}"


def _svg(title: str, width: int, height: float, parts: Sequence[str], *, around: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="st" viewBox="0 0 {width} {height:.0f}" '
        f'width="{width}" role="img" aria-label="{escape(title)}">{STYLE}'
        + _text(around, 0, 11, "start", "head")
        + "".join(parts)
        + "</svg>"
    )


def _text(words: str, x: float, y: float, anchor: str, look: str = "") -> str:
    if not words:
        return ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{look}">{escape(words)}</text>'
