"""The figures of a study: the amount of data, the best of each, both throughputs, and the learning curves.

Rows of dots with intervals, a scatter with its front, curves with bands. Every track has its own words, so that no
legend is needed; names are printed over their tracks and not beside them: a chart then fits a telephone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np

from whichland.charts import Panel, dot, logarithmic, path, straight, svg, text, through
from whichland.statistics import Score
from whichland.studies.findings import LearningCurve, Model, Point
from whichland.studies.grid import tier_order

WIDTH = 440
LEFT, RIGHT = 42, 58  # room for the words before and behind a track
NAME, TRACK, GAP, HEADING = 15, 14, 7, 26  # heights
HALO = ' paint-order="stroke" stroke="var(--paper,#fff)" stroke-width="3" stroke-linejoin="round"'

Track = tuple[str, Score, str]  # a value with its interval, between a word before it and one behind
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True, kw_only=True)
class Row:
    """A name, what is said of it at the right, and its tracks."""

    name: str
    tracks: Sequence[Track]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A point of the scatter: a name, a value across and one up, each with its interval."""

    name: str
    across: Score
    up: Score


def figures(models: Sequence[Model]) -> dict[str, str]:
    """Every figure as SVG text by its file's name; a figure for which nothing was measured is left out."""
    if not models:
        return {}
    best = [Row(name=m.name, tracks=[_track(m.best)], note=m.ties) for m in models]
    made = {
        "data": _rows_svg("Macro-F1 by photos a country", _by_tier(models)),
        "best": _rows_svg("Macro-F1, the best of each model", {"": best}),
    }
    fastest = sorted(((m, m.training) for m in models if m.training), key=lambda pair: -pair[1].value)
    if fastest:
        rows = [
            Row(name=m.name, tracks=[("", rate, f"{rate.value:,.0f}/s")], note=clock(m.seconds) if m.seconds else "")
            for m, rate in fastest
        ]
        made["training"] = _rows_svg("Training throughput", {"": rows}, unit="photos a second")
    spots = [Spot(name=model.name, across=model.inference, up=model.best.score) for model in models]
    made["inference"] = scatter_svg(
        "Macro-F1 against inference throughput", spots, across="photos a second", up="macro-F1"
    )
    return made


def curves(models: Sequence[Model]) -> list[str]:
    """A learning curve for each model that has three sizes or more, all on one scale."""
    fitted = [(model, model.curve) for model in models if model.curve]
    lows = [p.score.ends[0] for m, _ in fitted for p in m.points] + [float(curve.low.min()) for _, curve in fitted]
    highs = [p.score.ends[1] for m, _ in fitted for p in m.points] + [float(curve.high.max()) for _, curve in fitted]
    return [_curve_svg(m, curve, (max(0.0, min(lows)), min(1.0, max(highs)))) for m, curve in fitted]


def clock(seconds: float) -> str:
    """Seconds of a run, for reading."""
    minutes = seconds / 60
    if minutes < 2:
        return f"{seconds:.0f} s a run"
    return f"{minutes:.0f} min a run" if minutes < 120 else f"{minutes / 60:.1f} h a run"


def _track(point: Point) -> Track:
    return f"{point.photos:.0f}", point.score, f"{point.score.value:.1%}"


def _by_tier(models: Sequence[Model]) -> dict[str, list[Row]]:
    """Tiny, small, base, others; in each the best model first."""
    ordered = sorted(models, key=lambda model: (tier_order(model.tier), model.tier or ""))
    groups = {}
    for tier, of_tier in groupby(ordered, lambda model: model.tier):
        groups[(tier or "other").capitalize()] = [
            Row(
                name=m.name,
                tracks=[_track(point) for point in m.points],
                note=f"{seeds} seeds" if (seeds := max(len(point.cells) for point in m.points)) > 1 else "",
            )
            for m in of_tier
        ]
    return groups if len(groups) > 1 else dict(zip([""], groups.values(), strict=True))


def _rows_svg(title: str, groups: dict[str, list[Row]], *, unit: str = "") -> str:
    """Rows of dots with intervals under headings: shares, or with a `unit` rates on a logarithmic axis."""
    scores = [score for rows in groups.values() for row in rows for _, score, _ in row.tracks]
    ends = min(score.ends[0] for score in scores), max(score.ends[1] for score in scores), LEFT, WIDTH - RIGHT
    axis = logarithmic(*ends) if unit else straight(*ends, percent=True)
    parts, y = [], 30.0
    for heading, rows in groups.items():
        if heading:
            parts.append(text(heading, 0, y + 14, "start", "soft head"))
            y += HEADING
        for row in rows:
            parts += [text(row.name, LEFT, y + 10), text(row.note, WIDTH, y + 10, "end", "soft")]
            y += NAME
            for before, score, behind in row.tracks:
                middle = y + TRACK / 2
                parts += [
                    text(before, LEFT - 8, middle + 4, "end", "soft small"),
                    path("bar", f"M{axis.at(score.ends[0]):.1f} {middle:.1f}H{axis.at(score.ends[1]):.1f}"),
                    dot(axis.at(score.value), middle, radius=3.6),
                    text(behind, WIDTH, middle + 4, "end", "small"),
                ]
                y += TRACK
            y += GAP
    bottom = y + 2
    grid = []
    for tick in axis.ticks:
        x = axis.at(tick)
        grid.append(path("grid", f"M{x:.1f} 30V{bottom:.0f}"))
        grid += [text(axis.label(tick), x, at, "middle", "soft small") for at in (25, bottom + 14)]
    grid.append(text(unit, axis.end, bottom + 28, "end", "soft small"))
    return svg(title, WIDTH, bottom + (34 if unit else 20), [*grid, *parts], heading=title)


def front(spots: Sequence[Spot]) -> list[Spot]:
    """The Pareto front: spots that no other beats or equals in both, being better in one; slowest first."""

    def beaten(spot: Spot) -> bool:
        a, u = spot.across.value, spot.up.value
        return any(o.across.value >= a and o.up.value >= u and (o.across.value, o.up.value) != (a, u) for o in spots)

    return sorted((spot for spot in spots if not beaten(spot)), key=lambda spot: spot.across.value)


def scatter_svg(title: str, spots: Sequence[Spot], *, across: str, up: str) -> str:
    """Spots with intervals both ways, the front as a line; names are put where they cover nothing."""
    height, bottom, left = 360, 46, 44
    panel = Panel(
        title=title,
        across=across,
        x=logarithmic(min(s.across.ends[0] for s in spots), max(s.across.ends[1] for s in spots), left, WIDTH - 12),
        y=straight(
            min(s.up.ends[0] for s in spots), max(s.up.ends[1] for s in spots), height - bottom, 34, percent=True
        ),
        width=WIDTH,
        height=height,
    )
    parts = [text(up, 0, 26, "start", "soft small"), *panel.grid(upright=True)]
    best = front(spots)
    corners = [(panel.x.at(s.across.value), panel.y.at(s.up.value)) for s in best]
    # a step: from each spot of the front to the next, at the score that is still to be had at that speed
    steps = "".join(f"V{b[1]:.1f}H{b[0]:.1f}" for _, b in pairwise(corners))
    if steps:
        parts.append(path("second line thin", f"M{corners[0][0]:.1f} {corners[0][1]:.1f}{steps}"))
    best_first = sorted(spots, key=lambda s: -s.up.value)
    places = [(spot, panel.x.at(spot.across.value), panel.y.at(spot.up.value)) for spot in best_first]
    boxes: list[Box] = []
    dots = []
    for spot, x, y in places:
        top_y, bottom_y = panel.y.at(spot.up.ends[1]), panel.y.at(spot.up.ends[0])
        sides = f"M{panel.x.at(spot.across.ends[0]):.1f} {y:.1f}H{panel.x.at(spot.across.ends[1]):.1f}"
        parts.append(path("bar", f"M{x:.1f} {bottom_y:.1f}V{top_y:.1f}{sides}"))
        dots.append(dot(x, y, "dot" if spot in best else "ring", 4))
        boxes += [(x - 5, y - 5, x + 5, y + 5), (x - 1, top_y, x + 1, bottom_y)]
    names = [_named(spot.name, x, y, boxes, height - bottom) for spot, x, y in places]
    return panel.svg([*parts, *(line for line, _ in names), *dots, *(name for _, name in names)])


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
    line = path("rule", through([(x, y), near]), ' stroke-width=".8"') if far else ""
    return line, text(name, box[0], box[3] - 3, "start", "small", HALO)


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _curve_svg(model: Model, curve: LearningCurve, y_range: tuple[float, float]) -> str:
    """One model's learning curve with its band and points; beyond the most photos seen it is dashed."""
    width, height = 260, 190
    panel = Panel(
        title=model.name,
        across="photos a country",
        x=logarithmic(curve.photos[0], curve.photos[-1], 40, width - 8),
        y=straight(*y_range, height - 32, 28, percent=True),
        width=width,
        height=height,
    )
    seen = int(np.searchsorted(curve.photos, curve.last * 1.001))
    ahead = slice(max(0, seen - 1), None)
    parts = [
        *panel.grid(),
        panel.band(curve.photos, curve.low, curve.high),
        panel.line(curve.photos[:seen], curve.score[:seen]),
        path("line", through(panel.points(curve.photos[ahead], curve.score[ahead])), ' stroke-dasharray="4 4"'),
    ]
    return panel.svg([*parts, *(panel.whisker(point.photos, point.score) for point in model.points)])
