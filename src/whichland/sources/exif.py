"""Where and when a photo was taken, as the camera or phone wrote it into the file (EXIF 2.32, section 4.6.6).

Only the file's head is read; no pixel is decoded.
"""

import io
import math
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Any

from PIL import ExifTags, Image

from whichland.images.decode import let_pillow_open_heic
from whichland.images.panorama import sphere_rows
from whichland.printed import counted
from whichland.progress import track

if TYPE_CHECKING:
    import polars as pl

GPS, BASE = ExifTags.GPS, ExifTags.Base
THREADS = min(8, 2 * (os.cpu_count() or 1))  # the disk is waited for, not the processor

_LETTERS = {"N": 1, "NORTH": 1, "S": -1, "SOUTH": -1, "E": 1, "EAST": 1, "W": -1, "WEST": -1}


_FIELDS = {
    "lat": float,
    "lon": float,
    "heading": float,
    "satellites": str,  # time, by those of the navigation system
    "clock": str,  # time, by the camera's clock
    "camera": str,  # whose clock
    "projection": str,
    "unclear": bool,  # a place is stated, and cannot be read
}


def read_exif(paths: Iterable[str], where: str = "EXIF") -> "pl.DataFrame":
    """Read `lat`, `lon`, `heading`, `captured_at`, `projection` and `camera` of photos; null where they are not stated.

    The time is that of the satellites, else the camera's clock with the zone it names; a clock without a zone is
    taken as UTC. (0, 0), which cameras write before they know their place, counts as none. Places that are stated and
    cannot be read are counted on stderr.
    """
    import polars as pl

    from whichland.sources.columns import good_degrees, heading, placed, say, utc

    paths = list(paths)
    with ThreadPoolExecutor(THREADS) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of large panoramas and of EXIF that is cut off
        found = list(track(pool.map(stated, paths, chunksize=64), len(paths), "reading EXIF"))
    rows = pl.DataFrame([dict.fromkeys(_FIELDS) | one for one in found], schema=_FIELDS)
    lat, lon = pl.col("lat"), pl.col("lon")
    unclear = rows.filter(pl.col("unclear") | (lat.is_not_null() & ~good_degrees(lat, lon))).height
    if unclear:
        say(f"{where}: {counted(unclear, 'photo')} with a place in EXIF that is not understood; left empty")
    return rows.select(
        *placed(lat, lon),
        heading(pl.col("heading")),
        pl.coalesce(utc(pl.col("satellites")), utc(pl.col("clock"))).alias("captured_at"),
        "projection",
        "camera",
    )


def stated(file: str | IO[bytes]) -> dict[str, Any]:
    """Return what a photo states, any numbers that can be written; nothing for a file that Pillow cannot open."""
    let_pillow_open_heic()
    try:
        with Image.open(file) as photo:
            # a PNG's own getexif decodes all pixels to look for EXIF behind them
            exif = Image.Image.getexif(photo)
            gps, taken = exif.get_ifd(ExifTags.IFD.GPSInfo), exif.get_ifd(ExifTags.IFD.Exif)
            names = [exif.get(BASE.Make), exif.get(BASE.Model), taken.get(BASE.BodySerialNumber)]
            size, xmp = photo.size, photo.info.get("xmp") or b""
            sphere = sphere_rows(xmp if isinstance(xmp, bytes) else str(xmp).encode(), lambda: size) is not None
    except Exception:  # what a broken file raises is not bounded; measuring it will say what is wrong with it
        return {}
    lat, north_or_south = _degrees(gps, GPS.GPSLatitude, GPS.GPSLatitudeRef, "NS")
    lon, east_or_west = _degrees(gps, GPS.GPSLongitude, GPS.GPSLongitudeRef, "EW")
    clear = lat is not None and lon is not None
    return {
        "lat": lat if clear else None,
        "lon": lon if clear else None,
        "heading": _number(gps.get(GPS.GPSImgDirection)),
        "satellites": _satellite_time(gps),
        "clock": _camera_time(taken),
        "camera": " ".join(str(name).strip("\0 ") for name in names if name) or None,
        "projection": "equirectangular" if sphere else None,
        "unclear": not clear and (north_or_south or east_or_west),
    }


def stated_place(data: bytes) -> tuple[float, float] | None:
    """Return the latitude and longitude in a photo's EXIF; None where there are none, (0, 0), or none on the globe."""
    found = stated(io.BytesIO(data))
    lat, lon = found.get("lat"), found.get("lon")
    if lat is None or lon is None or abs(lat) > 90 or abs(lon) > 180 or (lat == lon == 0):
        return None
    return round(lat, 6), round(lon, 6)


def _degrees(gps: Mapping[int, Any], tag: int, ref: int, letters: str) -> tuple[float | None, bool]:
    """Turn degrees, minutes and seconds to degrees, and return whether there was anything to turn.

    Minutes and seconds of 0/0 count nothing. The hemisphere is a letter or a word; without one the sign would be a
    guess, and so it would be where a negative number says north or east.
    """
    parts = _parts(gps.get(tag))
    numbers = [_number(part) for part in parts[:3]]
    stated = any(number is not None for number in numbers)
    word = gps.get(ref, "")
    text = (word.decode("latin-1") if isinstance(word, bytes) else str(word)).strip("\0 ").upper()
    sign = _LETTERS.get(text.split()[0]) if text and text[0] in letters else None
    if not numbers or numbers[0] is None or sign is None:
        return None, stated
    negative = any(number is not None and (number < 0 or str(number) == "-0.0") for number in numbers)
    if negative and sign > 0:
        return None, True
    return sign * math.fsum(abs(number or 0.0) / 60.0**power for power, number in enumerate(numbers)), True


def _parts(value: Any) -> tuple[Any, ...]:
    """The numbers of a coordinate: three rationals, fewer, a single one, or a text such as "33/1,51/1,30/1"."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        pairs = re.findall(r"(-?\d+(?:\.\d+)?)(?:/(\d+))?", value)
        return tuple(float(over) / int(under or 1) for over, under in pairs if int(under or 1))
    return value if isinstance(value, tuple) else () if value is None else (value,)


def _number(value: Any) -> float | None:
    """Return a rational as a float; None for 0/0 and for what is no number."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) else None


def _satellite_time(gps: Mapping[int, Any]) -> str | None:
    date = gps.get(GPS.GPSDateStamp)
    clock = [_number(part) for part in _parts(gps.get(GPS.GPSTimeStamp))]
    if not isinstance(date, str) or len(clock) != 3:
        return None
    hours, minutes, seconds = (int(part or 0) for part in clock)
    return f"{date.strip(chr(0) + ' ')} {hours:02}:{minutes:02}:{seconds:02}Z"


def _camera_time(taken: Mapping[int, Any]) -> str | None:
    """The time of capture, else of digitisation, by the clock of the camera."""
    time = next((taken[tag] for tag in (BASE.DateTimeOriginal, BASE.DateTimeDigitized) if tag in taken), None)
    zone = taken.get(BASE.OffsetTimeOriginal, "")
    return f"{time}{zone}".replace("\0", "").strip() if isinstance(time, str) else None
