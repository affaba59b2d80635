"""What the Graph API says of an image, as a row of the manifest; and the photo itself: is it whole, what of it is kept.

Any field may be missing or null; only the id is always there. Stored are the bytes that make the picture, not decoded
and encoded again. EXIF, XMP, IPTC, comments and whatever follows the end of the image are dropped: they may name the
photographer's device, home or face regions.
"""

import hashlib
import struct
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

import polars as pl

from whichland.images.decode import ImageError, decode
from whichland.images.orientation import APP1, EXIF, ORIENTATION, SCAN, jpeg_orientation, jpeg_segments
from whichland.sources.columns import NOWHERE, complete
from whichland.sources.mapillary.config import HarvestConfig, milliseconds

SOURCE = "mapillary"
FIELDS = (
    *("id", "geometry", "computed_geometry", "captured_at", "compass_angle", "sequence", "creator"),
    *("camera_type", "is_pano", "width", "height"),
)


class Record(TypedDict):
    """One image; degrees, milliseconds since 1970, pixels of the original."""

    id: str
    sequence: str | None
    lat: float | None
    lon: float | None
    captured_ms: int | None
    heading: float | None
    projection: str | None
    creator: str | None
    width: int | None
    height: int | None
    url: str | None  # of the photo; expires


ROW = pl.Struct(
    {
        **dict.fromkeys(("id", "sequence", "projection", "creator"), pl.String()),
        **dict.fromkeys(("lat", "lon", "heading"), pl.Float64()),
        "captured_ms": pl.Int64(),
    }
)


def url_field(config: HarvestConfig) -> str:
    """Name the field that holds the photo's address at the wanted size."""
    return f"thumb_{config.size}_url"


def is_id(text: str) -> bool:
    """Whether a text is an image's id: a number of at most 20 digits, as it becomes the name of a file."""
    return text.isascii() and text.isdecimal() and len(text) <= 20


def to_record(image: Mapping[str, Any], field: str) -> Record | None:
    """Read one image of an answer; None when it has no usable id."""
    native = str(image.get("id") or "")
    if not is_id(native):
        return None
    lat, lon = _position(image.get("computed_geometry")) or _position(image.get("geometry")) or (None, None)
    captured, heading, width, height = (
        _number(image.get(name)) for name in ("captured_at", "compass_angle", "width", "height")
    )
    camera, creator = image.get("camera_type"), image.get("creator")
    projection = None  # of a fisheye picture, and of one of which nothing is said
    if image.get("is_pano") or camera in ("spherical", "equirectangular"):
        projection = "equirectangular"
    elif camera == "perspective" or (camera is None and image.get("is_pano") is False):
        projection = "perspective"
    return Record(
        id=native,
        sequence=_text(image.get("sequence")),
        lat=lat,
        lon=lon,
        captured_ms=None if captured is None else int(captured),
        heading=None if heading is None else heading % 360,
        projection=projection,
        creator=_text(creator.get("username")) if isinstance(creator, Mapping) else None,
        width=None if width is None else int(width),
        height=None if height is None else int(height),
        url=_text(image.get(field)),
    )


def _position(geometry: Any) -> tuple[float, float] | None:
    """Read (lat, lon) of a GeoJSON point, which has them the other way round; None when there is none."""
    if not isinstance(geometry, Mapping) or not isinstance(geometry.get("coordinates"), list):
        return None
    lon, lat = ([_number(value) for value in geometry["coordinates"][:2]] + [None, None])[:2]
    if lat is None or lon is None or not (-90 <= lat <= 90 and -180 <= lon <= 180):
        return None
    return None if max(abs(lat), abs(lon)) < NOWHERE else (lat, lon)


def _number(value: Any) -> float | None:
    """Return a number; None for what is none, JSON's NaN and Infinity among it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) <= sys.float_info.max else None


def _text(value: Any) -> str | None:
    """Return a text that UTF-8 can hold: JSON may have half of a surrogate pair, databases may not."""
    return value.encode(errors="replace").decode() if isinstance(value, str) and value else None


def left_out(record: Record, config: HarvestConfig) -> str | None:
    """Say why the settings leave the image out; None when they do not."""
    pano, taken = record["projection"] == "equirectangular", record["captured_ms"]
    if pano if config.panoramas == "without" else (config.panoramas == "only" and not pano):
        return "panorama" if pano else "no panorama"
    if config.after and (taken is None or taken < milliseconds(config.after)):
        return "taken too early or at no stated time"
    if config.before and (taken is None or taken >= milliseconds(config.before)):
        return "taken too late or at no stated time"
    if config.min_size and min(record["width"] or 0, record["height"] or 0) < config.min_size:
        return "too small or of no stated size"
    return None


def order(seed: int, native: str) -> bytes:
    """Give the key by which a sample takes images: as good as random, the same in every run."""
    return hashlib.sha256(f"{seed}:{native}".encode()).digest()


def iso(captured_ms: int) -> str | None:
    """Write milliseconds since 1970 as ISO 8601 in UTC; None for what no calendar holds."""
    try:
        time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=captured_ms)
    except OverflowError:
        return None
    return time.isoformat(timespec="milliseconds" if captured_ms % 1000 else "seconds").replace("+00:00", "Z")


def to_frame(records: list[str], uris: list[str]) -> pl.DataFrame:
    """Turn records, as JSON, and the places of their photos into rows with the source columns."""
    rows = pl.DataFrame({"row": pl.Series(records, dtype=pl.String).str.json_decode(ROW)}).unnest("row")
    name = pl.when(pl.col("creator").is_null()).then(pl.lit("")).otherwise(pl.format("© {}, ", "creator"))
    return complete(
        rows.with_columns(
            pl.format("{}/{}", pl.lit(SOURCE), "id").alias("image_id"),
            pl.Series("uri", uris, dtype=pl.String),
            pl.lit(SOURCE).alias("source"),
            rows["captured_ms"].map_elements(iso, return_dtype=pl.String).alias("captured_at"),
            pl.lit("CC-BY-SA-4.0").alias("license"),
            pl.concat_str(name, pl.lit("Mapillary, CC BY-SA 4.0")).alias("attribution"),
        )
    )


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
    if data[:2] != b"\xff\xd8":
        raise ImageError(f"not a JPEG, it starts with {data[:8]!r}")
    kept, orientation = [data[:2]], jpeg_orientation(data)
    for marker, start, end in jpeg_segments(data):
        segment = data[start - 4 : end]
        if marker == SCAN:  # in its codes and up to the next FF is followed by 0 or a restart: this is the image's end
            stop = data.find(b"\xff\xd9", end)
            if stop < 0:
                break
            return b"".join((*kept, segment, data[end:stop].rstrip(b"\xff"), b"\xff\xd9"))
        says_more = marker == 0xFE or (0xE0 <= marker <= 0xEF and marker not in (0xE0, 0xEE))
        if marker == APP1 and segment[4:10] == EXIF:
            if orientation != 1:  # TIFF 6.0: header, one directory of one entry, no next
                entry = struct.pack("<HHIHH", ORIENTATION, 3, 1, orientation, 0)
                body = EXIF + b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
                kept.append(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)
                orientation = 1  # once
        elif not says_more or segment[4:16] == b"ICC_PROFILE\0":
            kept.append(segment)
    raise ImageError("truncated JPEG: the end marker is missing")
