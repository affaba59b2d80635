"""Pillow's antialiased resampling, several times as fast: a pass across, then one down, in SIMD instructions.

Rounded between the passes as Pillow rounds, so that fewer than one pixel in a hundred differs, by one or two levels of
256: docs/decisions/jpeg-scale.md says what that does to answers. One call for both directions would be a fifth faster
and go down first, which changes one pixel in six.
"""

from math import ceil, floor
from typing import Literal

import numpy as np
from cykooz_resizer import CropBox, FilterType, ImageData, PixelType, ResizeAlg, ResizeOptions, Resizer
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # H×W×3, RGB
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels
Filter = Literal["bilinear", "bicubic"]
FILTERS: dict[Filter, tuple[ResizeAlg, int]] = {  # with the pixels of the coarser side that it reaches to
    "bilinear": (ResizeAlg.convolution(FilterType.bilinear), 1),
    "bicubic": (ResizeAlg.convolution(FilterType.catmull_rom), 2),  # both are Keys' cubic with a = -0.5
}


def resample(image_HWC: Pixels, size: tuple[int, int], filter_name: Filter, box: Box) -> Pixels:
    """Resample `box`, which lies within the image, to `size` (width, height), as `Image.resize` of Pillow does."""
    algorithm, reach = FILTERS[filter_name]
    (left, right), (top, bottom) = (
        _needed(*sides, pixels, whole, reach)
        for sides, pixels, whole in zip(((box[0], box[2]), (box[1], box[3])), size, image_HWC.shape[1::-1], strict=True)
    )
    part_HWC = image_HWC[top:bottom, left:right]
    rows, columns = part_HWC.shape[:2]
    across = CropBox(max(0.0, box[0] - left), 0, min(box[2], right) - max(box[0], left), rows)
    down = CropBox(0, max(0.0, box[1] - top), size[0], min(box[3], bottom) - max(box[1], top))
    whole = ImageData(columns, rows, PixelType.U8x3, part_HWC.tobytes())
    narrow, small = ImageData(size[0], rows, PixelType.U8x3), ImageData(*size, PixelType.U8x3)
    resizer = Resizer()  # one a call: it may not be used by two threads at a time
    resizer.resize(whole, narrow, ResizeOptions(resize_alg=algorithm, crop_box=across))
    resizer.resize(narrow, small, ResizeOptions(resize_alg=algorithm, crop_box=down))
    return np.frombuffer(small.get_buffer(), np.uint8).reshape(size[1], size[0], 3)


def _needed(begin: float, end: float, pixels: int, whole: int, reach: int) -> tuple[int, int]:
    """The first of the pixels that the filter reads for this side of a box, and the one after the last."""
    further = reach * max(1.0, (end - begin) / pixels)
    return max(0, floor(begin - further)), min(whole, ceil(end + further))
