"""Parquet shards with embedded images, as data sets on the Hugging Face hub come.

A shard has a column `image` of struct{bytes, path}, a country, and coordinates that may be text, as in the
Street View panoramas of `random_streetview_images_pano` (country_iso_alpha2, latitude, longitude, address).
Only the small columns are read here; the images stay in the shard and are read from there, `shard.parquet#row`.

The hub's library writes `data/<split>-<number>-of-<total>[-<hash>].parquet`, and the hub's own conversion, at the
revision refs/convert/parquet, `<configuration>/<split>/<number>.parquet`. A repository may hold the shards of an
older upload beside the newer ones, with the same images in another number of shards.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import polars as pl

from whichland.errors import UserError
from whichland.images.containers import passed_over
from whichland.sources import columns
from whichland.sources.columns import ROLES, say, slug
from whichland.sources.files import absolute
from whichland.sources.sequences import warn_untied

FEW_TORN = 0.05  # share of repeated names at two places, up to which they are taken for errors in the places
_SMALL = {role: names for role, names in ROLES.items() if role != "path"}
_ROW = "row of the shard"
_LIBRARY = re.compile(r"(?:(?P<config>.+)/)?(?P<split>[^/]+)-(?P<number>\d{5})-of-(?P<total>\d{5})[^/]*\.parquet")
_CONVERTED = re.compile(r"(?P<config>.+)/(?P<split>[^/]+)/(?P<number>\d{4})\.parquet")


class Shard(NamedTuple):
    """One Parquet file of a repository or a folder, by what its name says."""

    path: str
    config: str
    split: str
    number: int
    total: int | None  # shards of its set, where the name says
    size: int = 0  # bytes; 0 for one on the disk


def shards_by_name(files: Mapping[str, int]) -> list[Shard]:
    """The Parquet files among `files` (path: bytes), by what their names say."""
    shards = []
    for path, size in sorted(files.items()):
        if not path.endswith(".parquet"):
            continue
        named = _LIBRARY.fullmatch(path) or _CONVERTED.fullmatch(path)
        own = {"config": str(PurePath(path).parent), "split": PurePath(path).stem, "number": "0"}
        parts: dict[str, Any] = named.groupdict() if named else own
        total, config = parts.get("total"), parts["config"] or "."
        shards.append(Shard(path, config, parts["split"], int(parts["number"]), int(total) if total else None, size))
    return shards


Sets = dict[tuple[str, str], dict[int | None, list[Shard]]]


def _sets(shards: Iterable[Shard]) -> Sets:
    """Put shards that belong together side by side: by configuration and split, then by the size of the set."""
    sets: Sets = defaultdict(lambda: defaultdict(list))
    for shard in shards:
        sets[shard.config, shard.split][shard.total].append(shard)
    return sets


def ambiguous(shards: Iterable[Shard]) -> bool:
    """Whether there is more than one set of shards of a split, or a shard twice."""
    return any(len(by_total) > 1 or _repeats(by_total) for by_total in _sets(shards).values())


def _repeats(by_total: dict[int | None, list[Shard]]) -> bool:
    return any(len({shard.number for shard in shards}) < len(shards) for shards in by_total.values())


def choose(
    shards: Sequence[Shard], split: str | None, where: str, dates: Mapping[str, datetime], *, whole: bool = False
) -> list[Shard]:
    """Choose one set of shards for each split: a complete one before others, among these the newest.

    `split` is the name of a split or configuration, or `configuration/split`. `dates` says when each path was
    last written; it is needed only where there is more than one set. Raises UserError for a split that is not
    there, for several configurations, which as a rule hold the same images, and with `whole` for a set of which a
    part is missing, which else is said.
    """
    sets = _sets(shards)
    wanted = {key: found for key, found in sets.items() if split in (None, *key, "/".join(key))}
    if not wanted:
        raise UserError(f"{where}: no split {split!r}; there are {', '.join(sorted({s for _, s in sets}))}")
    configs = sorted({config for config, _ in wanted})
    if len(configs) > 1:
        raise UserError(
            f"{where}: several configurations, {', '.join(configs)}: add one, as :{configs[0]}, or with its split"
        )

    def written(shards: Iterable[Shard]) -> float:
        return max((dates[shard.path].timestamp() for shard in shards if shard.path in dates), default=0.0)

    def newest(shards: Iterable[Shard]) -> list[Shard]:
        """Of the shards that bear one number, the newest."""
        by_number = {s.number: s for s in sorted(shards, key=lambda shard: (written([shard]), shard.path))}
        return [by_number[number] for number in sorted(by_number)]

    def is_whole(shards: Sequence[Shard]) -> bool:
        return shards[0].total in (None, len(shards))

    chosen: list[Shard] = []
    for (_, part), by_total in sorted(wanted.items()):
        rival = {total: newest(members) for total, members in by_total.items()}
        best = max(rival, key=lambda total: (is_whole(rival[total]), written(rival[total]), total or 0))
        if len(by_total) > 1 or _repeats(by_total):
            totals = ", ".join(f"of {total} ({len(rival[total])} there)" for total in sorted(rival, key=str))
            say(f"{where}: {part!r} is there in several sets of shards, {totals}: reading the one of {best}")
        if not is_whole(rival[best]):
            lacking = f"{where}: {len(rival[best])} of {best} shards of {part!r} are there"
            if whole:
                raise UserError(f"{lacking}, and the hub cannot be asked; connect and try again")
            say(lacking)
        chosen += rival[best]
    return chosen


def find_shards(pattern: str) -> list[Path]:
    """List the shards that a file, folder or glob names, sorted. Raises UserError when two sets are mixed."""
    path = Path(pattern)
    if path.is_dir():
        found = [shard for shard in sorted(path.rglob("*.parquet")) if not passed_over(shard.name)]
        paths = [shard for shard in found if holds_images(shard, unreadable=True)] or found
    elif path.is_file():
        paths = [path]
    else:
        try:
            paths = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        except ValueError as error:
            raise UserError(f"{pattern}: not a glob ({error})") from None
    if not paths:
        raise UserError(f"{pattern}: no Parquet files there")
    named = shards_by_name({str(path): 0 for path in paths})
    for (folder, split), by_total in _sets(shard for shard in named if shard.total is not None).items():
        if len(by_total) > 1:
            names = [f"{split}-*-of-{total:05}*.parquet" for total in sorted(by_total, key=lambda total: total or 0)]
            raise UserError(
                f"{folder}: two sets of shards of one split, {' and '.join(names)}, hold the same images: "
                f"choose one with 'parquet:{folder}/{names[-1]}'"
            )
        ((total, shards),) = by_total.items()
        numbers = [shard.number for shard in shards]
        twice = next((PurePath(shard.path).name for shard in shards if numbers.count(shard.number) > 1), None)
        if twice is not None:
            raise UserError(f"{folder}: shard {twice} is there twice under different hashes: move one away")
        if total is not None and len(shards) < total:
            say(f"{folder}: {len(shards)} of {total} shards of {split!r} are here")
    return [absolute(path) for path in paths]


def holds_images(file: Path, *, unreadable: bool | None = None) -> bool:
    """Whether a Parquet file has embedded images; one that cannot be read raises UserError or is `unreadable`."""
    try:
        image = pl.scan_parquet(file, glob=False).collect_schema().get("image")
    except (pl.exceptions.PolarsError, OSError) as error:
        if unreadable is not None:
            return unreadable
        raise UserError(f"{file}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    return isinstance(image, pl.Struct) or image == pl.Binary


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
