"""One encoding for all: baseline JPEG, 4:2:0, the standard tables, nothing in the file but the picture.

Pixels in, so that no EXIF, profile, thumbnail or comment of the original can come along. At one size and
quality the header of every file is the same to the byte: only the compressed pixels differ.
"""

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


def encode_jpeg(pixels_HWC: Pixels, quality: int) -> bytes:
    """Encode H×W×3 uint8 RGB; `quality` 1 to 100 scales libjpeg's standard tables. Same pixels, same bytes."""
    data: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels_HWC), quality, colorspace="RGB", colorsubsampling="420", fastdct=False
    )
    return data


def shrink(pixels_HWC: Pixels, box: Box, size: tuple[int, int]) -> Pixels:
    """Resample the part `box` of a picture to `size` (width, height), antialiased (Lanczos, Pillow)."""
    return np.asarray(Image.fromarray(pixels_HWC).resize(size, Image.Resampling.LANCZOS, box=box))
