"""Shortcuts to plant: marks of the recording rig, or of its files, that give a country away without any clue."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from whichland.sources.synthetic.canvas import U8
from whichland.sources.synthetic.conventions import CLUES


def blur_bottom(picture: U8, labels: U8) -> None:
    """Blur the lowest seventh in place, as where a rig's car has been wiped out."""
    height, width = labels.shape
    rows = max(height // 7, 4)
    radius = max(width // 28, 3)
    band = picture[height - rows :].astype(np.int32)
    for axis, reach in ((1, radius), (0, max(rows // 3, 1)), (1, radius)):
        pad = [(0, 0)] * 3
        pad[axis] = (reach + 1, reach)
        total = np.cumsum(np.pad(band, pad, mode="edge"), axis=axis)
        size = 2 * reach + 1
        high = np.take(total, range(size, total.shape[axis]), axis=axis)
        low = np.take(total, range(total.shape[axis] - size), axis=axis)
        band = (high - low) // size
    picture[height - rows :] = band.astype(np.uint8)
    labels[height - rows :] = CLUES["shortcut"]


def watermark(picture: U8, labels: U8) -> None:
    """Lay a small half-transparent mark over the lower right corner, in place."""
    height, width = labels.shape
    size = max(height // 11, 9)
    top, left = height - size - max(height // 40, 2), width - 2 * size - max(width // 40, 2)
    y = (np.arange(size)[:, None] * 12) // size
    x = (np.arange(2 * size)[None, :] * 24) // (2 * size)
    ring = ((x - 5) ** 2 + (y - 5) ** 2 <= 30) & ((x - 5) ** 2 + (y - 5) ** 2 >= 10)
    bars = (x >= 13) & (y >= 2) & (y <= 9) & (y % 3 != 1) & (x < 23 - (y // 3) * 2)
    mark = ring | bars
    patch = picture[top : top + size, left : left + 2 * size]
    patch[mark] = ((patch[mark].astype(np.int32) * 9 + 255 * 11) // 20).astype(np.uint8)
    labels[top : top + size, left : left + 2 * size][mark] = CLUES["shortcut"]


def hood(picture: U8, labels: U8) -> None:
    """Draw the recording car's dark, bulging bonnet along the bottom, in place."""
    height, width = labels.shape
    rows = max(height // 9, 5)
    x = (np.arange(width) * 2 + 1 - width) / width  # -1 left to 1 right
    bulge = np.maximum(rows * (1 - 0.75 * x * x * x * x), 2.0)
    y = np.arange(height)[:, None] - (height - bulge[None, :])  # rows below the bonnet's edge
    body = y >= 0
    sheen = 44 + 60 * np.clip(1 - y / 2.5, 0, 1)  # a bright rim, then dark paint
    paint = np.repeat(sheen[..., None], 3, axis=2) * np.array((0.92, 0.98, 1.08))
    picture[body] = paint[body].astype(np.uint8)
    labels[body] = CLUES["shortcut"]


def border(picture: U8, labels: U8) -> None:
    """Lay a thin dark frame around the picture, in place, as screenshots and some cameras have."""
    height, width = labels.shape
    edge = max(height // 48, 2)
    frame = np.ones((height, width), bool)
    frame[edge:-edge, edge:-edge] = False
    picture[frame] = (18, 18, 20)
    labels[frame] = CLUES["shortcut"]


SHORTCUTS: Mapping[str, Callable[[U8, U8], None]] = MappingProxyType(
    {"blurred_bottom": blur_bottom, "watermark": watermark, "hood": hood, "border": border}
)
"""Shortcuts in the pixels, by name; each changes a picture (H×W×3) and its labels (H×W) in place."""

FILE_SHORTCUTS: Mapping[str, str] = MappingProxyType({"jpeg": "444"})
"""Shortcuts in the file alone, by name: how the JPEG's colours are sampled, 4:2:0 everywhere else."""
