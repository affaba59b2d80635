"""Lists of photos from KartaView's API 2.0 (`GET /2.0/photo/`), saved as they came.

A file is one answer, `{"status": {"apiCode": 600, …}, "result": {"data": [{"id": …, "lat": …, "lng": …}, …]}}`, a
list of photos, or JSON lines of either. Every value is text. The API answers HTTP 200 even when it refuses; the
reason is in `status`. The photos themselves lie beside the list or below, as `<id>.jpg`. They are under
CC-BY-SA-4.0.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from whichland.errors import UserError
from whichland.sources.columns import blank_to_null, complete, degrees, details, identified, say
from whichland.sources.files import absolute, find_photos, locate, with_photo
from whichland.sources.table import flat_table
from whichland.sources.text import parse_json

SUCCESS = "600"
EMPTY = "601"  # the request was fine, nothing was found

# What the manifest wants: where in a photo's record it may stand, the first that is there wins. A sequence or user
# may be a record of its own (`join=sequence`).
FIELDS = {
    "name": ("id",),
    "lat": ("lat",),
    "lon": ("lng", "lon"),
    "sequence": ("sequenceId", "sequence_id", "sequence"),
    "heading": ("heading", "headers"),
    "projection": ("projection",),
    "captured_at": ("shotDate", "shot_date"),
    "creator": ("username", "user", "user_username"),
}


def read_kartaview(file: Path, *, source: str | None = None, skip_unknown: bool = False) -> pl.DataFrame:
    """List the photos of a saved list; one that stands in it twice counts once.

    Raises UserError for an answer that is a refusal, for records without id or coordinates, and for photos that
    are not there; with `skip_unknown` the latter are left out and counted on stderr.
    """
    where, listed = str(file), flat_table(_photos(file))
    if not listed.height:
        raise UserError(f"{file}: the list holds no photo")
    rows = listed.select(
        pl.coalesce(*(name for name in names if name in listed.columns), pl.lit(None, dtype=pl.String)).alias(field)
        for field, names in FIELDS.items()
    )
    rows = blank_to_null(rows.drop("name")).with_columns(rows["name"])
    nowhere = rows.filter(pl.col("lat").is_null() | pl.col("lon").is_null())
    if nowhere.height:
        raise UserError(f"{file}: photo {nowhere['name'][0]} has no coordinates (lat, lng)")
    rows = rows.with_row_index("row", offset=1).unique("name", keep="first", maintain_order=True)
    if rows.height < listed.height:
        say(f"{file}: {listed.height - rows.height:,} records left out that repeat a photo")
    rows = details(degrees(rows, where), where)
    photos = find_photos(absolute(file).parent, skip_broken=skip_unknown)
    photos = photos.with_columns(pl.col("name").str.replace(r"\.\w+$", ""))
    rows = rows.with_columns(locate(rows["name"], photos, where))
    rows = with_photo(rows, "name", where, skip_unknown=skip_unknown)
    credit = pl.concat_str("creator", pl.lit("KartaView, CC BY-SA 4.0"), separator=", ", ignore_nulls=True)
    own = identified(source or "kartaview", "name")
    return complete(rows.with_columns(*own, license=pl.lit("CC-BY-SA-4.0"), attribution=credit))


def _photos(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file's answers."""
    try:
        parts = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read ({error})") from None
    except ValueError as error:
        raise UserError(f"{file}: neither JSON nor JSON lines ({error})") from None
    for record in (record for part in parts for record in _records(part, file)):
        if not isinstance(record, dict) or record.get("id") is None:
            raise UserError(f"{file}: not a photo of KartaView (no `id`): {json.dumps(record)[:80]}")
        yield record


def _records(part: Any, file: Path) -> list[Any]:
    """List the photos of one answer, list or record; raise UserError for a refusal."""
    if isinstance(part, list):
        return part
    if not isinstance(part, dict) or not isinstance(part.get("status"), dict) or "result" not in part:
        return [part]  # a photo has a `status`, too, which is a word
    status, result = part["status"], part["result"]
    code = str(status.get("apiCode", "none"))
    if code not in (SUCCESS, EMPTY):
        raise UserError(
            f"{file}: KartaView refused with apiCode {code} ({status.get('apiMessage', 'no reason given')}); "
            "fetch the list again"
        )
    data = (result.get("data") if isinstance(result, dict) else result) or []
    return data if isinstance(data, list) else [data]
