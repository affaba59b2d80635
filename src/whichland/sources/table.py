"""A table of photos: CSV or Parquet with a path on each row, and a country or coordinates.

Every value is read as text, so that "NA" is Namibia and an id keeps its leading zeros. Paths count from the
table's own folder.
"""

import re
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.sources.columns import absolute, complete, country_codes, say, slug
from whichland.sources.roles import ROLES, find_columns

NAMELESS = ("images", "index", "manifest", "metadata", "photos")  # tables to be called after their folder


def read_table(file: Path, *, source: str | None = None, skip_unknown: bool = False) -> pl.DataFrame:
    """List the photos of a table; which column is what is told by `roles.ROLES`.

    No row is left out silently: an unknown country or a file that is not there raises UserError, or with
    `skip_unknown` is left out and counted on stderr. Coordinates that are none raise UserError with their row,
    counted from 1 below the header.
    """
    source = source or slug(absolute(file).parent.name if file.stem in NAMELESS else file.stem)
    text = _read_text(file)
    columns = find_columns(text.columns, ROLES)
    _check_columns(file, text, columns)
    rows = text.with_row_index("row of the table", offset=1)
    rows = rows.unique(subset=text.columns, keep="first", maintain_order=True)
    if rows.height < text.height:
        say(f"{file}: {text.height - rows.height:,} rows left out that repeat another in every cell")
    rows = rows.select(
        pl.col("row of the table").alias("row"),
        *(pl.col(name).str.strip_chars().replace("", None).alias(role) for role, name in columns.items()),
    )
    rows = _coordinates(file, rows)
    rows = _countries(file, rows, skip_unknown)
    rows = _files(file, rows, skip_unknown)
    if "captured_at" in rows.columns:
        rows = _times(file, rows)
    own = pl.coalesce(pl.col("image_id"), pl.col("path")) if "image_id" in rows.columns else pl.col("path")
    rows = rows.with_columns(
        pl.concat_str(pl.lit(source + "/"), own).alias("image_id"), pl.lit(source).alias("source")
    )
    return complete(rows)


def _read_text(file: Path) -> pl.DataFrame:
    """Read all cells as text; a comma, semicolon or tab separates those of a CSV."""
    try:
        if file.suffix.lower() == ".parquet":
            return pl.read_parquet(file).with_columns(pl.all().cast(pl.String))
        return pl.read_csv(file, infer_schema=False, separator=_separator(file))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{file}: not a readable table ({str(error).splitlines()[0]})") from None


def _separator(file: Path) -> str:
    with file.open(encoding="utf-8", errors="replace") as lines:
        header = lines.readline()
    return max(",;\t", key=header.count)


def _check_columns(file: Path, text: pl.DataFrame, columns: dict[str, str]) -> None:
    found = f"its columns are {', '.join(text.columns[:12])}"
    if "path" not in columns:
        raise UserError(f"{file}: no column of paths ({', '.join(ROLES['path'][:6])}, …); {found}")
    if ("lat" in columns) != ("lon" in columns):
        raise UserError(f"{file}: latitude and longitude must stand together; {found}")
    if "country" not in columns and "lat" not in columns:
        say(f"{file}: neither a country nor coordinates, so there is nothing to learn from; {found}")
    if not text.height:
        raise UserError(f"{file}: the table has no rows")


def _coordinates(file: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Turn `lat` and `lon` to degrees. Raises UserError for half a pair, no number, and off the globe."""
    if "lat" not in rows.columns:
        return rows
    lat, lon = (pl.col(name).cast(pl.Float64, strict=False) for name in ("lat", "lon"))
    empty = pl.col("lat").is_null() & pl.col("lon").is_null()
    good = (lat.is_between(-90, 90) & lon.is_between(-180, 180)).fill_null(value=False)
    bad = rows.filter(~empty & ~good)
    if bad.height:
        row, first_lat, first_lon = bad.select("row", "lat", "lon").row(0)
        raise UserError(
            f"{file}: row {row}: ({first_lat}, {first_lon}) is not a latitude of -90 to 90 and a longitude of "
            f"-180 to 180 ({bad.height:,} such rows); mend them or leave both cells empty"
        )
    return rows.with_columns(lat.alias("lat"), lon.alias("lon"))


def _countries(file: Path, rows: pl.DataFrame, skip_unknown: bool) -> pl.DataFrame:
    if "country" not in rows.columns:
        return rows
    names = rows["country"].drop_nulls().unique(maintain_order=True)
    codes = country_codes(names, where=str(file), skip_unknown=skip_unknown)
    unknown = pl.col("country").is_not_null() & ~pl.col("country").is_in(list(codes))
    kept = rows.filter(~unknown)
    if kept.height < rows.height:
        say(f"{file}: {rows.height - kept.height:,} rows of unknown countries left out")
    country = pl.col("country").replace_strict(codes, return_dtype=pl.String)
    return kept.with_columns(country.alias("label_country"))


def _files(file: Path, rows: pl.DataFrame, skip_unknown: bool) -> pl.DataFrame:
    """Add `uri`, absolute. Raises UserError for an empty path, and for files that are not there."""
    empty = rows.filter(pl.col("path").is_null())
    if empty.height:
        raise UserError(f"{file}: row {empty['row'][0]}: the path is empty ({empty.height:,} such rows)")
    folder = absolute(file).parent
    uris = [str(absolute(folder / path)) for path in rows["path"]]
    rows = rows.with_columns(pl.Series("uri", uris, dtype=pl.String))
    here = pl.Series([_exists(uri) for uri in rows["uri"]], dtype=pl.Boolean)
    missing = rows.filter(~here)
    if missing.height and not skip_unknown:
        row, path = missing.select("row", "path").row(0)
        raise UserError(
            f"{file}: {missing.height:,} of {rows.height:,} files are not there, row {row} first: {path}; "
            "paths count from the table's folder. Leave them out with --skip-unknown"
        )
    if missing.height:
        say(f"{file}: {missing.height:,} rows left out whose files are not there")
    return rows.filter(here)


def _exists(uri: str) -> bool:
    """Tell whether the file is there, or for `archive.zip#member` and `shard.parquet#row` their container."""
    container = re.match(r"(.+?\.(?:parquet|zip))#", uri, re.IGNORECASE)
    return Path(uri).is_file() or (container is not None and Path(container[1]).is_file())


def _times(file: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Turn `captured_at` to ISO 8601 in UTC; what is no time becomes null and is counted on stderr."""
    times = [_utc(text) if text else None for text in rows["captured_at"]]
    bad = sum(
        text is not None and time is None for text, time in zip(rows["captured_at"], times, strict=True)
    )
    if bad:
        say(f"{file}: {bad:,} rows have a time of capture that is not understood; theirs is left empty")
    return rows.with_columns(pl.Series("captured_at", times, dtype=pl.String))


def _utc(text: str) -> str | None:
    """Read unix seconds, unix milliseconds or ISO 8601 (UTC unless it says otherwise)."""
    try:
        if re.fullmatch(r"\d{10}|\d{13}", text):
            time = datetime.fromtimestamp(int(text) / (1000 if len(text) == 13 else 1), UTC)
        else:
            time = datetime.fromisoformat(text)
            time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return time.isoformat(timespec="milliseconds" if time.microsecond else "seconds").replace("+00:00", "Z")
