"""Parquet shards with embedded images, as data sets on the Hugging Face hub come.

A shard has a column `image` of struct{bytes, path}, a country, and coordinates that may be text, as in the
Street View panoramas of `random_streetview_images_pano` (country_iso_alpha2, latitude, longitude, address).
Only the small columns are read here; the images stay in the shard and are read from there, `shard.parquet#row`.
"""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.images.formats import passed_over
from whichland.sources.cells import ROLES, blank_to_null, degrees, details, find_columns, labels
from whichland.sources.columns import absolute, complete, say, slug
from whichland.sources.sequences import warn_untied

_SHARD = re.compile(r"(?P<split>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})(?:-[0-9a-f]+)?\.parquet")

FEW_TORN = 0.05  # share of repeated names at two places, up to which they are taken for errors in the places

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
    rows = details(labels(degrees(rows, where, refuse=False), where, skip_unknown), where)
    return complete(_identify(rows, source, where), extra=("official_split",) if any(splits) else ())


def _split(shard: Path) -> str | None:
    named = _SHARD.fullmatch(shard.name)
    return named["split"] if named else None


def find_shards(pattern: str) -> list[Path]:
    """List the shards that a file, folder or glob names, sorted. Raises UserError when two sets are mixed."""
    path = Path(pattern)
    if path.is_dir():
        found = [shard for shard in sorted(path.rglob("*.parquet")) if not passed_over(shard.name)]
        shards = [shard for shard in found if _has_images(shard)] or found
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


def _has_images(shard: Path) -> bool:
    """Tell whether a file may be a shard; a table beside shards is none. What cannot be read is reported later."""
    try:
        return "image" in pl.scan_parquet(shard, glob=False).collect_schema()
    except (pl.exceptions.PolarsError, OSError):
        return True


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
        scan = pl.scan_parquet(shard, glob=False, row_index_name=_ROW)  # a folder's name may hold brackets
        schema = scan.collect_schema()
        small = [name for name, dtype in schema.items() if not dtype.is_nested() and name not in ("image", _ROW)]
        sampled = [pl.col(name).cast(pl.String) for name in small if schema[name] != pl.Binary]
        text = scan.select(*sampled, *(pl.lit(None, pl.String).alias(n) for n in small if schema[n] == pl.Binary))
        columns = find_columns(text.head(200).collect(), SMALL)
        chosen = [pl.col(name).cast(pl.String).alias(role) for role, name in columns.items()]
        native = _native_path(shard, schema.get("image"))
        # Polars reads the image bytes along with their path, here a few row groups at a time
        table = scan.select(_ROW, native, *chosen).collect(engine="streaming").sort(_ROW)
        names = _label_names(shard, columns.get("country"))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{shard}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    if names:
        table = table.with_columns(pl.col("country").replace(names))
    return table.with_columns(pl.format("{}#{}", pl.lit(str(shard)), _ROW).alias("uri")).drop(_ROW)


_ROW = "row of the shard"


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
    own = pl.coalesce(pl.col("image_id") if "image_id" in rows.columns else pl.lit(None), stem, place)
    rows = rows.with_columns(own.alias("image_id"), stem.alias("stem"))
    ties = pl.col("stem")
    if not _names_are_ids(rows):
        say(f"{where}: names such as {rows['stem'].drop_nulls()[0]!r} number the photos, and tie none to another")
        ties = pl.lit(None, dtype=pl.String)
    sequence = pl.col("sequence") if "sequence" in rows.columns else pl.lit(None, dtype=pl.String)
    rows = rows.with_columns(pl.coalesce(sequence, ties).alias("sequence")).drop("stem")
    warn_untied(rows, where, "add a column `sequence`")
    nth = pl.int_range(pl.len()).over("image_id")
    again = pl.when(nth > 0).then(pl.format("~{}", nth + 1)).otherwise(pl.lit(""))
    return rows.with_columns(
        pl.concat_str(pl.lit(source + "/"), pl.col("image_id"), again).alias("image_id"), pl.lit(source).alias("source")
    )


def _names_are_ids(rows: pl.DataFrame) -> bool:
    """Tell whether files' names may be those of panoramas: not where a name that repeats is at another place.

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
