"""A photo as it came: is it whole, and what of it is kept.

Stored are the bytes that make the picture, not decoded and encoded again. EXIF, XMP, IPTC, comments and whatever
follows the end of the image are dropped: they may name the photographer's device, home or face regions.
"""

import re
import struct

from whichland.images.decode import ImageError, decode
from whichland.images.orientation import ORIENTATION, jpeg_orientation

SOI, EOI = b"\xff\xd8", b"\xff\xd9"

# The end of a scan: 0xFF before anything but the stuffed 0 and the restart markers. Fill bytes before it are not
# part of the pattern: over a long run of them, a pattern with a repeat would start again at each.
_SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def verified(data: bytes) -> bytes:
    """Return the JPEG without metadata once every pixel of it has been decoded. Raises ImageError."""
    picture = without_metadata(data)
    decode(picture)
    return picture


def without_metadata(data: bytes) -> bytes:
    """Drop the segments of a JPEG that say more than how to decode it, losslessly.

    Kept are JFIF, the ICC profile and Adobe's colour mark. An orientation other than upright is kept as the only
    tag of a new EXIF block. Raises ImageError when it is no JPEG or its end marker is missing, that is, when
    even one byte of the image has been cut off.
    """
    if data[:2] != SOI:
        raise ImageError(f"not a JPEG, it starts with {data[:8]!r}")
    kept, at = [SOI], 2
    orientation, scanned = jpeg_orientation(data), False
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at:end]
        if marker == 0xD9 or end > len(data):
            break
        if segment[:2] == b"\xff\xe1" and segment[4:10] == b"Exif\0\0" and not scanned:
            if orientation != 1:
                kept.append(_orientation_segment(orientation))
                orientation = 1  # once
        elif scanned or _describes_pixels(segment):  # between scans all is kept, for the decoder to judge
            kept.append(segment)
        at = end
        if marker == 0xDA:
            scanned, found = True, _SCAN_END.search(data, at)
            if found is None:
                break
            kept.append(data[at : found.start()].rstrip(b"\xff"))
            at = found.start()
    if scanned and data[at : at + 2] == EOI:
        return b"".join((*kept, EOI))
    raise ImageError("truncated JPEG: the end marker is missing")


def _describes_pixels(segment: bytes) -> bool:
    marker = segment[1]
    if marker == 0xE2:
        return segment[4:16] == b"ICC_PROFILE\0"
    if 0xE0 <= marker <= 0xEF:
        return marker in (0xE0, 0xEE)
    return marker != 0xFE


def _orientation_segment(orientation: int) -> bytes:
    """Build an EXIF segment with one tag (TIFF 6.0: header, one directory of one entry, no next)."""
    entry = struct.pack("<HHIHH", ORIENTATION, 3, 1, orientation, 0)
    tiff = b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    body = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
