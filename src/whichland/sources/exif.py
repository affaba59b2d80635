"""Where and when a photo was taken, as the camera or phone wrote it into the file (EXIF 2.32, section 4.6.6).

Only the file's head is read; no pixel is decoded.
"""

import math
import os
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

import polars as pl
from PIL import ExifTags, Image

from whichland.progress import track
from whichland.sources.cells import good_degrees, heading, utc

GPS, BASE = ExifTags.GPS, ExifTags.Base
THREADS = min(8, 2 * (os.cpu_count() or 1))  # the disk is waited for, not the processor

_FIELDS = {
    **{"lat": pl.Float64, "lon": pl.Float64, "heading": pl.Float64},
    **{"satellites": pl.String, "clock": pl.String},
}


def read_exif(paths: Iterable[str]) -> pl.DataFrame:
    """Read `lat`, `lon`, `heading` and `captured_at` of photos; null where a photo does not state them.

    The time is that of the satellites, else the camera's clock with the zone it names; a clock without a zone is
    taken as UTC. (0, 0), which cameras write before they know their place, counts as none.
    """
    paths = list(paths)
    with ThreadPoolExecutor(THREADS) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of large panoramas and of EXIF that is cut off
        found = list(track(pool.map(stated, paths, chunksize=64), len(paths), "reading EXIF"))
    rows = pl.DataFrame(found, schema=_FIELDS, orient="row")
    lat, lon = pl.col("lat"), pl.col("lon")
    here = good_degrees(lat, lon) & ~((lat == 0) & (lon == 0))
    return rows.select(
        pl.when(here).then(lat).alias("lat"),
        pl.when(here).then(lon).alias("lon"),
        heading(pl.col("heading")).alias("heading"),
        pl.coalesce(utc(pl.col("satellites")), utc(pl.col("clock"))).alias("captured_at"),
    )


def stated(file: str | IO[bytes]) -> tuple[float | None, float | None, float | None, str | None, str | None]:
    """Return latitude, longitude, heading and times as stated; nothing for a file that Pillow cannot open.

    The numbers are any that can be written; the times are those of satellites and of the camera's clock.
    """
    try:
        with Image.open(file) as photo:
            # a PNG's own getexif decodes all pixels to look for EXIF behind them
            exif = Image.Image.getexif(photo)
            gps, taken = exif.get_ifd(ExifTags.IFD.GPSInfo), exif.get_ifd(ExifTags.IFD.Exif)
    except Exception:  # what a broken file raises is not bounded; measuring it will say what is wrong with it
        return None, None, None, None, None
    return (
        _degrees(gps, GPS.GPSLatitude, GPS.GPSLatitudeRef, {"N": 1, "S": -1}),
        _degrees(gps, GPS.GPSLongitude, GPS.GPSLongitudeRef, {"E": 1, "W": -1}),
        _number(gps.get(GPS.GPSImgDirection)),
        _satellite_time(gps),
        _camera_time(taken),
    )


def _degrees(gps: Mapping[int, Any], tag: int, ref: int, signs: Mapping[str, int]) -> float | None:
    """Turn degrees, minutes and seconds to degrees; without the hemisphere the sign would be a guess."""
    parts = [_number(part) for part in _tuple(gps.get(tag))]
    stated = gps.get(ref, "")
    letter = stated.decode("latin-1") if isinstance(stated, bytes) else str(stated)
    sign = signs.get(letter.strip("\0 ").upper())
    if not parts or None in parts or sign is None:
        return None
    return sign * math.fsum(part / 60.0**power for power, part in enumerate(parts[:3]) if part is not None)


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else ()


def _number(value: Any) -> float | None:
    """Return a rational as a float; None for 0/0 and for what is no number."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) else None


def _satellite_time(gps: Mapping[int, Any]) -> str | None:
    date = gps.get(GPS.GPSDateStamp)
    clock = [_number(part) for part in _tuple(gps.get(GPS.GPSTimeStamp))]
    if not isinstance(date, str) or len(clock) != 3:
        return None
    hours, minutes, seconds = (int(part or 0) for part in clock)
    return f"{date.strip(chr(0) + ' ')} {hours:02}:{minutes:02}:{seconds:02}Z"


def _camera_time(taken: Mapping[int, Any]) -> str | None:
    time, zone = taken.get(BASE.DateTimeOriginal), taken.get(BASE.OffsetTimeOriginal, "")
    return f"{time}{zone}".replace("\0", "").strip() if isinstance(time, str) else None
