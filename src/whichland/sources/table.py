"""Tables of photos and of places: CSV, JSON, JSON lines or Parquet, with a path or coordinates on each row.

Every value is read as text, so that "NA" is Namibia and an id keeps its leading zeros. Paths count from the
table's own folder.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from whichland.errors import UserError
from whichland.printed import counted
from whichland.sources import columns
from whichland.sources.columns import ROLES, say, slug
from whichland.sources.files import absolute, on_disk
from whichland.sources.sequences import times_to_sequences
from whichland.sources.text import WESTERN, decode_text, parse_json

JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
NAMELESS = ("images", "index", "manifest", "metadata", "photos")  # tables to be called after their folder


def read_table(file: Path, *, source: str | None = None, skip_unknown: bool = False) -> pl.DataFrame:
    """List the photos of a table, one row each; `columns.ROLES` says which column is what.

    Further columns are kept as text under their own names, to be learned by `train --label` (`further_columns`). No
    row is left out silently: an unknown country, a file that is not there or a photo with two countries raises
    UserError, or with `skip_unknown` is left out and counted on stderr. Coordinates that are none raise UserError
    with their row, counted from 1 below the header.
    """
    where, source = str(file), source or slug(absolute(file).parent.name if file.stem in NAMELESS else file.stem)
    rows, further, has = _read_roles(file, ROLES)
    if "path" not in rows.columns:
        raise UserError(f"{file}: no column of paths ({', '.join(ROLES['path'][:6])}, …); {has}")
    if ("lat" in rows.columns) != ("lon" in rows.columns):
        raise UserError(f"{file}: latitude and longitude must stand together; {has}")
    if not {"country", "lat", "place"} & set(rows.columns):
        but = " but the further columns" if further else ""
        say(f"{file}: neither a country nor coordinates, so there is nothing to learn from{but}")
    if not rows.height:
        raise UserError(f"{file}: the table has no rows")
    read = [name for name in rows.columns if name not in ("row", *further)]
    once = rows.unique(subset=read, keep="first", maintain_order=True)
    if once.height < rows.height:
        say(f"{file}: left out: {counted(rows.height - once.height, 'row')} like another in every cell that is read")
    rows = columns.labels(columns.degrees(once, where), where, skip_unknown)
    rows = columns.details(_one_a_photo(_files(file, rows, skip_unknown), file, skip_unknown), where)
    own = pl.coalesce([name for name in ("image_id", "path") if name in rows.columns])
    rows = times_to_sequences(rows.with_columns(*columns.identified(source, own)), source, where)
    return columns.complete(rows, extra=list(further)).rename(further)


def read_points(file: Path, *, source: str | None = None, skip_unknown: bool = False) -> pl.DataFrame:
    """List the places of a table without photos; geocoding and splitting need no pixels.

    A row's `uri` is `<source>:<key>`, where no image can be read; a row without a key is known by its number,
    counted from 1. A column `source` names the collection of each row, unless `source` is given. Further columns are
    kept as those of `read_table`. Raises UserError for a table without coordinates and for ones off the globe.
    """
    rows, further, has = _read_roles(file, {role: names for role, names in ROLES.items() if role != "path"})
    if not {"lat", "lon"} <= set(rows.columns) and "place" not in rows.columns:
        raise UserError(f"{file}: no latitude and longitude; {has}")
    named = pl.lit(source or slug(file.stem))
    if "source" in rows.columns and not source:
        named = pl.coalesce(pl.col("source").str.to_lowercase(), named)
    number = pl.col("row").cast(pl.String)
    key = pl.coalesce("image_id", number) if "image_id" in rows.columns else number
    rows = columns.labels(columns.degrees(rows, str(file)), str(file), skip_unknown)
    image_id, uri = (pl.concat_str(named, key, separator=sign) for sign in "/:")
    rows = columns.details(rows, str(file)).with_columns(source=named, image_id=image_id, uri=uri)
    return columns.complete(rows, extra=list(further)).rename(further)


def _read_roles(file: Path, roles: Mapping[str, Sequence[str]]) -> tuple[pl.DataFrame, dict[str, str], str]:
    """Read the columns of a table that play a role, under the role's name, `row`, counted from 1, and the further ones.

    These stand behind a sign that no role begins with; the mapping has their own names. Words for what is missing are
    null. The text says which columns the table has.
    """
    text = read_text(file)
    found = columns.find_columns(text, roles)
    further = {f"\0{name}": name for name in columns.further_columns(text, found)}
    columns.say_columns(str(file), text.columns, found, list(further.values()))
    rows = text.select(pl.col(name).alias(role) for role, name in (found | further).items())
    rows = columns.blank_to_null(rows).with_row_index("row", offset=1)
    return rows, further, f"its columns are {', '.join(text.columns[:12])}"


def _files(file: Path, rows: pl.DataFrame, skip_unknown: bool) -> pl.DataFrame:
    """Add `uri`, absolute. Raises UserError for an empty path, and for files that are not there."""
    empty = rows.filter(pl.col("path").is_null())
    if empty.height:
        raise UserError(f"{file}: row {empty['row'][0]}: the path is empty ({empty.height:,} such rows)")
    folder = absolute(file).parent
    uris = [_find(str(absolute(folder / path))) for path in rows["path"]]
    rows = rows.with_columns(pl.Series("uri", uris, dtype=pl.String))
    missing = rows.filter(pl.col("uri").is_null())
    if missing.height and not skip_unknown:
        row, path = missing.select("row", "path").row(0)
        raise UserError(
            f"{file}: not there: {missing.height:,} of {counted(rows.height, 'file')}, row {row} first: {path}; "
            "paths count from the table's folder. Leave them out with --skip-unknown"
        )
    if missing.height:
        say(f"{file}: left out for a file that is not there: {counted(missing.height, 'row')}")
    return rows.filter(pl.col("uri").is_not_null())


def _find(uri: str) -> str | None:
    """Return where a file is, or for `archive.zip#member` and `shard.parquet#row` whether their container is there."""
    if os.path.isfile(uri):  # noqa: PTH113 (Path.is_file raises for names that are too long)
        return uri
    container = re.match(r"(.+?\.(?:parquet|zip))#", uri, re.IGNORECASE)
    if container is not None and os.path.isfile(container[1]):  # noqa: PTH113
        return uri
    return on_disk(uri)


def _one_a_photo(rows: pl.DataFrame, file: Path, skip_unknown: bool) -> pl.DataFrame:
    """Keep the first row of each photo, as a table of objects has several. Two countries of one photo are refused."""
    if not rows["uri"].is_duplicated().any():
        return rows
    if "label_country" in rows.columns:
        torn = rows.group_by("uri", maintain_order=True).agg(pl.col("path").first(), pl.col("label_country").unique())
        torn = torn.filter(pl.col("label_country").list.drop_nulls().list.len() > 1)
        if torn.height and not skip_unknown:
            codes = ", ".join(sorted(filter(None, torn["label_country"][0])))
            raise UserError(
                f"{file}: {counted(torn.height, 'photo')} with several countries, {torn['path'][0]} "
                f"({codes}) first; mend them, or leave them out with --skip-unknown"
            )
        if torn.height:
            say(f"{file}: left out for different countries in several rows: {counted(torn.height, 'photo')}")
            rows = rows.join(torn, on="uri", how="anti", maintain_order="left")
    kept = rows.unique("uri", keep="first", maintain_order=True)
    if kept.height < rows.height:
        say(f"{file}: left out: {counted(rows.height - kept.height, 'row')} of photos that have one already")
    return kept


def read_text(file: Path) -> pl.DataFrame:
    """Read all cells of a CSV, JSON, JSON lines or Parquet file as text.

    Columns of Parquet that are no text, such as embedded images, are left where they are. Raises UserError.
    """
    try:
        if file.suffix.lower() == ".parquet":
            scan = pl.scan_parquet(file, glob=False)  # a folder's name may hold brackets
            plain = [n for n, dtype in scan.collect_schema().items() if not dtype.is_nested() and dtype != pl.Binary]
            return scan.select(pl.col(plain).cast(pl.String)).collect()
        data = file.read_bytes()
        if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):  # of .xlsx and .ods, and of .xls
            raise UserError(f"{file}: a spreadsheet or an archive, not a table of text; save it as CSV")
        text, encoding = decode_text(data)
        if encoding == WESTERN:
            say(f"{file}: not UTF-8, and read as Windows-1252; if names look wrong, save it as UTF-8")
        if file.suffix.lower() not in JSON_SUFFIXES:
            return _read_csv(text, file)
        content = parse_json(text)
        if len(content) == 1 and isinstance(content[0], dict):  # its list of records may stand under a name
            content = next((part for part in content[0].values() if isinstance(part, list)), content)
        elif len(content) == 1 and isinstance(content[0], list):
            content = content[0]
        return flat_table(record for record in content if isinstance(record, dict))
    except FileNotFoundError:
        raise UserError(f"{file}: no such file") from None
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        why = (str(error).splitlines() or ["empty"])[0]
        if why.startswith("found more fields"):
            why = "a row has more cells than the first line; those that hold the separator belong in quotation marks"
        raise UserError(f"{file}: not a readable table ({why})") from None


def flat_table(records: Iterable[dict[str, Any]]) -> pl.DataFrame:
    """Make a table of records as text; of records inside records, names are joined by `_`. Lists are left out."""
    rows = [dict(_flat(record)) for record in records]
    names = dict.fromkeys(name for row in rows for name in row)
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))


def _flat(record: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, str | None]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}_")
        elif not isinstance(value, list):
            # JSON may have half of a surrogate pair, a table may not
            yield prefix + name, None if value is None else str(value).encode(errors="replace").decode()


def _read_csv(text: str, file: Path) -> pl.DataFrame:
    """Read a CSV whose cells a comma, semicolon, tab or bar separates; comments and Excel's `sep=` may stand above."""
    lines = [line for line in text.split("\n") if line.strip()]
    separator = None
    while lines and (lines[0].startswith("#") or lines[0].lower().startswith("sep=")):
        signs = re.findall(r"[,;\t|]", lines[0])
        if lines[0].lower().startswith("sep="):
            separator = lines[0][4:5]
        elif signs and len(lines) > 1 and signs == re.findall(r"[,;\t|]", lines[1]):
            lines[0] = lines[0].lstrip("# ")  # a header that is marked as a comment
            break
        del lines[0]
    if not lines:
        raise ValueError("empty")
    separator = separator or max(",;\t|", key=lines[0].count)
    even = len({line.count(separator) for line in lines}) == 1
    data = "\n".join(lines)
    if not re.search(f'(?:^|{re.escape(separator)}) *"', data, re.MULTILINE):  # no cell is in quotation marks
        return _unquoted(data, separator)
    try:
        table = pl.read_csv(data.encode(), infer_schema=False, separator=separator)
    except pl.exceptions.PolarsError:
        if even:
            return _unquoted(data, separator)
        tight = re.sub(f'(^|{re.escape(separator)}) +(?=")', r"\1", data, flags=re.MULTILINE)  # `a, "b"`
        table = pl.read_csv(tight.encode(), infer_schema=False, separator=separator)
    swallowed = len(lines) - 1 - table.height
    if swallowed > 0 and even:
        say(
            f"{file}: quotation marks that are not closed would swallow {counted(swallowed, 'row')}; read as characters"
        )
        return _unquoted(data, separator)
    if swallowed > 0:
        _check_long_cells(table, separator, file)
    return table


def _unquoted(data: str, separator: str) -> pl.DataFrame:
    """Read quotation marks as characters, but for those around a whole cell."""
    table = pl.read_csv(data.encode(), infer_schema=False, separator=separator, quote_char=None)
    return table.with_columns(pl.all().str.replace('^"(.*?)"?$', "$1")).rename(lambda name: name.strip('"'))


def _check_long_cells(table: pl.DataFrame, separator: str, file: Path) -> None:
    """Raise UserError for a cell of several lines of which one looks like a row of its own."""
    numbered = table.with_row_index("\0", 1)
    for name in table.columns:
        for row, cell in numbered.filter(pl.col(name).str.contains("\n")).select("\0", name).rows():
            if any(line.count(separator) >= max(table.width - 1, 1) for line in cell.split("\n")[1:]):
                raise UserError(
                    f"{file}: row {row}: a quotation mark is not closed, so that {name!r} takes in "
                    f"{cell.count(chr(10)):,} more rows; mend the quotation marks"
                )
