"""Parquet shards with embedded images, as data sets on the Hugging Face hub come.

A shard has a column `image` of struct{bytes, path}, a country, and coordinates that may be text, as in the
Street View panoramas of `random_streetview_images_pano` (country_iso_alpha2, latitude, longitude, address).
Only the small columns are read here; the images stay in the shard and are read from there, `shard.parquet#row`.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.sources.cells import blank_to_null, details, good_degrees, labels
from whichland.sources.columns import absolute, complete, say, slug
from whichland.sources.roles import ROLES, find_columns

_SHARD = re.compile(r"(?P<split>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})(?:-[0-9a-f]+)?\.parquet")

ROWS_AT_ONCE = 256  # Polars reads the image bytes along with their path; this bounds what it holds

SMALL = tuple(role for role in ROLES if role != "path")


def read_parquet(pattern: str, *, source: str | None = None, skip_unknown: bool = False) -> pl.DataFrame:
    """List the images inside the shards that a file, folder or glob names.

    A row's own id is the stem of `image.path` (for a panorama, its id), which is its sequence too, so that all
    views of a panorama stay together. Text that is not a coordinate becomes null and is counted on stderr. With
    `skip_unknown`, rows of unknown countries are left out. Raises UserError for no shards, for two sets of
    shards of one split, and for files without embedded images.
    """
    shards = find_shards(pattern)
    source = source or slug(_common_name(shards))
    return read_shards(shards, pattern, source=source, skip_unknown=skip_unknown)


def read_shards(
    shards: Sequence[Path], where: str, *, source: str, skip_unknown: bool, splits: Sequence[str | None] = ()
) -> pl.DataFrame:
    """List the images inside one set of shards; messages begin with `where`.

    The split of each shard, from `splits` or else its name, is kept in the extra column `official_split`.
    """
    splits = splits or [_split(shard) for shard in shards]
    frames = [
        _read_shard(shard).with_columns(pl.lit(split, dtype=pl.String).alias("official_split"))
        for shard, split in zip(shards, splits, strict=True)
    ]
    rows = blank_to_null(pl.concat(frames, how="diagonal"))
    rows = details(labels(_coordinates(rows, where), where, skip_unknown), where)
    return complete(_identify(rows, source), extra=("official_split",) if any(splits) else ())


def _split(shard: Path) -> str | None:
    named = _SHARD.fullmatch(shard.name)
    return named["split"] if named else None


def find_shards(pattern: str) -> list[Path]:
    """List the shards that a file, folder or glob names, sorted. Raises UserError when two sets are mixed."""
    path = Path(pattern)
    if path.is_dir():
        shards = sorted(path.rglob("*.parquet"))
    elif path.is_file():
        shards = [path]
    else:
        try:
            shards = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        except ValueError as error:
            raise UserError(f"{pattern}: not a glob ({error})") from None
    if not shards:
        raise UserError(f"{pattern}: no Parquet files there")
    sets: dict[tuple[Path, str], dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for shard in shards:
        named = _SHARD.fullmatch(shard.name)
        if named:
            sets[shard.parent, named["split"]][named["total"]].append(shard)
    for (folder, split), by_total in sets.items():
        _check_set(folder, split, by_total)
    return [absolute(shard) for shard in shards]


def _check_set(folder: Path, split: str, by_total: dict[str, list[Path]]) -> None:
    """Raise UserError when shards of two uploads of one split lie side by side; say when some are missing."""
    if len(by_total) > 1:
        names = [f"{split}-*-of-{total}*.parquet" for total in sorted(by_total)]
        raise UserError(
            f"{folder}: two sets of shards of one split, {' and '.join(names)}, hold the same images: "
            f"choose one with 'parquet:{folder}/{names[-1]}'"
        )
    ((total, shards),) = by_total.items()
    numbers = [shard.name[len(split) + 1 :][:5] for shard in shards]
    twice = next((shard for shard in shards if numbers.count(shard.name[len(split) + 1 :][:5]) > 1), None)
    if twice is not None:
        raise UserError(f"{folder}: shard {twice.name} is there twice under different hashes: move one away")
    if len(shards) < int(total):
        say(f"{folder}: {len(shards)} of {int(total)} shards of {split!r} are here")


def _common_name(shards: list[Path]) -> str:
    """Name the source after the folder of the shards, passing over the hub's `data` folder."""
    folder = shards[0].parent
    return folder.parent.name if folder.name == "data" else folder.name


def _read_shard(shard: Path) -> pl.DataFrame:
    """Read the small columns of a shard as text, with `native`, the image's own path, and `uri`."""
    try:
        scan = pl.scan_parquet(shard, glob=False)  # a folder's name may hold brackets
        schema = scan.collect_schema()
        columns = find_columns([name for name in schema if name != "image"], SMALL)
        small = [pl.col(name).cast(pl.String).alias(role) for role, name in columns.items()]
        rows: int = scan.select(pl.len()).collect().item()
        native = _native_path(shard, schema.get("image"))
        parts = [
            scan.slice(start, ROWS_AT_ONCE).select(native, *small).collect() for start in range(0, rows, ROWS_AT_ONCE)
        ]
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{shard}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    table = pl.concat(parts) if parts else pl.DataFrame(schema={"native": pl.String})
    return table.with_columns(pl.format("{}#{}", pl.lit(str(shard)), pl.row_index()).alias("uri"))


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


def _coordinates(rows: pl.DataFrame, where: str) -> pl.DataFrame:
    """Turn `lat` and `lon` from text to degrees; a pair of which one is bad becomes null."""
    if not {"lat", "lon"} <= set(rows.columns):
        return rows
    lat, lon = (pl.col(name).cast(pl.Float64, strict=False) for name in ("lat", "lon"))
    good = good_degrees(lat, lon)
    stated = rows.select(pl.any_horizontal(pl.col("lat", "lon").is_not_null())).to_series()
    rows = rows.with_columns(pl.when(good).then(lat).alias("lat"), pl.when(good).then(lon).alias("lon"))
    bad = int((stated & rows["lat"].is_null()).sum())
    if bad:
        say(f"{where}: {bad:,} rows have text that is not a pair of coordinates; theirs are left empty")
    return rows


def _identify(rows: pl.DataFrame, source: str) -> pl.DataFrame:
    """Add `image_id` and `sequence`; an image that stands twice gets `~2` and stays in its sequence."""
    stem = pl.col("native").str.split("/").list.last().str.replace(r"\.\w+$", "")
    place = pl.col("uri").str.split("/").list.last()
    own = pl.coalesce(pl.col("image_id") if "image_id" in rows.columns else pl.lit(None), stem, place)
    sequence = pl.col("sequence") if "sequence" in rows.columns else pl.lit(None)
    rows = rows.with_columns(own.alias("image_id"), pl.coalesce(sequence, stem).alias("sequence"))
    nth = pl.int_range(pl.len()).over("image_id")
    again = pl.when(nth > 0).then(pl.format("~{}", nth + 1)).otherwise(pl.lit(""))
    return rows.with_columns(
        pl.concat_str(pl.lit(source + "/"), pl.col("image_id"), again).alias("image_id"), pl.lit(source).alias("source")
    )
