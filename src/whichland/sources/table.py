"""Tables of photos and of places: CSV, JSON, JSON lines or Parquet, with a path or coordinates on each row.

Every value is read as text, so that "NA" is Namibia and an id keeps its leading zeros. Paths count from the
table's own folder.
"""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from whichland.errors import UserError
from whichland.sources.cells import ROLES, blank_to_null, degrees, details, find_columns, labels, say_columns
from whichland.sources.columns import absolute, complete, say, slug
from whichland.sources.sequences import times_to_sequences
from whichland.sources.text import WESTERN, decode_text, on_disk

JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
NAMELESS = ("images", "index", "manifest", "metadata", "photos")  # tables to be called after their folder


def read_table(file: Path, *, source: str | None = None, skip_unknown: bool = False) -> pl.DataFrame:
    """List the photos of a table, one row each; `cells.ROLES` says which column is what.

    No row is left out silently: an unknown country, a file that is not there or a photo with two countries raises
    UserError, or with `skip_unknown` is left out and counted on stderr. Coordinates that are none raise UserError
    with their row, counted from 1 below the header.
    """
    source = source or slug(absolute(file).parent.name if file.stem in NAMELESS else file.stem)
    rows = read_roles(file, ROLES)
    if "path" not in rows.columns:
        raise UserError(f"{file}: no column of paths ({', '.join(ROLES['path'][:6])}, …); {_columns(file)}")
    if ("lat" in rows.columns) != ("lon" in rows.columns):
        raise UserError(f"{file}: latitude and longitude must stand together; {_columns(file)}")
    if not {"country", "lat", "place"} & set(rows.columns):
        say(f"{file}: neither a country nor coordinates, so there is nothing to learn from")
    if not rows.height:
        raise UserError(f"{file}: the table has no rows")
    repeated = rows.height
    rows = rows.unique(subset=rows.columns[1:], keep="first", maintain_order=True)
    if rows.height < repeated:
        say(f"{file}: {repeated - rows.height:,} rows left out that repeat another in every cell that is read")
    rows = labels(degrees(rows, str(file)), str(file), skip_unknown)
    rows = details(_one_a_photo(_files(file, rows, skip_unknown), file, skip_unknown), str(file))
    own = pl.coalesce(pl.col("image_id"), pl.col("path")) if "image_id" in rows.columns else pl.col("path")
    rows = rows.with_columns(pl.concat_str(pl.lit(source + "/"), own).alias("image_id"), pl.lit(source).alias("source"))
    return complete(times_to_sequences(rows, source, str(file)))


def read_points(file: Path, *, source: str | None = None, skip_unknown: bool = False) -> pl.DataFrame:
    """List the places of a table without photos; geocoding and splitting need no pixels.

    A row's `uri` is `<source>:<key>`, where no image can be read; a row without a key is known by its number,
    counted from 1. A column `source` names the collection of each row, unless `source` is given. Raises UserError
    for a table without coordinates and for ones off the globe.
    """
    rows = read_roles(file, [role for role in ROLES if role != "path"])
    if not {"lat", "lon"} <= set(rows.columns) and "place" not in rows.columns:
        raise UserError(f"{file}: no latitude and longitude; {_columns(file)}")
    named = pl.lit(source or slug(file.stem))
    if "source" in rows.columns and not source:
        named = pl.coalesce(pl.col("source").str.to_lowercase(), named)
    key = pl.coalesce("image_id", pl.col("row").cast(pl.String)) if "image_id" in rows.columns else pl.col("row")
    rows = rows.with_columns(named.alias("source"), key.cast(pl.String).alias("key"))
    rows = details(labels(degrees(rows, str(file)), str(file), skip_unknown), str(file))
    return complete(
        rows.with_columns(
            pl.concat_str("source", pl.lit("/"), "key").alias("image_id"),
            pl.concat_str("source", pl.lit(":"), "key").alias("uri"),
        )
    )


def read_roles(file: Path, roles: Iterable[str]) -> pl.DataFrame:
    """Read the columns of a table that play a role, under the role's name, and `row`, counted from 1.

    Words for what is missing are null.
    """
    text = read_text(file)
    columns = find_columns(text, roles)
    say_columns(str(file), text.columns, columns)
    rows = text.select(pl.col(name).alias(role) for role, name in columns.items())
    return blank_to_null(rows).with_row_index("row", offset=1)


def _columns(file: Path) -> str:
    return f"its columns are {', '.join(read_text(file).columns[:12])}"


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
            f"{file}: {missing.height:,} of {rows.height:,} files are not there, row {row} first: {path}; "
            "paths count from the table's folder. Leave them out with --skip-unknown"
        )
    if missing.height:
        say(f"{file}: {missing.height:,} rows left out whose files are not there")
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
                f"{file}: {torn.height:,} photos stand more than once, with different countries: {torn['path'][0]} "
                f"({codes}) first; mend them, or leave them out with --skip-unknown"
            )
        if torn.height:
            say(f"{file}: {torn.height:,} photos left out that stand there with different countries")
            rows = rows.join(torn, on="uri", how="anti", maintain_order="left")
    kept = rows.unique("uri", keep="first", maintain_order=True)
    if kept.height < rows.height:
        say(f"{file}: {rows.height - kept.height:,} rows left out of photos that have a row already")
    return kept


def read_text(file: Path) -> pl.DataFrame:
    """Read all cells of a CSV, JSON, JSON lines or Parquet file as text.

    Columns of Parquet that are no text, such as embedded images, are left where they are. Raises UserError.
    """
    try:
        if file.suffix.lower() == ".parquet":
            scan = pl.scan_parquet(file, glob=False)  # a folder's name may hold brackets
            return scan.select(as_text(scan.collect_schema())).collect()
        text, encoding = decode_text(file.read_bytes())
        if encoding == WESTERN:
            say(f"{file}: not UTF-8, and read as Windows-1252; if names look wrong, save it as UTF-8")
        return _read_json(text) if file.suffix.lower() in JSON_SUFFIXES else _read_csv(text, file)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise UserError(f"{file}: not a readable table ({(str(error).splitlines() or ['empty'])[0]})") from None


def as_text(schema: pl.Schema) -> list[pl.Expr]:
    """Select the columns that can be written as text; bytes are so only when they are short, as Parquet has names."""
    plain = [name for name, dtype in schema.items() if not dtype.is_nested() and dtype != pl.Binary]
    return [pl.col(name).cast(pl.String) for name in plain]


def _read_json(text: str) -> pl.DataFrame:
    """Read a list of records, or a record a line; of records inside records, names are joined by `_`."""
    try:
        content = json.loads(text)
    except ValueError:
        content = [json.loads(line) for line in text.split("\n") if line.strip()]
    if isinstance(content, dict):
        content = next((part for part in content.values() if isinstance(part, list)), [content])
    records = [_flat(record) for record in content if isinstance(record, dict)]
    names = dict.fromkeys(name for record in records for name in record)
    return pl.DataFrame(records, schema=dict.fromkeys(names, pl.String))


def _flat(record: dict[str, Any], prefix: str = "") -> dict[str, str | None]:
    flat: dict[str, str | None] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}_")
        elif not isinstance(value, list):
            # JSON may have half of a surrogate pair, a table may not
            flat[prefix + name] = None if value is None else str(value).encode(errors="replace").decode()
    return flat


def _read_csv(text: str, file: Path) -> pl.DataFrame:
    """Read a CSV whose cells a comma, semicolon, tab or bar separates; comments and Excel's `sep=` may stand above."""
    lines = [line for line in text.split("\n") if line.strip()]
    separator = None
    while lines and (lines[0].startswith("#") or lines[0].lower().startswith("sep=")):
        if lines[0].lower().startswith("sep="):
            separator = lines[0][4:5]
        elif (
            len(lines) > 1 and (signs := re.findall(r"[,;\t|]", lines[0])) == re.findall(r"[,;\t|]", lines[1]) and signs
        ):
            lines[0] = lines[0].lstrip("# ")  # a header that is marked as a comment
            break
        del lines[0]
    if not lines:
        raise ValueError("empty")
    separator = separator or max(",;\t|", key=lines[0].count)
    cells = {line.count(separator) for line in lines}
    data = "\n".join(lines)
    if not re.search(f'(?:^|{re.escape(separator)}) *"', data, re.MULTILINE):  # no cell is in quotation marks
        return _unquoted(data, separator)
    try:
        table = pl.read_csv(data.encode(), infer_schema=False, separator=separator)
    except pl.exceptions.PolarsError:
        if len(cells) > 1:
            raise
        return _unquoted(data, separator)
    swallowed = len(lines) - 1 - table.height
    if swallowed > 0 and len(cells) == 1:
        say(f"{file}: quotation marks that are not closed would swallow {swallowed:,} rows; read as characters")
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
    most = table.width - 1
    for name in table.columns:
        for row, cell in (
            table.with_row_index("\0", 1).filter(pl.col(name).str.contains("\n")).select("\0", name).rows()
        ):
            if any(line.count(separator) >= max(most, 1) for line in cell.split("\n")[1:]):
                raise UserError(
                    f"{file}: row {row}: a quotation mark is not closed, so that {name!r} takes in "
                    f"{cell.count(chr(10)):,} more rows; mend the quotation marks"
                )
