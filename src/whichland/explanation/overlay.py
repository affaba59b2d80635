"""Heat over a photo: the map laid on what the model saw, strong where the map is high, clear where it is not."""

from math import ceil, floor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whichland.errors import UserError
from whichland.images.preprocess import Pixels, Preprocess
from whichland.whole_file import whole_file

Map = NDArray[np.float32]  # H×W in [0, 1]
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels

# Ten stops from black over violet, red and orange to pale yellow; luminance rises evenly, so the order of the
# values survives colour blindness and grey print.
HEAT = np.array(
    [
        (0, 0, 4),
        (27, 12, 65),
        (74, 12, 107),
        (120, 28, 109),
        (165, 44, 96),
        (207, 68, 70),
        (237, 105, 37),
        (251, 155, 6),
        (247, 209, 61),
        (252, 255, 164),
    ],
    dtype=np.float32,
)
COLOUR_KEPT = 0.3  # of the photo's saturation, under the heat
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def overlay(image: Pixels, map_HW: Map, *, opacity: float = 0.6) -> Pixels:
    """Lay the heat of `map_HW` over an H×W×3 photo of the same size.

    How much the heat covers grows with the map, up to `opacity` at its peak. The photo loses most of its own
    colour, or sunlit grass and blue sky would pass for heat.
    """
    colour_HWC = heat_colours(map_HW)
    cover = opacity * np.clip(map_HW, 0, 1)[..., None]
    luma_HW1 = (image @ np.array((0.299, 0.587, 0.114), np.float32))[..., None]
    pale_HWC = luma_HW1 + COLOUR_KEPT * (image - luma_HW1)
    blended: Pixels = np.rint(pale_HWC * (1 - cover) + colour_HWC * cover).astype(np.uint8)
    return blended


def heat_colours(map_HW: Map) -> NDArray[np.float32]:
    """The colour of each point of a map, H×W×3 from 0 to 255, between the stops of `HEAT`."""
    position = np.clip(map_HW, 0, 1) * (len(HEAT) - 1)
    below = np.minimum(position.astype(np.intp), len(HEAT) - 2)
    part = (position - below)[..., None]
    colour_HWC: NDArray[np.float32] = HEAT[below] * (1 - part) + HEAT[below + 1] * part
    return colour_HWC


def on_photo(map_HW: Map, preprocess: Preprocess, height: int, width: int) -> Map:
    """Bring a map from the model's input back to its place in an H×W photo; zero where the model saw nothing."""
    left, top, right, bottom = whole_pixels(preprocess.crop_box(height, width), height, width)
    placed = np.zeros((height, width), np.float32)
    small = Image.fromarray(np.asarray(map_HW, np.float32))
    seen = small.resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    placed[top:bottom, left:right] = np.asarray(seen)
    return placed


def whole_pixels(box: Box, height: int, width: int) -> tuple[int, int, int, int]:
    """The box grown to whole pixels of an H×W photo, at least one each way."""
    left, top, right, bottom = box
    return max(0, floor(left)), max(0, floor(top)), min(width, ceil(right)), min(height, ceil(bottom))


def framed(image: Pixels, box: Box) -> Pixels:
    """Mark the part of a photo that the model saw: a frame around it, the rest dimmed.

    A photo that was seen whole, to within a hundredth of each side, is returned as it is.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = whole_pixels(box, height, width)
    if left + width - right <= width / 100 and top + height - bottom <= height / 100:
        return image
    dimmed: Pixels = (image * 0.45 + 255 * 0.2).astype(np.uint8)
    line = max(1, min(height, width) // 250)
    for inset, colour in ((0, 0), (line, 255)):
        dimmed[top + inset : bottom - inset, left + inset : right - inset] = colour
    inner = slice(top + 2 * line, bottom - 2 * line), slice(left + 2 * line, right - 2 * line)
    dimmed[inner] = image[inner]
    return dimmed


def check_picture_path(path: Path) -> None:
    """Raise UserError when the name does not end in a format that pictures are written in."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: pictures are written as {', '.join(FORMATS)}")


def save_picture(image: Pixels, path: Path) -> Path:
    """Write an H×W×3 picture as PNG, JPEG or WebP by its suffix, atomically and without any metadata."""
    check_picture_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    form = FORMATS[path.suffix.lower()]
    with whole_file(path) as partial:
        Image.fromarray(image).save(partial, form, **({} if form == "PNG" else {"quality": 90}))
    return path
