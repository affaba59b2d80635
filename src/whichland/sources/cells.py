"""What a cell of somebody's table says: countries, degrees, times, headings, projections, licences.

Everything is done a column at a time, as a table may hold millions of rows.
"""

import polars as pl

from whichland.errors import UserError
from whichland.sources.columns import country_codes, say

# The words of Mapillary, KartaView and Panoramax for what the manifest's `projection` tells apart.
PROJECTIONS = {
    "perspective": "perspective",
    "plane": "perspective",
    "flat": "perspective",
    "brown": "perspective",
    "equirectangular": "equirectangular",
    "spherical": "equirectangular",
    "sphere": "equirectangular",
    "360": "equirectangular",
    "strip": "strip",
}

_TIME = (
    r"^(?P<date>\d{4}[-:/]\d{2}[-:/]\d{2})"
    r"(?:[T ](?P<clock>\d{2}:\d{2})(?P<second>:\d{2})?(?:[.,](?P<part>\d{1,9}))?"
    r"\s*(?P<zone>Z|[+-]\d{2}(?::?\d{2})?)?)?$"
)


def blank_to_null(rows: pl.DataFrame) -> pl.DataFrame:
    """Strip all text; what is empty then is null."""
    return rows.with_columns(pl.col(pl.String).str.strip_chars().replace("", None))


def good_degrees(lat: pl.Expr, lon: pl.Expr) -> pl.Expr:
    """Tell, never null, whether (lat, lon) is a place on the globe."""
    return (lat.is_between(-90, 90) & lon.is_between(-180, 180)).fill_null(value=False)


def degrees(rows: pl.DataFrame, where: str) -> pl.DataFrame:
    """Turn text in `lat` and `lon` to degrees; `row` numbers the rows.

    Raises UserError for half a pair, for what is no number, and for what is off the globe.
    """
    if "lat" not in rows.columns:
        return rows
    lat, lon = (pl.col(name).cast(pl.Float64, strict=False) for name in ("lat", "lon"))
    empty = pl.col("lat").is_null() & pl.col("lon").is_null()
    bad = rows.filter(~empty & ~good_degrees(lat, lon))
    if bad.height:
        row, first_lat, first_lon = bad.select("row", "lat", "lon").row(0)
        raise UserError(
            f"{where}: row {row}: ({first_lat}, {first_lon}) is not a latitude of -90 to 90 and a longitude of "
            f"-180 to 180 ({bad.height:,} such rows); mend them or leave both cells empty"
        )
    return rows.with_columns(lat.alias("lat"), lon.alias("lon"))


def labels(rows: pl.DataFrame, where: str, skip_unknown: bool) -> pl.DataFrame:
    """Add `label_country` from names or codes in `country`; with `skip_unknown`, other rows are left out."""
    if "country" not in rows.columns:
        return rows
    names = rows["country"].drop_nulls().unique(maintain_order=True)
    codes = country_codes(names, where=where, skip_unknown=skip_unknown)
    known = pl.col("country").is_null() | pl.col("country").is_in(list(codes))
    kept = rows.filter(known)
    if kept.height < rows.height:
        say(f"{where}: {rows.height - kept.height:,} rows of unknown countries left out")
    return kept.with_columns(pl.col("country").replace_strict(codes, return_dtype=pl.String).alias("label_country"))


def details(rows: pl.DataFrame, where: str) -> pl.DataFrame:
    """Bring `captured_at`, `heading`, `projection` and `license`, where they are there, to the manifest's form.

    What is not understood becomes null and is counted on stderr.
    """
    readers = {"captured_at": ("time of capture", utc), "heading": ("heading", heading)}
    readers["projection"] = ("projection", projection)
    for name, (called, reader) in readers.items():
        if name not in rows.columns:
            continue
        made = rows.with_columns(reader(pl.col(name)))
        bad = made[name].null_count() - rows[name].null_count()
        if bad:
            say(f"{where}: {bad:,} rows have a {called} that is not understood; theirs is left empty")
        rows = made
    return _licences(rows) if "license" in rows.columns else rows


def utc(text: pl.Expr) -> pl.Expr:
    """Turn unix seconds, unix milliseconds, ISO 8601 or EXIF times to ISO 8601 in UTC, else null.

    A time without a zone is taken as UTC.
    """
    found = text.str.strip_chars().str.extract_groups(_TIME).struct
    zone = found.field("zone").fill_null("Z")
    hours, minutes = (
        zone.str.extract(pattern).cast(pl.Int64).fill_null(0) for pattern in (r"^[+-](\d\d)", r"^[+-]\d\d:?(\d\d)$")
    )
    ahead_ms = (hours * 60 + minutes) * 60_000 * pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    part_ms = found.field("part").fill_null("").str.pad_end(3, "0").str.head(3).cast(pl.Int64)
    written = pl.concat_str(
        found.field("date").str.replace_all("[:/]", "-"),
        pl.lit(" "),
        found.field("clock").fill_null("00:00"),
        found.field("second").fill_null(":00"),
    )
    clock_ms = written.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="ms", strict=False).to_physical()
    unix = text.str.strip_chars().str.extract(r"^(\d{10}|\d{13})(?:\.0*)?$")
    unix_ms = unix.cast(pl.Int64) * pl.when(unix.str.len_bytes() == 10).then(1000).otherwise(1)
    ms = pl.coalesce(unix_ms, clock_ms + part_ms - ahead_ms)
    time = ms.cast(pl.Datetime("ms"))
    whole = time.dt.to_string("%Y-%m-%dT%H:%M:%SZ")
    return pl.when(ms % 1000 == 0).then(whole).otherwise(time.dt.to_string("%Y-%m-%dT%H:%M:%S%.3fZ"))


def heading(text: pl.Expr) -> pl.Expr:
    """Turn degrees clockwise from north to 0 up to 360, else null."""
    value = text.cast(pl.Float64, strict=False)
    return pl.when(value.is_between(-360, 360)).then(value % 360)


def projection(text: pl.Expr) -> pl.Expr:
    """Turn what others call a projection to the manifest's word, else null."""
    return text.str.to_lowercase().replace_strict(PROJECTIONS, default=None, return_dtype=pl.String)


def _licences(rows: pl.DataFrame) -> pl.DataFrame:
    """Part "CC-BY-SA-4.0 (who made it)" into the licence and, where there is none, the attribution."""
    parts = pl.col("license").str.extract_groups(r"^(?P<name>[A-Za-z0-9.+-]+)\s+\((?P<note>[^()]+)\)$").struct
    given = pl.col("attribution") if "attribution" in rows.columns else pl.lit(None, dtype=pl.String)
    return rows.with_columns(
        pl.coalesce(parts.field("name"), "license").alias("license"),
        pl.coalesce(given, parts.field("note")).alias("attribution"),
    )
