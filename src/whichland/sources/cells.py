"""What somebody's table says: which column is what, and countries, degrees, times, headings, licences in its cells.

Everything is done a column at a time, as a table may hold millions of rows.
"""

import re
from collections.abc import Iterable, Sequence

import polars as pl

from whichland.errors import UserError
from whichland.sources.columns import country_codes, say

# Names of a role, the one to prefer first. Compared without case, spaces, punctuation and units in brackets.
ROLES: dict[str, tuple[str, ...]] = {
    "path": (
        *("uri", "path", "image_path", "file_path", "filepath", "image", "file", "file_name", "filename", "img"),
        *("img_path", "photo_path", "image_file", "image_name", "relative_path", "photo"),
    ),
    "country": (
        *("label_country", "country_iso_alpha2", "country_code", "iso2", "iso_a2", "iso_3166_1", "iso_code"),
        *("iso", "cc", "country", "country_name", "label", "target", "country_iso", "iso3", "iso_a3", "nation"),
    ),
    "lat": ("lat", "latitude", "gps_lat", "gps_latitude", "decimal_latitude", "latitud", "latitudine", "breitengrad"),
    "lon": (
        *("lon", "lng", "long", "longitude", "gps_lon", "gps_longitude", "decimal_longitude", "longitud"),
        *("longitudine", "längengrad"),
    ),
    "place": (
        *("gps", "coordinates", "gps_coordinates", "coords", "latlon", "lat_long", "latlng", "lonlat", "lnglat"),
        *("location", "geo", "position", "point", "wkt", "geom", "geometry"),
    ),
    "sequence": (
        *("sequence", "sequence_id", "sequence_key", "sequence_uuid", "drive", "pano_id", "panoid", "drive_id"),
        *("trip", "trip_id", "track", "track_id", "recording", "recording_id", "video", "video_id", "session_id"),
    ),
    "heading": ("heading", "compass_angle", "bearing", "gpsimgdirection"),
    "projection": ("projection", "camera_type", "projection_type"),
    "captured_at": (
        *("captured_at", "capture_time", "timestamp", "datetime", "date_taken", "datetime_original", "taken_at"),
        *("capture_date", "captured", "date_captured"),
    ),
    "creator": ("creator", "creator_username", "username", "author", "photographer"),
    "license": ("license", "licence"),
    "attribution": ("attribution", "credit"),
    "source": ("source", "collection", "provider"),
    "image_id": ("image_id", "id", "key", "img_id", "photo_id"),
}

# What a column of coordinates may be called besides: words that say nothing of which one it is.
_BESIDE = frozenset(
    (
        *("gps", "exif", "deg", "degree", "degrees", "decimal", "dd", "wgs", "wgs84", "84", "epsg", "4326", "geo", "n"),
        *("camera", "image", "photo", "capture", "computed", "location", "point", "coord", "coordinate", "north", "e"),
        *("east", "x", "y", "true", "original", "in", "dec", "map", "center", "centre", "place", "position"),
    )
)
_LIKE_COORDINATES = re.compile(r"lat|lon|lng|coord|gps|geo|position|location|^[xy]$", re.IGNORECASE)

# Words that tables have where nothing is known; "NA" is one, but among countries it is Namibia.
MISSING = (
    *("", "nan", "null", "none", "nil", "\\n", "n/a", "#n/a", "<na>", "n.a.", "(null)", "nat", "undefined", "missing"),
    *("-", "--", "---", "–", "—", "?", ".", "not available", "unknown", "#value!", "#ref!"),
    "00000000-0000-0000-0000-000000000000",
)
NO_SEQUENCE = ("-1", "-1.0")  # as clustering writes for what is in no cluster

# The words of Mapillary, KartaView and Panoramax for what the manifest's `projection` tells apart.
PROJECTIONS = {
    **dict.fromkeys(("perspective", "plane", "flat", "brown"), "perspective"),
    **dict.fromkeys(("equirectangular", "spherical", "sphere", "360"), "equirectangular"),
    "strip": "strip",
}

NOWHERE = 0.01  # degrees; (0, 0), to about a kilometre, is what devices write that do not know their place

_TIME = (
    r"^(?P<date>\d{4}[-:/]\d{2}[-:/]\d{2})"
    r"(?:[T ](?P<clock>\d{2}:\d{2})(?P<second>:\d{2})?(?:[.,](?P<part>\d{1,9}))?"
    r"\s*(?P<zone>Z|[+-]\d{2}(?::?\d{2})?)?)?$"
)
# "33.86 S", "S 33°51'30", "-33:51:30", "5,35": sign or hemisphere, degrees, minutes and seconds
_ANGLE = (
    r"(?i)^(?P<before>[NSEW])?\s*(?P<sign>[+-])?\s*(?P<degrees>\d{1,3}(?:[.,]\d+)?)\s*(?:°|º|deg|d|:|\s)?\s*"
    r"(?:(?P<minutes>\d{1,2}(?:[.,]\d+)?)\s*(?:'|′|’|min|m|:|\s)?\s*)?"
    r"(?:(?P<seconds>\d{1,2}(?:[.,]\d+)?)\s*(?:\x22|″|”|''|’’|sec|s)?\s*)?(?P<after>[NSEW])?$"
)


def find_columns(text: pl.DataFrame, roles: Iterable[str]) -> dict[str, str]:
    """Map each role to the column of `text` that plays it; a role that no column plays is missing."""
    by_plain = {_plain(name): name for name in reversed(text.columns)}
    found: dict[str, str] = {}
    for role in roles:
        column = next((by_plain[_plain(name)] for name in ROLES[role] if _plain(name) in by_plain), None)
        if column is not None and column not in found.values():
            found[role] = column
    roles = set(roles)
    for role in {"lat", "lon"} & roles - set(found):
        meant = [
            name for name in text.columns if _bare(name) in (["lat"], ["latitude"], ["lon"], ["lng"], ["longitude"])
        ]
        meant = [name for name in meant if _bare(name)[0][:2] == role[:2] or (role == "lon" and _bare(name) == ["lng"])]
        if len(meant) == 1:
            found[role] = meant[0]
    place = found.pop("place", None)
    if place and not {"lat", "lon"} & set(found) and _pairs(text[place]):
        found["place"] = place
    return found


def _plain(name: str) -> str:
    """Take a column's name without case, separators and what stands in brackets, its unit."""
    return re.sub(r"[\W_]+", "", re.sub(r"[(\[{].*?[)\]}]", "", name).casefold())


def _bare(name: str) -> list[str]:
    """The words of a column's name that may say which coordinate it holds."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold()
    return [word for word in re.findall(r"[^\W_]+", spaced) if word not in _BESIDE]


def _pairs(cells: pl.Series) -> bool:
    """Tell whether at least half of the cells that are not empty hold two numbers, as places in one cell do."""
    stated = cells.drop_nulls().head(1000)
    return stated.len() > 0 and 2 * int(stated.str.contains(r"\d[^\d]+\d").sum()) >= stated.len()


def say_columns(where: str, names: Sequence[str], columns: dict[str, str]) -> None:
    """Say which columns were taken for what, and which look like coordinates and were not."""
    rest = [name for name in names if name not in columns.values()]
    taken = ", ".join(f"{role} from {name!r}" for role, name in columns.items())
    left = f"; not read: {', '.join(map(repr, rest[:8]))}{' …' if len(rest) > 8 else ''}" if rest else ""
    say(f"{where}: {taken or 'no column is known'}{left}")
    alike = [name for name in rest if _LIKE_COORDINATES.search(name)]
    if alike and not {"lat", "place"} & set(columns):
        say(f"{where}: {', '.join(map(repr, alike[:4]))} may be coordinates; if so, call them lat and lon")


def stated(name: str) -> pl.Expr:
    """The text of a column, stripped; null where it is empty or a word for nothing. In `country`, NA is Namibia."""
    words = [*MISSING, *(["na"] if name != "country" else []), *(NO_SEQUENCE if name == "sequence" else [])]
    text = pl.col(name).str.strip_chars()
    return pl.when(~text.str.to_lowercase().is_in(words)).then(text).alias(name)


def blank_to_null(rows: pl.DataFrame) -> pl.DataFrame:
    """Make null of all text that is empty or a word for nothing."""
    return rows.with_columns(stated(name) for name, dtype in rows.schema.items() if dtype == pl.String)


def good_degrees(lat: pl.Expr, lon: pl.Expr) -> pl.Expr:
    """Tell, never null, whether (lat, lon) is a place on the globe."""
    return (lat.is_between(-90, 90) & lon.is_between(-180, 180)).fill_null(value=False)


def at_zero(lat: pl.Expr, lon: pl.Expr) -> pl.Expr:
    """Tell, never null, whether (lat, lon) is (0, 0), which stands for no place."""
    return ((lat.abs() < NOWHERE) & (lon.abs() < NOWHERE)).fill_null(value=False)


def degrees(rows: pl.DataFrame, where: str, *, refuse: bool = True) -> pl.DataFrame:
    """Turn text in `lat` and `lon`, or in `place`, to degrees; `row` numbers the rows. (0, 0) is no place.

    Half a pair, what is no number and what is off the globe raises UserError, or without `refuse` becomes null and
    is counted on stderr.
    """
    if "place" in rows.columns:
        rows = _split_place(rows)
    if not {"lat", "lon"} <= set(rows.columns):
        return rows
    lat, lon = _angle("lat", "NS"), _angle("lon", "EW")
    stated = rows.select(pl.any_horizontal(pl.col("lat", "lon").is_not_null())).to_series()
    made = rows.with_columns(lat.alias("lat"), lon.alias("lon"))
    bad = stated & ~made.select(good_degrees(pl.col("lat"), pl.col("lon"))).to_series()
    if bad.any() and refuse:
        row, first_lat, first_lon = rows.filter(bad).select("row", "lat", "lon").row(0)
        raise UserError(
            f"{where}: row {row}: ({first_lat}, {first_lon}) has no latitude of -90 to 90 or no longitude of "
            f"-180 to 180 ({bad.sum():,} such rows); mend them or leave both cells empty"
        )
    if bad.any():
        say(f"{where}: {bad.sum():,} rows have text that is not a pair of coordinates; theirs are left empty")
    zero = made.select(at_zero(pl.col("lat"), pl.col("lon"))).to_series()
    if zero.any():
        say(f"{where}: {zero.sum():,} rows are at (0, 0), which stands for no place; theirs are left empty")
    none = bad | zero
    return made.with_columns(pl.when(~none).then(name).alias(name) for name in ("lat", "lon"))


def _angle(name: str, letters: str) -> pl.Expr:
    """Turn text to degrees; of two signs, as in "-33 S", both must say the same."""
    text = pl.col(name).cast(pl.String).str.strip_chars().str.replace_all("[−–]", "-")
    parts = text.str.extract_groups(_ANGLE).struct

    def number(part: str) -> pl.Expr:
        return parts.field(part).str.replace(",", ".").cast(pl.Float64, strict=False)

    size = number("degrees") + number("minutes").fill_null(0) / 60 + number("seconds").fill_null(0) / 3600
    letter = pl.coalesce(parts.field("before"), parts.field("after")).str.to_uppercase()
    minus = parts.field("sign") == "-"
    negative = letter == letters[1]
    fits = letter.is_null() | (letter.is_in(list(letters)) & (negative | ~minus.fill_null(value=False)))
    sign = pl.when(pl.coalesce(negative, minus).fill_null(value=False)).then(-1).otherwise(1)
    small = number("minutes").fill_null(0) < 60
    return pl.coalesce(text.cast(pl.Float64, strict=False), pl.when(fits & small).then(size * sign))


def _split_place(rows: pl.DataFrame) -> pl.DataFrame:
    """Part `place` into `lat` and `lon`; well-known text and GeoJSON have the longitude first."""
    text = pl.col("place").str.strip_chars("()[] ")
    lettered = text.str.extract_groups(r"(?i)^(.*[NS])[\s,;]+(.*[EW])$|^(?:(.*?)[,;]\s*|(\S+)\s+)(.*)$").struct
    point = pl.col("place").str.extract_groups(r"(?i)(?:point|coordinates)\D*?(-?\d[\d.]*)[\s,]+(-?\d[\d.]*)").struct
    first = pl.coalesce(lettered.field("1"), lettered.field("3"), lettered.field("4"))
    second = pl.coalesce(lettered.field("2"), lettered.field("5"))
    return rows.with_columns(
        pl.coalesce(point.field("2"), first, "place").alias("lat"), pl.coalesce(point.field("1"), second).alias("lon")
    ).drop("place")


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
