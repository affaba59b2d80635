"""Parquet shards with embedded images, as data sets on the Hugging Face hub come.

A shard has a column `image` of struct{bytes, path}, a country, and coordinates that may be text, as in the
Street View panoramas of `random_streetview_images_pano` (country_iso_alpha2, latitude, longitude, address).
Only the small columns are read here; the images stay in the shard and are read from there, `shard.parquet#row`.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.sources import columns
from whichland.sources.columns import ROLES, say, slug
from whichland.sources.sequences import warn_untied
from whichland.sources.shards import find_shards, shards_by_name

FEW_TORN = 0.05  # share of repeated names at two places, up to which they are taken for errors in the places
_SMALL = {role: names for role, names in ROLES.items() if role != "path"}
_ROW = "row of the shard"


def read_parquet(pattern: str, *, source: str | None = None, skip_unknown: bool = False) -> pl.DataFrame:
    """List the images inside the shards that a file, folder or glob names.

    A row's own id is the stem of `image.path` (for a panorama, its id), which is its sequence too, so that all
    views of a panorama stay together. Text that is not a coordinate becomes null and is counted on stderr. With
    `skip_unknown`, rows of unknown countries are left out. Raises UserError for no shards, for two sets of
    shards of one split, and for files without embedded images.
    """
    shards = find_shards(pattern)
    folder = shards[0].parent  # the hub keeps its shards in a folder `data`
    source = source or slug(folder.parent.name if folder.name == "data" else folder.name)
    named = shards_by_name(dict.fromkeys(map(str, shards), 0))
    by_path = {shard.path: shard.split for shard in named if shard.total is not None}
    splits = [by_path.get(str(shard)) for shard in shards]
    return read_shards(shards, splits, pattern, source=source, skip_unknown=skip_unknown)


def read_shards(
    shards: Sequence[Path], splits: Sequence[str | None], where: str, *, source: str, skip_unknown: bool
) -> pl.DataFrame:
    """List the images inside one set of shards; messages begin with `where`.

    The split of each shard is kept in the extra column `official_split`, where any has one.
    """
    frames = [
        _read_shard(shard).with_columns(pl.lit(split, dtype=pl.String).alias("official_split"))
        for shard, split in zip(shards, splits, strict=True)
    ]
    rows = columns.blank_to_null(pl.concat(frames, how="diagonal"))
    rows = columns.details(columns.labels(columns.degrees(rows, where, refuse=False), where, skip_unknown), where)
    return columns.complete(_identify(rows, source, where), extra=("official_split",) if any(splits) else ())


def _read_shard(shard: Path) -> pl.DataFrame:
    """Read the small columns of a shard as text, with `native`, the image's own path, and `uri`."""
    try:
        scan = pl.scan_parquet(shard, glob=False, row_index_name=_ROW)  # a folder's name may hold brackets
        schema = scan.collect_schema()
        small = [name for name, dtype in schema.items() if not dtype.is_nested() and name not in ("image", _ROW)]
        sampled = (pl.lit(None, pl.String).alias(n) if schema[n] == pl.Binary else pl.col(n) for n in small)
        found = columns.find_columns(scan.select(sampled).head(200).cast(pl.String).collect(), _SMALL)
        chosen = [pl.col(name).cast(pl.String).alias(role) for role, name in found.items()]
        native = _native_path(shard, schema.get("image"))
        # Polars reads the image bytes along with their path, here a few row groups at a time
        table = scan.select(_ROW, native, *chosen).collect(engine="streaming").sort(_ROW)
        names = _label_names(shard, found.get("country"))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{shard}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    if names:
        table = table.with_columns(pl.col("country").replace(names))
    return table.with_columns(pl.format("{}#{}", pl.lit(str(shard)), _ROW).alias("uri")).drop(_ROW)


def _label_names(shard: Path, column: str | None) -> dict[str, str]:
    """The names that the hub's library keeps of the numbers in a column of ClassLabel, in the file's metadata."""
    try:
        features = json.loads(pl.read_parquet_metadata(shard)["huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, TypeError, ValueError):  # a file that another library wrote, or a column of another kind
        return {}
    return {str(number): str(name) for number, name in enumerate(names)} if isinstance(names, list) else {}


def _native_path(shard: Path, image: pl.DataType | None) -> pl.Expr:
    if isinstance(image, pl.Struct):
        names = {field.name: field.dtype for field in image.fields}
        if names.get("bytes") == pl.Binary:
            path = pl.col("image").struct.field("path") if names.get("path") == pl.String else pl.lit(None)
            return path.cast(pl.String).alias("native")
    if image == pl.Binary:
        return pl.lit(None, dtype=pl.String).alias("native")
    raise UserError(
        f"{shard}: no embedded images (no column `image` of struct{{bytes, path}}); "
        f"for a table of paths write 'table:{shard}'"
    )


def _identify(rows: pl.DataFrame, source: str, where: str) -> pl.DataFrame:
    """Add `image_id` and `sequence`; an image that stands twice gets `~2` and stays in its sequence."""
    stem = pl.col("native").str.split("/").list.last().str.replace(r"\.\w+$", "")
    place = pl.col("uri").str.split("/").list.last()
    rows = rows.with_columns(stem.alias("stem"))
    own = [pl.col(name) for name in ("image_id", "stem") if name in rows.columns]
    ties = ["sequence"] if "sequence" in rows.columns else []
    if _names_are_ids(rows):
        ties.append("stem")
    else:
        say(f"{where}: names such as {rows['stem'].drop_nulls()[0]!r} number the photos, and tie none to another")
    sequence = pl.coalesce(*ties, pl.lit(None, dtype=pl.String))
    rows = rows.with_columns(image_id=pl.coalesce(*own, place), sequence=sequence).drop("stem")
    warn_untied(rows, where, "add a column `sequence`")
    nth = pl.int_range(pl.len()).over("image_id")
    again = pl.when(nth > 0).then(pl.format("~{}", nth + 1)).otherwise(pl.lit(""))
    return rows.with_columns(*columns.identified(source, pl.concat_str("image_id", again)))


def _names_are_ids(rows: pl.DataFrame) -> bool:
    """Whether files' names may be those of panoramas: not where a name that repeats is at another place.

    An image folder that was pushed to the hub keeps the file's name alone, and numbers begin anew in each folder.
    """
    facts = [name for name in ("label_country", "lat", "lon") if name in rows.columns]
    repeated = rows.filter(pl.col("stem").is_not_null() & pl.col("stem").is_duplicated())
    if not repeated.height:
        return True
    counted = repeated["stem"].str.contains(r"^(?i)(?:[a-z]{0,6}[_-]?)?\d{1,6}$").mean()
    torn = repeated.group_by("stem").agg(pl.col(name).drop_nulls().n_unique() > 1 for name in facts)
    other = torn.select(pl.any_horizontal(facts)).to_series().mean() if facts else 0.0
    return float(other or 0) <= FEW_TORN and float(counted or 0) < 0.5  # type: ignore[arg-type]
