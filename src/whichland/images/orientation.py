"""EXIF orientation: how the camera was held, and turning the pixels upright."""

import struct

import numpy as np
import numpy.typing as npt

ORIENTATION = 0x0112  # the EXIF tag


def jpeg_orientation(data: bytes) -> int:
    """Read the EXIF orientation, 1 to 8, of a JPEG; 1 when there is none or it is broken.

    Walks the marker segments up to the first scan without copying them.
    """
    at, end = 2, len(data)
    while at + 4 <= end and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            return _exif_orientation(data, at + 10, min(end, at + 2 + length))
        if marker == 0xDA or length < 2:
            break
        at += 2 + length
    return 1


def _exif_orientation(data: bytes, start: int, end: int) -> int:
    """Look the orientation up in the first directory of the TIFF block at data[start:end]."""
    order = {b"II": "<", b"MM": ">"}.get(data[start : start + 2])
    if order is None or start + 8 > end:
        return 1
    directory = start + struct.unpack_from(order + "I", data, start + 4)[0]
    if directory + 2 > end:
        return 1
    (count,) = struct.unpack_from(order + "H", data, directory)
    for entry in range(directory + 2, min(directory + 2 + 12 * count, end - 11), 12):
        tag, kind, _, value = struct.unpack_from(order + "HHIH", data, entry)
        if tag == ORIENTATION:
            return value if kind == 3 and 1 <= value <= 8 else 1
    return 1


def upright(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Undo the EXIF orientation (TIFF 6.0, tag 274), copying only when there is something to undo."""
    if orientation == 1:
        return pixels
    if orientation >= 5:  # 5 to 8 are 1, 4, 3, 2 mirrored along the main diagonal
        pixels = pixels.transpose(1, 0, 2)
        orientation = {5: 1, 6: 2, 7: 3, 8: 4}[orientation]
    turned = {1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1]}[orientation]
    return np.ascontiguousarray(turned)
