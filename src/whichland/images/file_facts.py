"""What is known of a file before a pixel is decoded: size, encoder settings, order of its parts.

None of it is about the scene, and any of it may give away which collection a photo came from.
"""

import hashlib
from typing import Any, NamedTuple

from whichland.images.decode import image_size
from whichland.images.orientation import APP1, EXIF, SCAN, jpeg_segments

_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_QUANTISATION, _ICC = 0xDB, b"ICC_PROFILE\0"
_SAMPLINGS: dict[tuple[float, float], str] = {
    (2, 2): "4:2:0",
    (2, 1): "4:2:2",
    (1, 1): "4:4:4",
    (1, 2): "4:4:0",
    (4, 1): "4:1:1",
}
_STARTS = ((b"\x89PNG", "PNG"), (b"GIF8", "GIF"), (b"BM", "BMP"), (b"II", "TIFF"), (b"MM", "TIFF"), (b"RIFF", "WEBP"))


class FileFacts(NamedTuple):
    """Facts of one encoded image; those of a JPEG's header are empty for other formats."""

    width: int  # upright
    height: int
    aspect: float
    megapixels: float
    header_bytes: int  # all in front of the first scan: metadata and tables
    format: str
    progressive: bool
    subsampling: str  # of the colours, such as 4:2:0
    quantisation: str  # hash of the tables, in order
    markers: str  # order of the segments up to the first scan, hexadecimal
    exif: bool
    icc: bool
    bytes: int
    bytes_per_pixel: float


def file_facts(data: bytes) -> FileFacts:
    """Read the facts of an encoded image. Raises ImageError when its header cannot be read."""
    width, height = image_size(data)
    size = {"width": width, "height": height, "aspect": width / height, "megapixels": width * height / 1e6}
    weight = {"bytes": len(data), "bytes_per_pixel": len(data) / (width * height)}
    header = _jpeg_header(data) if data.startswith(b"\xff\xd8") else _other_header(data)
    return FileFacts(**(size | header | weight))


def _other_header(data: bytes) -> dict[str, Any]:
    # what an extended WebP says it holds; the metadata stand behind the pixels (RFC 9649, section 2.7.1)
    flags = data[20] if data[8:16] == b"WEBPVP8X" and len(data) > 20 else 0
    return {
        **{"header_bytes": 0, "progressive": False, "subsampling": "", "quantisation": "", "markers": ""},
        "format": next((name for start, name in _STARTS if data.startswith(start)), "other"),
        "exif": b"Exif" in data[:4096] or b"eXIf" in data[:4096] or bool(flags & 0x08),
        "icc": b"iCCP" in data[:4096] or bool(flags & 0x20),
    }


def _jpeg_header(data: bytes) -> dict[str, Any]:
    """Walk the segments of a JPEG up to its first scan (ITU-T T.81, annex B)."""
    markers, tables = [], hashlib.sha256()
    progressive, subsampling, exif, icc = False, "", False, False
    header_bytes = 2
    for marker, at, end in jpeg_segments(data):
        header_bytes = at - 4 if marker == SCAN else end
        markers.append(f"{marker:02X}")
        if marker == _QUANTISATION:
            tables.update(data[at:end])
        elif marker in _FRAMES:
            progressive = marker in (0xC2, 0xC6, 0xCA, 0xCE)
            subsampling = _subsampling(data[at:end])
        exif |= marker == APP1 and data.startswith(EXIF, at)
        icc |= marker == 0xE2 and data.startswith(_ICC, at)
    found = {"format": "JPEG", "header_bytes": header_bytes, "progressive": progressive, "subsampling": subsampling}
    return found | {"quantisation": tables.hexdigest()[:8], "markers": " ".join(markers), "exif": exif, "icc": icc}


def _subsampling(frame: bytes) -> str:
    """Read how the colours are sampled from a frame header: luma's factors over those of the first colour."""
    if len(frame) < 12 or frame[5] < 3:
        return "grey"
    luma, colour = frame[7], frame[10]
    across, down = (luma >> 4) / max(colour >> 4, 1), (luma & 15) / max(colour & 15, 1)
    return _SAMPLINGS.get((across, down), f"{across:g}x{down:g}")
