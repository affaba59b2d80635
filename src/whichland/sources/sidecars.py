"""What files beside photos say of them: those of Google Takeout, of Mapillary's tools, and of the hub's ImageFolder."""

import re
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from whichland.errors import UserError
from whichland.printed import counted
from whichland.sources.columns import placed, say
from whichland.sources.text import decode_text, parse_json

MAPILLARY = "mapillary_image_description.json"
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
LARGEST = 64_000_000  # bytes of a JSON file that is read

_NUMBERS, _TEXTS = ("lat", "lon", "heading"), ("captured_at", "sequence")
_FIELDS = {**dict.fromkeys(_NUMBERS, pl.Float64), **dict.fromkeys(_TEXTS, pl.String)}
Record = dict[str, Any]


def metadata_table(folder: Path) -> Path | None:
    """Return the table of an ImageFolder of the hub, `metadata.csv` or `.jsonl` with a column `file_name`."""
    for file in (folder / name for name in METADATA):
        if file.is_file():
            with file.open("rb") as table:
                head = table.read(4096)
            if b"file_name" in head or file.suffix == ".parquet":
                return file
    return None


def read_sidecars(folder: Path, photos: list[str], stated: pl.DataFrame) -> pl.DataFrame:
    """Fill what the photos' own EXIF does not state from files beside them; adds `sequence`.

    `photos` are paths below `folder`, `stated` has what `read_exif` gives of each.
    """
    by_folder: dict[str, dict[str, str]] = {}  # the path of each photo by its name
    for path in photos:
        by_folder.setdefault(path.rpartition("/")[0], {})[PurePosixPath(path).name] = path
    found: dict[str, Record] = {}
    for below, names in by_folder.items():
        for file in sorted((folder / below).glob("*.json")):
            for name, record in _records(file, names):
                if name in names:
                    found[names[name]] = {**found.get(names[name], {}), **record}
    rows = pl.DataFrame([{**dict.fromkeys(_FIELDS), **found.get(path, {})} for path in photos], schema=_FIELDS)
    rows = rows.with_columns(placed(pl.col("lat"), pl.col("lon")))
    if found:
        say(f"{folder}: place and time are read from JSON files beside {counted(len(found), 'photo')}")
    has = {name: stated["lat" if name == "lon" else name].is_not_null() for name in (*_NUMBERS, "captured_at")}
    filled = {name: stated[name].zip_with(own, rows[name]) for name, own in has.items()}
    return stated.with_columns(**filled, sequence=rows["sequence"])


def _records(file: Path, names: dict[str, str]) -> list[tuple[str, Record]]:
    """The records of a JSON file by the name of the photo; none for a file of another kind."""
    try:
        content = parse_json(decode_text(file.read_bytes())[0])[0] if file.stat().st_size <= LARGEST else None
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, IndexError):
        return []
    if isinstance(content, list):
        described = [entry for entry in content if isinstance(entry, dict) and "MAPLatitude" in entry]
        return [(PurePosixPath(str(entry.get("filename"))).name, _of_mapillary(entry)) for entry in described]
    if isinstance(content, dict) and ("photoTakenTime" in content or "geoData" in content):
        return [(_photo_of(file.name, str(content.get("title")), names), _of_takeout(content))]
    return []


def _photo_of(sidecar: str, title: str, names: dict[str, str]) -> str:
    """The photo that Takeout's file belongs to.

    `IMG_1.JPG.supplemental-metadata.json` and its shortened forms belong to `IMG_1.JPG`, and `….json` with a number
    in brackets to the photo with the same one, `IMG_1(2).JPG`.
    """
    bare = sidecar.removesuffix(".json")
    number = re.search(r"\(\d+\)$", bare)
    if number:
        title = str(PurePosixPath(title).with_suffix("")) + number[0] + PurePosixPath(title).suffix
    fitting = [name for name in names if bare == name or bare.startswith(name + ".")] if not number else []
    if fitting:
        return max(fitting, key=len)
    if title in names:
        return title
    cut = [name for name in names if title.startswith(PurePosixPath(name).stem) and len(PurePosixPath(name).stem) > 40]
    return cut[0] if len(cut) == 1 else ""


def _of_takeout(content: Record) -> Record:
    places = [content.get(name) for name in ("geoData", "geoDataExif")]
    place = next((one for one in places if isinstance(one, dict) and (one.get("latitude") or one.get("longitude"))), {})
    taken = content.get("photoTakenTime")
    stamp = str(taken.get("timestamp")) if isinstance(taken, dict) else ""
    time = datetime.fromtimestamp(int(stamp), UTC) if re.fullmatch(r"\d{1,11}", stamp) else None
    return {
        "lat": _number(place.get("latitude")),
        "lon": _number(place.get("longitude")),
        "captured_at": f"{time:%Y-%m-%dT%H:%M:%SZ}" if time else None,
    }


def _of_mapillary(entry: Record) -> Record:
    """Read an entry as mapillary_tools writes it; MAPCaptureTime is 2021_05_30_12_00_01_000, UTC."""
    time = re.fullmatch(r"(\d{4})_(\d\d)_(\d\d)_(\d\d)_(\d\d)_(\d\d)_(\d{3})", str(entry.get("MAPCaptureTime")))
    heading, sequence = entry.get("MAPCompassHeading"), entry.get("MAPSequenceUUID")
    angle = _number(heading.get("TrueHeading")) if isinstance(heading, dict) else None
    return {
        "lat": _number(entry.get("MAPLatitude")),
        "lon": _number(entry.get("MAPLongitude")),
        "heading": None if angle is None else angle % 360,
        "captured_at": "{}-{}-{}T{}:{}:{}.{}Z".format(*time.groups()).replace(".000Z", "Z") if time else None,
        "sequence": str(sequence) if sequence is not None else None,
    }


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
