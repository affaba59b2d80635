"""One photo explained on one sheet: the photo, the heat over it, and the top probabilities."""

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np

from whichland.explanation.overlay import Map, framed, overlay
from whichland.images.preprocess import Pixels
from whichland.model.answer import Guess
from whichland.model.views import Box

WIDTH_IN, DPI = 9.0, 150
GAP_IN, CAPTION_IN = 0.2, 0.3
BARS_IN = (2.5, 2.35)  # width beside the photos, height
ASPECTS = (0.5, 6.0)  # width over height of the frames; what is beyond stands in one with room to spare
WARM, GREY, INK = "#c8412b", "#b9bec6", "#20242b"
SHEET_COLUMNS, TILE_IN, TILE_GAP_IN, TILE_CAPTION_IN = 4, 2.4, 0.15, 0.42  # of pictures side by side
LONGEST_NAME = 24  # characters

Rectangle = tuple[float, float, float, float]  # left, bottom, width, height; inches


def figure(
    photo: Pixels,
    map_HW: Map,
    guesses: Sequence[Guess],
    *,
    boxes: Sequence[Box],
    target: Sequence[Guess],
    doubtful: bool = False,
) -> Pixels:
    """Draw the sheet: `photo` H×W×3, its map of the same size, and the best `guesses` as bars.

    `boxes` are the parts of the photo that the model saw; `target` the label that the map is about, or two: for the
    first, against the second. A `doubtful` map, one that failed its test, is marked as such. Wide photos stand above
    each other, others side by side.
    """
    size, (left, right), bars = _layout(float(np.clip(photo.shape[1] / photo.shape[0], *ASPECTS)))
    sheet = _sheet(*size)
    shown = framed(photo, boxes)
    seen = "" if shown is photo else "; the model sees what is framed"
    if len(boxes) > 1:
        seen = f"; the model sees it in {len(boxes)} views"
    found = bool(map_HW.any())
    what = "what speaks" if found else "nothing found that speaks"
    caption = f"{what} for {', not '.join(_short(guess.name) for guess in target)}"
    if doubtful and found:
        caption = f"not confirmed: {caption}"
    _show(sheet, left, shown, f"photo{seen}")
    _show(sheet, right, framed(overlay(photo, map_HW), boxes), caption, color=WARM if doubtful else INK)
    _draw_bars(_axes(sheet, bars), guesses, [guess.code for guess in target])
    return _pixels(sheet)


def side_by_side(pictures: Sequence[Pixels], captions: Sequence[str]) -> Pixels:
    """Lay pictures of one size, H×W×3, in rows of up to four; a caption may have two lines."""
    columns = min(SHEET_COLUMNS, len(pictures))
    high = TILE_IN * pictures[0].shape[0] / pictures[0].shape[1]
    height = ceil(len(pictures) / columns) * (high + TILE_CAPTION_IN) + TILE_GAP_IN
    sheet = _sheet(columns * (TILE_IN + TILE_GAP_IN) + TILE_GAP_IN, height)
    for at, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(at, columns)
        left = TILE_GAP_IN + column * (TILE_IN + TILE_GAP_IN)
        place = (left, height - (row + 1) * (high + TILE_CAPTION_IN), TILE_IN, high)
        _show(sheet, place, picture, caption, interpolation="lanczos", fontsize=9, pad=4)
    return _pixels(sheet)


def _layout(aspect: float) -> tuple[tuple[float, float], tuple[Rectangle, Rectangle], Rectangle]:
    """Sheet size, and where photo, overlay and bars stand, for photos of this width over height."""
    inner = WIDTH_IN - 2 * GAP_IN
    bars_w, bars_h = BARS_IN
    if aspect > 2.4:  # panoramas: all three above each other
        height = inner / aspect
        total = 3 * GAP_IN + 2 * (height + CAPTION_IN) + bars_h
        upper = total - CAPTION_IN - height - GAP_IN / 2
        lower = upper - CAPTION_IN - height - GAP_IN / 2
        photos = (GAP_IN, upper, inner, height), (GAP_IN, lower, inner, height)
        bars = GAP_IN, GAP_IN, inner, bars_h
    elif aspect > 1.5:  # landscape: the bars below
        width = (inner - GAP_IN) / 2
        height = width / aspect
        total = 2.5 * GAP_IN + CAPTION_IN + height + bars_h
        base = 2 * GAP_IN + bars_h
        photos = (GAP_IN, base, width, height), (2 * GAP_IN + width, base, width, height)
        bars = GAP_IN, GAP_IN, inner, bars_h
    else:  # the bars beside
        width = (inner - bars_w - 2 * GAP_IN) / 2
        height = width / aspect
        total = 1.5 * GAP_IN + CAPTION_IN + max(height, bars_h)
        base = total - CAPTION_IN - GAP_IN / 2 - height
        bars_h = max(bars_h, min(height, 3.0))
        photos = (GAP_IN, base, width, height), (2 * GAP_IN + width, base, width, height)
        bars = 3 * GAP_IN + 2 * width, base + height - bars_h, bars_w, bars_h
    return (WIDTH_IN, total), photos, bars


def _draw_bars(axes: Any, guesses: Sequence[Guess], warm: Sequence[str]) -> None:
    """Bars from 0 to 1, each under its label's name; what the map is about in the heat's colour."""
    for row, (code, name, probability) in enumerate(guesses):
        axes.barh(row, 1.0, height=0.3, color="#eef0f3")
        axes.barh(row, probability, height=0.3, color=WARM if code in warm else GREY)
        axes.text(0, row - 0.24, _short(name), fontsize=10, color=INK, va="bottom")
        axes.text(1, row - 0.24, percent(probability), fontsize=10, color=INK, va="bottom", ha="right")
    axes.set_xlim(0, 1)
    axes.set_ylim(4.2, -0.62)  # always room for five, so that sheets of one run are alike
    axes.set_axis_off()


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1].rstrip() + "…"


def percent(probability: float) -> str:
    """Write a probability for a reader; never 100 % or 0 % for what is not certain."""
    if probability >= 0.995:
        return "> 99 %"
    return "< 1 %" if probability < 0.005 else f"{probability:.0%}".replace("%", " %")


def _sheet(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, facecolor="white")


def _axes(sheet: Any, place: Rectangle) -> Any:
    width, height = sheet.get_size_inches()
    left, bottom, wide, high = place
    return sheet.add_axes((left / width, bottom / height, wide / width, high / height))


def _show(
    sheet: Any, place: Rectangle, picture: Pixels, caption: str, interpolation: str = "antialiased", **title: Any
) -> None:
    axes = _axes(sheet, place)
    axes.imshow(picture, interpolation=interpolation)
    axes.set_anchor("NW")
    axes.set_axis_off()
    axes.set_title(caption, loc="left", **{"fontsize": 10, "color": INK, "pad": 5} | title)


def _pixels(sheet: Any) -> Pixels:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(sheet)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
