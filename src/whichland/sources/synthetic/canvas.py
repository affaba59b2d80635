"""The picture and its mask, drawn together so that each pixel keeps the label of what is in front; and its noise."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from whichland.sources.synthetic.conventions import RGB, Point

U8 = NDArray[np.uint8]
F32 = NDArray[np.floating[Any]]  # float32 throughout; numpy's stubs widen it at every constant

SIZE = 512  # cells of a tile of noise, a side; a power of two, so that indices wrap with a bit mask
SCALE = 2  # objects are drawn this much larger and averaged down
_LIMIT = 10000.0  # pixels; keeps coordinates of objects beside the camera within what a rasteriser takes
_SHIFT = 20001


class Sprite:
    """A picture to paste: colours and alpha apart, with halves of halves ready for objects far away."""

    def __init__(self, colour: Image.Image, alpha: Image.Image) -> None:
        self.levels = [(colour, alpha)]
        while min(colour.size) > 12:
            colour, alpha = colour.reduce(2), alpha.reduce(2)
            self.levels.append((colour, alpha))

    def sized(self, wide: int, tall: int, part: tuple[int, int, int, int]) -> list[Image.Image]:
        """Colours and alpha of a part (left, top, right, bottom) of the sprite as it is at wide × tall pixels."""
        fit = [level for level in self.levels if level[0].width >= wide and level[0].height >= tall]
        level = (fit or self.levels[:1])[-1]
        left, top, right, bottom = part
        across, down = level[0].width / wide, level[0].height / tall
        box = (left * across, top * down, right * across, bottom * down)
        return [image.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box) for image in level]


class Canvas:
    """Draws polygons, lines and sprites over a ground picture (H×W×3) and its labels (H×W).

    Points are in pixels of the final picture; they are rounded to half a pixel before rasterising.
    """

    def __init__(self, picture: U8, labels: U8) -> None:
        size = (labels.shape[1] * SCALE, labels.shape[0] * SCALE)
        self.image, self.mask = (
            Image.fromarray(array).resize(size, Image.Resampling.NEAREST) for array in (picture, labels)
        )
        self._draw, self._label = ImageDraw.Draw(self.image), ImageDraw.Draw(self.mask)

    def polygon(self, points: Sequence[Point], ink: RGB, label: int) -> None:
        """Fill a polygon."""
        placed = [_place(point) for point in points]
        self._draw.polygon(placed, fill=ink)
        self._label.polygon(placed, fill=label)

    def line(self, points: Sequence[Point], ink: RGB, width: float, label: int) -> None:
        """Stroke a polyline `width` pixels wide; the thinnest is half a pixel."""
        placed, thick = [_place(point) for point in points], max(int(width * SCALE + 0.5), 1)
        self._draw.line(placed, fill=ink, width=thick)
        self._label.line(placed, fill=label, width=thick)

    def ellipse(self, centre: Point, rx: float, ry: float, ink: RGB, label: int) -> None:
        """Fill an upright ellipse."""
        (x, y) = centre
        corners = [_place((x - rx, y - ry)), _place((x + rx, y + ry))]
        self._draw.ellipse(corners, fill=ink)
        self._label.ellipse(corners, fill=label)

    def sprite(self, sprite: Sprite, foot: Point, size: Point, haze: tuple[RGB, float], label: int) -> None:
        """Paste a sprite of `size` pixels standing on `foot`, mixed with a share of the haze's colour."""
        wide, tall = max(int(size[0] * SCALE + 0.5), 1), max(int(size[1] * SCALE + 0.5), 1)
        left, top = _place((foot[0] - size[0] / 2, foot[1] - size[1]))
        x0, y0 = max(-left, 0), max(-top, 0)
        x1, y1 = min(wide, self.image.width - left), min(tall, self.image.height - top)
        if x0 >= x1 or y0 >= y1:
            return
        colour, alpha = sprite.sized(wide, tall, (x0, y0, x1, y1))
        corner, (ink, share) = (left + x0, top + y0), haze
        if share > 0.02:
            colour = Image.blend(colour, Image.new("RGB", colour.size, ink), share)
        self.image.paste(colour, corner, alpha)
        self.mask.paste(label, corner, alpha.convert("1", dither=Image.Dither.NONE))

    def finish(self) -> tuple[U8, U8]:
        """Average the picture down and pick the labels' nearest, in the final size."""
        labels = np.asarray(self.mask)[::SCALE, ::SCALE]
        return np.asarray(self.image.reduce(SCALE)).copy(), np.ascontiguousarray(labels)


def _place(point: Point) -> tuple[int, int]:
    """Round half up to half pixels; the shift keeps truncation on the positive side."""
    x, y = point
    if not (-_LIMIT < x < _LIMIT and -_LIMIT < y < _LIMIT):
        x, y = min(max(x, -_LIMIT), _LIMIT), min(max(y, -_LIMIT), _LIMIT)
    return int(x * SCALE + _SHIFT + 0.5) - _SHIFT, int(y * SCALE + _SHIFT + 0.5) - _SHIFT


@cache
def noise(seed: int, coarsest: int = 64, octaves: int = 5, fade: float = 0.55) -> F32:
    """Return SIZE × SIZE fractal noise in 0..1 with mean near 0.5; `coarsest` is the largest feature, in cells."""
    rng = np.random.Generator(np.random.PCG64(seed))
    total = np.zeros((SIZE, SIZE), np.float32)
    weight, cell = np.float32(1), coarsest
    for _ in range(octaves):
        grid: F32 = rng.random((SIZE // cell, SIZE // cell), dtype=np.float32) - 0.5
        for axis in (0, 1) if cell > 1 else ():
            along = np.arange(SIZE, dtype=np.float32) / np.float32(cell)
            low, part = along.astype(np.int64), along - np.floor(along)
            rise = np.expand_dims(part * part * (3 - 2 * part), 1 - axis)  # smoothstep between the cells
            left, right = np.take(grid, low, axis), np.take(grid, low + 1, axis, mode="wrap")
            grid = left + (right - left) * rise
        total += weight * grid
        weight, cell = weight * np.float32(fade), max(cell // 2, 1)
    tile: F32 = np.clip(total / 1.1 + 0.5, 0, 1)
    return tile


def sample(tile: F32, x: F32, y: F32, scale: float) -> F32:
    """Look the tile up at `scale` cells a unit of `x` and `y`, wrapping round."""
    column = np.floor(x * scale).astype(np.int32) & (SIZE - 1)
    row = np.floor(y * scale).astype(np.int32) & (SIZE - 1)
    found: F32 = tile.ravel().take(row * SIZE + column)
    return found
