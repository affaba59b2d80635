"""Heat over a photo: the map laid on what the model saw, strong where the map is high, clear where it is not."""

import math
from collections.abc import Sequence
from math import ceil, floor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whichland.errors import UserError
from whichland.images.preprocess import Pixels
from whichland.model.views import Box, View
from whichland.whole_file import whole_file

Map = NDArray[np.float32]  # H×W in [0, 1]

# Ten stops from black over violet, red and orange to pale yellow; luminance rises evenly, so the order of the
# values survives colour blindness and grey print.
_STOPS = "000004 1b0c41 4a0c6b 781c6d a52c60 cf4446 ed6925 fb9b06 f7d13d fcffa4"
HEAT = np.array([list(bytes.fromhex(stop)) for stop in _STOPS.split()], np.float32)
TOUCH = 1e-6  # of a pixel: what a box reaches into one by rounding alone
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
    stops = np.linspace(0, 1, len(HEAT))
    return np.stack([np.interp(map_HW, stops, channel) for channel in HEAT.T], axis=-1).astype(np.float32)


def on_photo(map_HW: Map, view: View, height: int, width: int) -> Map:
    """Bring a view's map back to its place in an H×W photo; zero where the view saw nothing."""
    left, top, right, bottom = whole_pixels(view.box, height, width)
    placed = np.zeros((height, width), np.float32)
    columns = np.arange(left, right) % width  # a view of a sphere may reach across its seam
    placed[top:bottom, columns] = over_box(map_HW, view, bottom - top, right - left)
    return placed


def over_box(map_HW: Map, view: View, height: int, width: int) -> Map:
    """A view's map as it lies over the box of the view, H×W pixels large: for a view of a sphere projected back."""
    if view.heading is None or view.fov is None:
        small = Image.fromarray(np.asarray(map_HW, np.float32))
        return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))
    left, top, right, bottom = view.box
    first, last = view.rows
    column_W = left + (np.arange(width) + 0.5) / width * (right - left)
    row_H = first + (top + (np.arange(height) + 0.5) / height * (bottom - top)) * (last - first)
    longitude_W = np.radians((column_W - 0.5) * 360 - view.heading + 180) % (2 * math.pi) - math.pi
    latitude_H = np.radians((0.5 - row_H) * 180)
    rows, columns = map_HW.shape
    across = math.tan(math.radians(view.fov) / 2)  # half of the view, at a distance of 1
    x_HW = np.broadcast_to(np.tan(longitude_W) / across, (height, width))
    y_HW = -np.tan(latitude_H)[:, None] / np.cos(longitude_W) / (across * rows / columns)
    seen_HW = (np.abs(x_HW) < 1) & (np.abs(y_HW) < 1) & (np.abs(longitude_W) < math.pi / 2)
    laid = np.zeros((height, width), np.float32)
    at = ((y_HW[seen_HW] + 1) / 2 * rows).astype(int), ((x_HW[seen_HW] + 1) / 2 * columns).astype(int)
    laid[seen_HW] = map_HW[at]
    return laid


def whole_pixels(box: Box, height: int, width: int) -> tuple[int, int, int, int]:
    """A box in fractions of an H×W photo, grown to whole pixels of it."""
    left, top, right, bottom = box
    across = floor(left * width + TOUCH), ceil(right * width - TOUCH)
    down = floor(top * height + TOUCH), ceil(bottom * height - TOUCH)
    return max(0, across[0]), max(0, down[0]), across[1], min(height, down[1])


def framed(image: Pixels, boxes: Sequence[Box]) -> Pixels:
    """Mark the parts of a photo that the model saw (boxes in fractions of it): a frame around each, the rest dimmed.

    A photo that was seen whole in one view, to within a hundredth of each side, is returned as it is.
    """
    height, width = image.shape[:2]
    inside = [whole_pixels(box, height, width) for box in boxes]
    left, top, right, bottom = inside[0]
    if len(boxes) == 1 and left + width - right <= width / 100 and top + height - bottom <= height / 100:
        return image
    dimmed: Pixels = (image * 0.45 + 255 * 0.2).astype(np.uint8)
    line = max(1, min(height, width) // 250)
    for left, top, right, bottom in inside:
        for inset, colour in ((0, 0), (line, 255), (2 * line, image)):
            rows = np.arange(top + inset, bottom - inset)
            columns = np.arange(left + inset, right - inset) % width
            part = np.ix_(rows, columns)
            dimmed[part] = colour if isinstance(colour, int) else colour[part]
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
