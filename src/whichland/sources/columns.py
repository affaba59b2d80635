"""What every source does alike: which column of a table is what, what its cells say, and the manifest's columns.

The words that tables use are in `words.toml`. All is done a column at a time, as a table may hold millions of rows.
"""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from whichland.config import read_toml
from whichland.errors import UserError
from whichland.geo.countries import country_name, find_country, nearest_names
from whichland.manifest import COLUMNS, SCHEMA
from whichland.printed import counted

SOURCE_COLUMNS = tuple(column for column in SCHEMA if column.writer == "sources")
WORDS = read_toml(Path(__file__).with_name("words.toml"))
ROLES: dict[str, list[str]] = WORDS["roles"]
FURTHER = 50  # columns of a table, beside those that play a role, that are kept
NOWHERE = 0.01  # degrees; (0, 0), to about a kilometre, is what devices write that do not know their place

_BARE = {"lat": (["lat"], ["latitude"]), "lon": (["lon"], ["lng"], ["longitude"])}
_LIKE_COORDINATES = re.compile(r"lat|lon|lng|coord|gps|geo|position|location|^[xy]$", re.IGNORECASE)
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


def say(line: str) -> None:
    """Say on stderr what was left out or found odd."""
    print(line, file=sys.stderr, flush=True)


def slug(name: str) -> str:
    """Make a source's name from a file's or folder's: lower case, with only letters, digits, `_` and `-`."""
    return re.sub(r"[^\w-]+", "-", name.casefold()).strip("-") or "photos"


def complete(frame: pl.DataFrame, extra: Sequence[str] = ()) -> pl.DataFrame:
    """Give a source's rows all source columns, in order and typed, and `country` from the label.

    A column that the source does not know is null. `country` is what there is to learn from until coordinates
    are looked up. Columns in `extra`, which the manifest does not know, are kept as they are.
    """
    known = (pl.col(c.name) if c.name in frame.columns else pl.lit(None).alias(c.name) for c in SOURCE_COLUMNS)
    types = {column.name: column.dtype for column in SOURCE_COLUMNS}
    return frame.select(*known, *extra).cast(types).with_columns(country="label_country")  # type: ignore[arg-type]


def identified(source: str, key: str | pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """The columns `image_id` and `source` of rows that the source itself distinguishes by `key`."""
    return pl.concat_str(pl.lit(f"{source}/"), key).alias("image_id"), pl.lit(source).alias("source")


def find_columns(text: pl.DataFrame, roles: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Map each role to the column of `text` that plays it, by the names of each; a role without one is missing."""
    by_plain = {_plain(name): name for name in reversed(text.columns)}
    found: dict[str, str] = {}
    for role, names in roles.items():
        column = next((by_plain[_plain(name)] for name in names if _plain(name) in by_plain), None)
        if column is not None and column not in found.values():
            found[role] = column
    for role in _BARE.keys() & roles.keys() - found.keys():
        meant = [name for name in text.columns if _bare(name) in _BARE[role]]
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
    return [word for word in re.findall(r"[^\W_]+", spaced) if word not in WORDS["names"]["beside"]]


def _pairs(cells: pl.Series) -> bool:
    """Whether at least half of the cells that are not empty hold two numbers, as places in one cell do."""
    stated = cells.drop_nulls().head(1000)
    return stated.len() > 0 and 2 * int(stated.str.contains(r"\d[^\d]+\d").sum()) >= stated.len()


def further_columns(text: pl.DataFrame, found: Mapping[str, str]) -> list[str]:
    """The columns that play no role, the first FURTHER of them; none that is called like one of the manifest."""
    names = (name for name in text.columns if name not in found.values() and name not in COLUMNS)
    return list(names)[:FURTHER]


def say_columns(where: str, names: Sequence[str], found: Mapping[str, str], further: Sequence[str]) -> None:
    """Say which columns were taken for what, which are kept beside, and which look like coordinates and were not."""
    left = [name for name in names if name not in (*found.values(), *further)]
    taken = ", ".join(f"{role} from {name!r}" for role, name in found.items())
    lists = (("kept as text", further), (f"not kept, as the manifest has its own or {FURTHER} others", left))
    more = (f"; {how}: {', '.join(map(repr, some[:8]))}{' …' if len(some) > 8 else ''}" for how, some in lists if some)
    say(f"{where}: {taken or 'no column is known'}{''.join(more)}")
    alike = [name for name in (*further, *left) if _LIKE_COORDINATES.search(name)]
    if alike and not {"lat", "place"} & set(found):
        say(f"{where}: {', '.join(map(repr, alike[:4]))} may be coordinates; if so, call them lat and lon")


def stated(name: str) -> pl.Expr:
    """The text of a column, stripped; null where it is empty or a word for nothing. In `country`, NA is Namibia."""
    cells = WORDS["cells"]
    words = cells["missing"] + ["na"] * (name != "country") + cells["no_sequence"] * (name == "sequence")
    text = pl.col(name).str.strip_chars()
    return pl.when(~text.str.to_lowercase().is_in(words)).then(text).alias(name)


def blank_to_null(rows: pl.DataFrame) -> pl.DataFrame:
    """Make null of all text that is empty or a word for nothing."""
    return rows.with_columns(stated(name) for name, dtype in rows.schema.items() if dtype == pl.String)


def country_codes(names: Iterable[str], *, where: str, skip_unknown: bool) -> dict[str, str]:
    """Map country names or codes to alpha-2 codes.

    Where at least half of the names are codes, those that are words as well (CAN, my) count as codes. Raises
    UserError naming all that are unknown with the nearest guesses; with `skip_unknown` they are missing from the
    result instead.
    """
    wanted = list(dict.fromkeys(names))
    coded = sum(
        name.isascii() and name.isalpha() and len(name) in (2, 3) and find_country(name) is not None for name in wanted
    )
    among_codes = coded > 0 and 2 * coded >= len(wanted)
    codes = {name: find_country(name, among_codes=among_codes) for name in wanted}
    words = {name for name in wanted if len(name) == 2 and name.isascii() and not name.isupper() and not among_codes}
    found = {name: code for name, code in codes.items() if code and name not in words}
    unknown = [name for name in wanted if name not in found]
    if unknown and not skip_unknown:
        guesses = "; ".join(guessed(name) for name in unknown[:20])
        more = f"; and {len(unknown) - 20} more" if len(unknown) > 20 else ""
        raise UserError(f"{where}: not a country: {guesses}{more}. Rename, or leave out with --skip-unknown")
    return found


def guessed(name: str) -> str:
    """A name that is no country, with the countries that it may have meant."""
    code = find_country(name, among_codes=True)
    nearest = [country_name(code)] if code else nearest_names(name)
    return f"{name!r} (did you mean {' or '.join(nearest)}?)" if nearest else repr(name)


def labels(rows: pl.DataFrame, where: str, skip_unknown: bool) -> pl.DataFrame:
    """Add `label_country` from names or codes in `country`; with `skip_unknown`, other rows are left out."""
    if "country" not in rows.columns:
        return rows
    names = rows["country"].drop_nulls().unique(maintain_order=True)
    codes = country_codes(names, where=where, skip_unknown=skip_unknown)
    kept = rows.filter(pl.col("country").is_null() | pl.col("country").is_in(list(codes)))
    if kept.height < rows.height:
        say(f"{where}: {counted(rows.height - kept.height, 'row')} of unknown countries left out")
    return kept.with_columns(pl.col("country").replace_strict(codes, return_dtype=pl.String).alias("label_country"))


def good_degrees(lat: pl.Expr, lon: pl.Expr) -> pl.Expr:
    """Whether, never null, (lat, lon) is a place on the globe."""
    return (lat.is_between(-90, 90) & lon.is_between(-180, 180)).fill_null(value=False)


def at_zero(lat: pl.Expr, lon: pl.Expr) -> pl.Expr:
    """Whether, never null, (lat, lon) is (0, 0), which stands for no place."""
    return ((lat.abs() < NOWHERE) & (lon.abs() < NOWHERE)).fill_null(value=False)


def placed(lat: pl.Expr, lon: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """The columns `lat` and `lon`, null where they are no place on the globe, or (0, 0)."""
    here = good_degrees(lat, lon) & ~at_zero(lat, lon)
    return pl.when(here).then(lat).alias("lat"), pl.when(here).then(lon).alias("lon")


def degrees(rows: pl.DataFrame, where: str, *, refuse: bool = True) -> pl.DataFrame:
    """Turn text in `lat` and `lon`, or in `place`, to degrees; `row` numbers the rows. (0, 0) is no place.

    Half a pair, what is no number and what is off the globe raises UserError, or without `refuse` becomes null and
    is counted on stderr.
    """
    if "place" in rows.columns:
        rows = _split_place(rows)
    if not {"lat", "lon"} <= set(rows.columns):
        return rows
    lat, lon = pl.col("lat"), pl.col("lon")
    made = rows.with_columns(_angle("lat", "NS"), _angle("lon", "EW"))
    given = rows.select(pl.any_horizontal(lat.is_not_null(), lon.is_not_null())).to_series()
    bad = given & ~made.select(good_degrees(lat, lon)).to_series()
    if bad.any() and refuse:
        row, first_lat, first_lon = rows.filter(bad).select("row", "lat", "lon").row(0)
        raise UserError(
            f"{where}: row {row}: ({first_lat}, {first_lon}) has no latitude of -90 to 90 or no longitude of "
            f"-180 to 180 ({bad.sum():,} such rows); mend them or leave both cells empty"
        )
    if bad.any():
        say(f"{where}: {counted(int(bad.sum()), 'row')} with text that is not a pair of coordinates; left empty")
    zero = int(made.select(at_zero(lat, lon).sum()).item())
    if zero:
        say(f"{where}: {counted(zero, 'row')} at (0, 0), which stands for no place; left empty")
    return made.with_columns(placed(lat, lon))


def _angle(name: str, letters: str) -> pl.Expr:
    """Turn text to degrees; of two signs, as in "-33 S", both must say the same."""
    text = pl.col(name).cast(pl.String).str.strip_chars().str.replace_all("[−–]", "-")
    plain = text.cast(pl.Float64, strict=False)
    parts = pl.when(plain.is_null()).then(text).str.extract_groups(_ANGLE).struct  # slow, and seldom needed

    def number(part: str) -> pl.Expr:
        return parts.field(part).str.replace(",", ".").cast(pl.Float64, strict=False)

    size = number("degrees") + number("minutes").fill_null(0) / 60 + number("seconds").fill_null(0) / 3600
    letter = pl.coalesce(parts.field("before"), parts.field("after")).str.to_uppercase()
    minus = parts.field("sign") == "-"
    negative = letter == letters[1]
    fits = letter.is_null() | (letter.is_in(list(letters)) & (negative | ~minus.fill_null(value=False)))
    sign = pl.when(pl.coalesce(negative, minus).fill_null(value=False)).then(-1).otherwise(1)
    small = number("minutes").fill_null(0) < 60
    return pl.coalesce(plain, pl.when(fits & small).then(size * sign)).alias(name)


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
            say(f"{where}: {counted(bad, 'row')} with a {called} that is not understood; left empty")
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
    clock = pl.concat_str(found.field("clock").fill_null("00:00"), found.field("second").fill_null(":00"))
    written = pl.concat_str(found.field("date").str.replace_all("[:/]", "-"), clock, separator=" ")
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
    return text.str.to_lowercase().replace_strict(WORDS["projections"], default=None, return_dtype=pl.String)


def _licences(rows: pl.DataFrame) -> pl.DataFrame:
    """Part "CC-BY-SA-4.0 (who made it)" into the licence and, where there is none, the attribution."""
    parts = pl.col("license").str.extract_groups(r"^(?P<name>[A-Za-z0-9.+-]+)\s+\((?P<note>[^()]+)\)$").struct
    given = pl.col("attribution") if "attribution" in rows.columns else pl.lit(None, dtype=pl.String)
    return rows.with_columns(
        pl.coalesce(parts.field("name"), "license").alias("license"),
        pl.coalesce(given, parts.field("note")).alias("attribution"),
    )
