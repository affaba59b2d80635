"""Pictures side by side on one sheet, each under its caption."""

from collections.abc import Sequence
from math import ceil

import numpy as np

from whichland.explanation.figure import INK
from whichland.images.preprocess import Pixels

COLUMNS = 4
TILE_IN, GAP_IN, CAPTION_IN, DPI = 2.4, 0.15, 0.42, 150


def gallery(pictures: Sequence[Pixels], captions: Sequence[str]) -> Pixels:
    """Lay pictures of one size, H×W×3, in rows of up to four; a caption may have two lines."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(pictures))
    rows = ceil(len(pictures) / columns)
    high = TILE_IN * pictures[0].shape[0] / pictures[0].shape[1]
    width = columns * (TILE_IN + GAP_IN) + GAP_IN
    height = rows * (high + CAPTION_IN) + GAP_IN
    sheet = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(sheet)
    for at, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(at, columns)
        left = GAP_IN + column * (TILE_IN + GAP_IN)
        bottom = height - (row + 1) * (high + CAPTION_IN)
        axes = sheet.add_axes((left / width, bottom / height, TILE_IN / width, high / height))
        axes.imshow(picture, interpolation="lanczos")
        axes.set_axis_off()
        axes.set_title(caption, fontsize=9, color=INK, loc="left", pad=4)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
