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
from whichland.sources.cells import blank_to_null, degrees, details
from whichland.sources.columns import absolute, complete, say
from whichland.sources.members import attach, find_photos

SUCCESS = "600"
EMPTY = "601"  # the request was fine, nothing was found

# What the manifest wants: where in a photo's record it may stand, the first that is there wins.
FIELDS = {
    "id": ("id",),
    "lat": ("lat",),
    "lon": ("lng", "lon"),
    "sequence": ("sequenceId", "sequence_id", "sequence"),
    "heading": ("heading", "headers"),
    "projection": ("projection",),
    "captured_at": ("shotDate", "shot_date"),
    "creator": ("username", "user"),
}


def read_kartaview(file: Path, *, source: str | None = None, skip_unknown: bool = False) -> pl.DataFrame:
    """List the photos of a saved list; one that stands in it twice counts once.

    Raises UserError for an answer that is a refusal, for records without id or coordinates, and for photos that
    are not there; with `skip_unknown` the latter are left out and counted on stderr.
    """
    records = [_flat(photo, file) for photo in _photos(file)]
    if not records:
        raise UserError(f"{file}: the list holds no photo")
    rows = pl.DataFrame(records, schema=dict.fromkeys(FIELDS, pl.String))
    rows = blank_to_null(rows.drop("id")).with_columns(rows["id"])
    rows = rows.with_row_index("row", offset=1).unique("id", keep="first", maintain_order=True)
    if rows.height < len(records):
        say(f"{file}: {len(records) - rows.height:,} records left out that repeat a photo")
    rows = details(degrees(rows, str(file)), str(file))
    photos = find_photos(absolute(file).parent, skip_broken=skip_unknown)
    photos = photos.with_columns(pl.col("name").str.replace(r"\.\w+$", ""))
    rows = attach(rows.with_columns(pl.col("id").alias("name")), photos, str(file), skip_unknown=skip_unknown)
    source = source or "kartaview"
    by = pl.coalesce(pl.col("creator") + ", ", pl.lit(""))
    return complete(
        rows.with_columns(
            pl.concat_str(pl.lit(f"{source}/"), "id").alias("image_id"),
            pl.lit(source).alias("source"),
            pl.lit("CC-BY-SA-4.0").alias("license"),
            pl.concat_str(by, pl.lit("KartaView, CC BY-SA 4.0")).alias("attribution"),
        )
    )


def _photos(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file's answers."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read ({error})") from None
    try:
        parts = [json.loads(text)]
    except (ValueError, RecursionError) as whole:
        try:
            parts = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            raise UserError(f"{file}: neither JSON nor JSON lines ({whole})") from None
    for part in parts:
        for record in _records(part, file):
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


def _flat(photo: dict[str, Any], file: Path) -> dict[str, str | None]:
    """Take the fields of a record as text; a sequence or user may be a record of its own (`join=sequence`)."""
    flat: dict[str, str | None] = {}
    for name, places in FIELDS.items():
        value = next((photo[place] for place in places if photo.get(place) is not None), None)
        if isinstance(value, dict):
            value = value.get("id" if name == "sequence" else "username")
        # JSON may have half of a surrogate pair, a table may not
        flat[name] = None if value is None else str(value).encode(errors="replace").decode()
    if not flat["lat"] or not flat["lon"]:
        raise UserError(f"{file}: photo {flat['id']} has no coordinates (lat, lng)")
    return flat
