"""The parts of the rim where rigs leave their marks, and as much area elsewhere in the picture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]  # H×W, the pixels to replace

SHARE = 0.1  # of the picture's area


@dataclass(frozen=True, kw_only=True)
class Area:
    """A part of the rim, and as much area away from it."""

    title: str
    asks: str
    at: Callable[[int, int], Mask]
    elsewhere: Callable[[int, int, np.random.Generator], Mask]


def _blocks(height: int, width: int, places: Sequence[tuple[int, int]], size: tuple[int, int]) -> Mask:
    mask = np.zeros((height, width), bool)
    for top, left in places:
        mask[top : top + size[0], left : left + size[1]] = True
    return mask


def _tenth(height: int) -> int:
    return max(round(SHARE * height), 1)


def strip(height: int, width: int, top: int) -> Mask:
    """A tenth of the picture, as wide as it is."""
    return _blocks(height, width, [(top, 0)], (_tenth(height), width))


def _strip_inside(height: int, width: int, random: np.random.Generator) -> Mask:
    tenth = _tenth(height)
    return strip(height, width, int(random.integers(tenth, height - 2 * tenth + 1)))


def _corner_size(height: int, width: int) -> tuple[int, int]:
    return _tenth(height), max(round(width / 4), 1)  # marks are wider than tall; the four make a tenth


def _corners(height: int, width: int) -> Mask:
    """All four, each a tenth high and a quarter wide."""
    tall, wide = _corner_size(height, width)
    places = [(top, left) for top in (0, height - tall) for left in (0, width - wide)]
    return _blocks(height, width, places, (tall, wide))


def _blocks_inside(height: int, width: int, random: np.random.Generator) -> Mask:
    tall, wide = _corner_size(height, width)
    rows = random.permutation(np.arange(tall, height - 2 * tall + 1, tall))[:4]  # they do not overlap
    return _blocks(height, width, [(int(row), int(random.integers(width - wide + 1))) for row in rows], (tall, wide))


def frame(height: int, width: int) -> Mask:
    """A ring along the rim, a tenth of the picture's area, in whole pixels."""
    half = (height + width) / 4  # the edge e solves height·width - (height - 2e)(width - 2e) = area
    return _ring(height, width, 0, max(round(half - np.sqrt(half * half - SHARE * height * width / 4)), 1))


def _ring(height: int, width: int, inset: int, edge: int) -> Mask:
    mask = np.zeros((height, width), bool)
    mask[inset : height - inset, inset : width - inset] = True
    mask[inset + edge : height - inset - edge, inset + edge : width - inset - edge] = False
    return mask


def _frame_inside(height: int, width: int, random: np.random.Generator) -> Mask:
    """A ring further in, of as many pixels: its innermost line is broken off where they are used up."""
    area, side = int(frame(height, width).sum()), min(height, width)
    inset = int(random.integers(max(side // 16, 2), side // 6 + 1))
    edge = next(e for e in range(1, side) if _ring(height, width, inset, e).sum() >= area)
    mask = _ring(height, width, inset, edge)
    inmost = np.flatnonzero(mask & ~_ring(height, width, inset, edge - 1))
    mask.flat[inmost[: int(mask.sum()) - area]] = False
    return mask


AREAS: Mapping[str, Area] = MappingProxyType(
    {
        "bottom": Area(
            title="bottom tenth",
            asks="Does it know a bonnet, a blurred car or a caption along the bottom?",
            at=lambda height, width: strip(height, width, height - _tenth(height)),
            elsewhere=_strip_inside,
        ),
        "top": Area(
            title="top tenth",
            asks="Does it know a caption or a rim along the top?",
            at=lambda height, width: strip(height, width, 0),
            elsewhere=_strip_inside,
        ),
        "corners": Area(
            title="four corners",
            asks="Does it know a watermark, a date or a logo?",
            at=_corners,
            elsewhere=_blocks_inside,
        ),
        "frame": Area(title="frame all round", asks="Does it know a border?", at=frame, elsewhere=_frame_inside),
    }
)
