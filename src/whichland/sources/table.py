"""A table of photos: CSV or Parquet with a path on each row, and a country or coordinates.

Every value is read as text, so that "NA" is Namibia and an id keeps its leading zeros. Paths count from the
table's own folder.
"""

import os
import re
from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.sources.cells import degrees, details, labels
from whichland.sources.columns import absolute, complete, say, slug
from whichland.sources.roles import ROLES, find_columns

NAMELESS = ("images", "index", "manifest", "metadata", "photos")  # tables to be called after their folder


def read_table(file: Path, *, source: str | None = None, skip_unknown: bool = False) -> pl.DataFrame:
    """List the photos of a table; which column is what is told by `roles.ROLES`.

    No row is left out silently: an unknown country or a file that is not there raises UserError, or with
    `skip_unknown` is left out and counted on stderr. Coordinates that are none raise UserError with their row,
    counted from 1 below the header.
    """
    source = source or slug(absolute(file).parent.name if file.stem in NAMELESS else file.stem)
    text = read_text(file)
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
    rows = labels(degrees(rows, str(file)), str(file), skip_unknown)
    rows = details(_files(file, rows, skip_unknown), str(file))
    own = pl.coalesce(pl.col("image_id"), pl.col("path")) if "image_id" in rows.columns else pl.col("path")
    rows = rows.with_columns(pl.concat_str(pl.lit(source + "/"), own).alias("image_id"), pl.lit(source).alias("source"))
    return complete(rows)


def read_text(file: Path) -> pl.DataFrame:
    """Read all cells as text; a comma, semicolon or tab separates those of a CSV.

    Columns of Parquet that are no text, such as embedded images, are left where they are.
    """
    try:
        if file.suffix.lower() == ".parquet":
            scan = pl.scan_parquet(file, glob=False)  # a folder's name may hold brackets
            schema = scan.collect_schema()
            plain = [name for name, dtype in schema.items() if not dtype.is_nested() and dtype != pl.Binary]
            return scan.select(pl.col(plain).cast(pl.String)).collect()
        return pl.read_csv(file, infer_schema=False, separator=_separator(file), glob=False)
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
    # unlike Path.is_file, which raises for a name that is too long or a folder that may not be entered
    return os.path.isfile(uri) or (container is not None and os.path.isfile(container[1]))  # noqa: PTH113
