"""The Mapillary Traffic Sign Dataset: `splits/*.txt`, `images/[<split>/]<key>.jpg`, `annotations/<key>.json`.

    FOLDER/splits/{train,val,test}.txt         a key on each line
    FOLDER/images/train/<key>.jpg              or all in images/
    FOLDER/annotations/<key>.json              {"width", "height", "ispano", "objects": […]}; none of the test part

It says nothing about place or country. Its keys are those of 22 characters that Mapillary used until 2021, and no
public call turns them into the numbers of today's API, so the user's own table must: key and id, key and lat and
lon, or key and country. The set's own split is not kept: it knows of signs, not of drives, and whichland splits by
group. It is free for academic research; its terms: https://www.mapillary.com/dataset/trafficsign.
"""

import json
import re
from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.printed import counted
from whichland.sources.columns import ROLES, blank_to_null, complete, degrees, find_columns, identified, labels, say
from whichland.sources.files import absolute
from whichland.sources.table import read_text

SPLITS = ("train", "val", "test")

_KEY = re.compile(r"[A-Za-z0-9_-]{22}")
_COLUMNS = {
    "key": ("key", "image_key", "mapillary_key", "old_key", "image_id", "id"),
    **{role: ROLES[role] for role in ("lat", "lon", "country")},
    "mapillary_id": ("mapillary_id", "new_id", "id", "image_id"),
}


def is_traffic_signs(folder: Path) -> bool:
    """Whether a folder has the data set's layout."""
    return (folder / "images").is_dir() and any((folder / "splits" / f"{name}.txt").is_file() for name in SPLITS)


def read_traffic_signs(
    folder: Path, *, source: str | None = None, skip_unknown: bool = False, keys: Path | None = None
) -> pl.DataFrame:
    """List the photos that the split lists name; `keys` is a table that says where they were taken.

    Photos that are listed and not there raise UserError, or with `skip_unknown` are left out and counted, as are
    unknown countries in the table. Without coordinates or a country the rows have neither, and a line on stderr
    says so. What is no key is refused.
    """
    listed = _read_lists(folder)
    places = (folder / "images", *(folder / "images" / name for name in SPLITS))
    photos = {path.stem: absolute(path) for place in places for path in place.glob("*.jpg")}
    missing = [key for key in listed if key not in photos]
    if missing and not skip_unknown:
        raise UserError(
            f"{folder}: not in images/: {len(missing):,} of {counted(len(listed), 'listed photo')}, {missing[0]}.jpg "
            "first; the set comes in several archives: unpack all, or leave out what misses with --skip-unknown"
        )
    if missing:
        say(f"{folder}: left out: {counted(len(missing), 'listed photo')} not in images/")
    listed = [key for key in listed if key in photos]
    projections = pl.Series("projection", [_projection(folder, key) for key in listed], dtype=pl.String)
    rows = {"key": pl.Series(listed, dtype=pl.String), "uri": [str(photos[key]) for key in listed]}
    frame = pl.DataFrame({**rows, "projection": projections}).with_columns(
        *identified(source or "traffic-signs", "key"), attribution=pl.lit("Mapillary Traffic Sign Dataset")
    )
    if keys is None:
        say(
            f"{folder}: the Traffic Sign Dataset has no GPS and no countries, and its 22-character keys cannot be "
            "looked up any more; give a table of key and lat and lon, or key and country, with --keys TABLE.csv"
        )
        return complete(frame)
    placed = _placed(frame, keys, skip_unknown)
    return complete(placed, extra=("mapillary_id",) if "mapillary_id" in placed.columns else ())


def _read_lists(folder: Path) -> list[str]:
    """Give the keys of all lists, each once. Raises UserError for what is no key: it would become a path."""
    lists = [folder / "splits" / f"{name}.txt" for name in SPLITS]
    found: dict[str, None] = {}
    for file in (file for file in lists if file.is_file()):
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file}: cannot be read ({error})") from None
        for number, line in enumerate(lines, 1):
            key = line.strip()
            if key and not _KEY.fullmatch(key):
                raise UserError(f"{file}: line {number}: {key[:60]!r} is not a key of 22 letters, digits, - and _")
            if key:
                found[key] = None
    if not found:
        raise UserError(f"{folder}: no keys in splits/train.txt, val.txt or test.txt")
    return list(found)


def _projection(folder: Path, key: str) -> str | None:
    """Read `ispano` of the annotation; null where there is none, as in the test part."""
    file = folder / "annotations" / f"{key}.json"
    try:
        pano = json.loads(file.read_bytes())["ispano"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: not an annotation of the set ({type(error).__name__}: {error})") from None
    return "equirectangular" if pano else "perspective"


def _placed(frame: pl.DataFrame, table: Path, skip_unknown: bool) -> pl.DataFrame:
    """Add what the user's table knows of each key."""
    rows = _read_table(table).filter(pl.col("key").is_in(frame["key"].implode()))
    rows = labels(degrees(rows, str(table)), str(table), skip_unknown)
    joined = frame.join(rows.drop("row", "country", strict=False), on="key", how="left", maintain_order="left")
    columns = [name for name in ("lat", "lon", "label_country") if name in joined.columns]
    if columns:
        without = joined.filter(pl.all_horizontal(pl.col(columns).is_null())).height
        if without:
            say(f"{table}: no row in it for {without:,} of {counted(frame.height, 'photo')}, left without a place")
    else:
        ids = joined["mapillary_id"].drop_nulls().len()
        say(
            f"{table}: it has ids of the Graph API for {ids:,} of {frame.height:,} photos and no coordinates; "
            "whichland data fetch mapillary:ids=FILE gets photos and coordinates for a list of ids"
        )
    return joined


def _read_table(file: Path) -> pl.DataFrame:
    """Read row, key, and mapillary_id, lat, lon, country where there are such columns. Raises UserError."""
    text = read_text(file)
    taken = find_columns(text, _COLUMNS)
    if "key" not in taken or len(taken) == 1 or ("lat" in taken) != ("lon" in taken):
        raise UserError(
            f"{file}: expected the columns key and id, key and lat and lon, or key and country; it has "
            f"{', '.join(text.columns[:12])}"
        )
    rows = blank_to_null(text.select(pl.col(name).alias(role) for role, name in taken.items()))
    rows = rows.with_row_index("row", offset=1).filter(pl.col("key").is_not_null())
    repeated = rows.filter(pl.col("key").is_duplicated())
    if repeated.height:
        raise UserError(f"{file}: the key {repeated['key'][0]} stands more than once")
    return rows
