"""Shortcuts to plant: marks of the recording rig that give a country away without any clue of it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from whichland.sources.synthetic.clues import CLUES

U8 = NDArray[np.uint8]


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


SHORTCUTS: Mapping[str, Callable[[U8, U8], None]] = MappingProxyType(
    {"blurred_bottom": blur_bottom, "watermark": watermark}
)
"""Shortcuts by name; each changes a picture (H×W×3) and its labels (H×W) in place."""
