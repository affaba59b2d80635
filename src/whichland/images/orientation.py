"""EXIF orientation: how the camera was held, and turning the pixels upright."""

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

ORIENTATION = 0x0112  # the EXIF tag
WHOLE = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}  # TIFF's types of whole numbers; phones write several of them

EXIF, APP1, SCAN = b"Exif\0\0", 0xE1, 0xDA
STANDALONE = frozenset({0x00, 0x01, 0xFF, *range(0xD0, 0xDA)})  # no length follows: stuffing, TEM, fill, RST, SOI, EOI


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield each marker of a JPEG up to its first scan, with where its content begins and ends, copying nothing.

    As libjpeg does, anything before a marker is skipped: ITU-T T.81 (B.1.1.2) allows fill bytes FF there, and files
    in the wild have other bytes, too.
    """
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in STANDALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if length < 2:
            return
        yield marker, at + 4, min(at + 2 + length, len(data))
        if marker == SCAN:
            return
        at += 2 + length


def jpeg_orientation(data: bytes) -> int:
    """Read the EXIF orientation, 1 to 8, of a JPEG; 1 when there is none or it is broken."""
    for marker, start, end in jpeg_segments(data):
        if marker == APP1 and data[start : start + 6] == EXIF:
            return _exif_orientation(data, start + 6, end)
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
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if tag == ORIENTATION:
            value = struct.unpack_from(order + WHOLE[kind], data, entry + 8)[0] if kind in WHOLE else 1
            return value if 1 <= value <= 8 else 1
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
