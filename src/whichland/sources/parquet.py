"""Parquet shards with embedded images, as data sets on the Hugging Face hub come.

A shard has a column `image` of struct{bytes, path}, a country, and coordinates that may be text, as in the
Street View panoramas of `random_streetview_images_pano` (country_iso_alpha2, latitude, longitude, address).
Only the small columns are read here; the images stay in the shard and are read from there, `shard.parquet#row`.
"""

import re
from collections import defaultdict
from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.sources.columns import absolute, complete, country_codes, say, slug
from whichland.sources.roles import find_columns

_SHARD = re.compile(r"(?P<split>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})(?:-[0-9a-f]+)?\.parquet")

ROWS_AT_ONCE = 256  # Polars reads the image bytes along with their path; this bounds what it holds

SMALL = ("country", "lat", "lon", "sequence", "image_id", "captured_at", "creator", "license", "attribution")


def read_parquet(pattern: str, *, source: str | None = None, skip_unknown: bool = False) -> pl.DataFrame:
    """List the images inside the shards that a file, folder or glob names.

    A row's own id is the stem of `image.path` (for a panorama, its id), which is its sequence too, so that all
    views of a panorama stay together. Text that is not a coordinate becomes null and is counted on stderr. With
    `skip_unknown`, rows of unknown countries are left out. Raises UserError for no shards, for two sets of
    shards of one split, and for files without embedded images.
    """
    shards = find_shards(pattern)
    source = source or slug(_common_name(shards))
    rows = pl.concat([_read_shard(shard) for shard in shards], how="diagonal")
    rows = _coordinates(rows, pattern)
    if "country" in rows.columns:
        names = rows["country"].drop_nulls().unique(maintain_order=True)
        codes = country_codes(names, where=pattern, skip_unknown=skip_unknown)
        unknown = pl.col("country").is_not_null() & ~pl.col("country").is_in(list(codes))
        left_out = rows.filter(unknown)
        if left_out.height:
            say(f"{pattern}: {left_out.height:,} rows of unknown countries left out")
        rows = rows.filter(~unknown).with_columns(
            pl.col("country").replace_strict(codes, return_dtype=pl.String).alias("label_country")
        )
    return complete(_identify(rows, source))


def find_shards(pattern: str) -> list[Path]:
    """List the shards that a file, folder or glob names, sorted. Raises UserError when two sets are mixed."""
    path = Path(pattern)
    if path.is_dir():
        shards = sorted(path.rglob("*.parquet"))
    else:
        shards = (
            [path] if path.is_file() else sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        )
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
        schema = pl.read_parquet_schema(shard)
        columns = find_columns([name for name in schema if name != "image"], SMALL)
        small = [pl.col(name).cast(pl.String).alias(role) for role, name in columns.items()]
        scan = pl.scan_parquet(shard, glob=False)
        rows: int = scan.select(pl.len()).collect().item()
        native = _native_path(shard, schema.get("image"))
        parts = [
            scan.slice(start, ROWS_AT_ONCE).select(native, *small).collect()
            for start in range(0, rows, ROWS_AT_ONCE)
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
    lat, lon = (pl.col(name).str.strip_chars().cast(pl.Float64, strict=False) for name in ("lat", "lon"))
    good = lat.is_between(-90, 90) & lon.is_between(-180, 180)
    stated = rows.select(pl.any_horizontal(pl.col("lat", "lon").str.strip_chars() != "")).to_series()
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
        pl.concat_str(pl.lit(source + "/"), pl.col("image_id"), again).alias("image_id"),
        pl.lit(source).alias("source"),
    )
