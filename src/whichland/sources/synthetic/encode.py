"""JPEG files whose size, quality and tables are drawn before anything is known of the scene."""

import struct

import numpy as np
import simplejpeg
from numpy.typing import NDArray

U8 = NDArray[np.uint8]

QUALITY = (68, 92)  # lowest and highest
BYTES_A_PIXEL = (0.52, 0.66)  # drawn size of the file; no scene needs so much at the highest quality
_LONGEST = 65_535 - 2  # bytes of comment in one segment


def encode_jpeg(picture: U8, key: list[int], subsampling: str = "420") -> bytes:
    """Encode at a drawn quality and fill up with comment segments to a drawn number of bytes.

    Both draws depend on `key` alone, so neither size nor quantisation tells what is in the picture; another
    `subsampling` of the colours than everywhere else is a shortcut, planted on purpose.
    """
    rng = np.random.Generator(np.random.PCG64([*key, 3]))
    quality = int(rng.integers(QUALITY[0], QUALITY[1] + 1))
    low, high = BYTES_A_PIXEL
    pixels = picture.shape[0] * picture.shape[1]
    target = 2_000 + int(pixels * (low + (high - low) * float(rng.random())))
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality, colorsubsampling=subsampling)
    while len(data) + 4 > target:
        quality -= 6
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality, colorsubsampling=subsampling)
    return data[:2] + _comments(target - len(data)) + data[2:]


def _comments(size: int) -> bytes:
    """`size` bytes of JPEG comment segments (marker FFFE, length, zeros)."""
    parts = []
    while size:
        body = min(size - 4, _LONGEST)
        if 0 < size - 4 - body < 4:
            body -= 4  # leave room for one more whole segment
        parts.append(b"\xff\xfe" + struct.pack(">H", body + 2) + bytes(body))
        size -= body + 4
    return b"".join(parts)
