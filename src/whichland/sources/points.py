"""Places without photos: a table of coordinates with a country, a sequence or an image's key.

Geocoding and splitting need no pixels, so that a list of places is enough to try them, or to plan what to fetch.
A row's `uri` is `<source>:<key>`, where no image can be read; measuring calls such rows unreadable.
"""

from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.sources.cells import degrees, details, labels
from whichland.sources.columns import complete, slug
from whichland.sources.roles import ROLES, find_columns
from whichland.sources.table import read_text


def read_points(file: Path, *, source: str | None = None, skip_unknown: bool = False) -> pl.DataFrame:
    """List the places of a table; which column is what is told by `roles.ROLES`.

    A column `source` names the collection of each row, unless `source` is given. A row without a key is known by
    its number, counted from 1. Raises UserError for a table without coordinates and for ones off the globe.
    """
    text = read_text(file)
    columns = find_columns(text.columns, [role for role in ROLES if role != "path"])
    if not {"lat", "lon"} <= set(columns):
        raise UserError(f"{file}: no latitude and longitude; its columns are {', '.join(text.columns[:12])}")
    rows = text.with_row_index("row", offset=1).select(
        "row", *(pl.col(name).str.strip_chars().replace("", None).alias(role) for role, name in columns.items())
    )
    named = pl.lit(source or slug(file.stem))
    if "source" in columns and not source:
        named = pl.coalesce(pl.col("source").str.to_lowercase(), named)
    rows = rows.with_columns(named.alias("source"))
    rows = details(labels(degrees(rows, str(file)), str(file), skip_unknown), str(file))
    key = pl.col("image_id") if "image_id" in rows.columns else pl.lit(None, dtype=pl.String)
    rows = rows.with_columns(pl.coalesce(key, pl.col("row").cast(pl.String)).alias("key"))
    return complete(
        rows.with_columns(
            pl.concat_str("source", pl.lit("/"), "key").alias("image_id"),
            pl.concat_str("source", pl.lit(":"), "key").alias("uri"),
        )
    )
