"""Bring manifests together: one label space, unique ids, who has which country; pictures of one geometry and encoding.

A table that is made of others begins a history of its own; theirs are carried whole in `inputs`.

`harmonise` cuts panoramas into views, and crops photos to one ratio; with `HarmoniseConfig.harmonise` all are brought
to one size and one encoding, so that the file no longer gives away which collection it came from. The same rows and
settings give the same bytes on the same versions of numpy, Pillow and libjpeg-turbo, however many processes work.
A shard is the unit of work: it appears whole or not at all, its name follows from the rows and settings it holds,
and one that is there is not made again, so an interrupted run is resumed.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import polars as pl

from whichland.config import Config
from whichland.curate.geometry import HarmoniseConfig, Outcome, Source, Target, common_target, views_of, with_projection
from whichland.errors import UserError
from whichland.geo.countries import country_name
from whichland.manifest import MEASURED, Manifest, with_empty
from whichland.progress import Progress
from whichland.whole_file import check_writable, whole_file
from whichland.workers import WORKER_DIED, map_batches

TABLE = ("country", "name", "only_in")  # columns of `source_by_country` beside those of the sources

# Judgements on one table as a whole, which do not hold of several together.
JUDGED = ("drop_reason", "split", "weight", "rank")

SHARD_ROWS = 256  # rows of the manifest that go into one shard
BLOCK_ROWS = 16  # a row group, and what the reader fetches at once
FORMAT = 1  # raised when the same settings would give other bytes

SHARD_SCHEMA = {
    "image": pl.Struct({"bytes": pl.Binary, "path": pl.String}),
    **dict.fromkeys(("of", "image_id", "view", "panorama"), pl.String()),
    "heading": pl.Float64(),
    **dict.fromkeys(("failure", "sha256"), pl.String()),
}


@dataclass(frozen=True, kw_only=True)
class MergeConfig(Config):
    """How several manifests become one table."""

    countries: Annotated[
        Literal["all", "shared", "first"],
        "labels to keep: all, those that every manifest has, or those of the first; other rows lose theirs",
    ] = "all"
    sources: Annotated[tuple[str, ...], "new names for the collections, one a manifest, where two bear the same"] = ()


def merge(manifests: Sequence[Manifest], config: MergeConfig | None = None) -> Manifest:
    """Put the rows of several manifests into one table, in order.

    Columns are united; a column that a manifest lacks is null there. A row outside the label space stays,
    with `country` null (its `label_country` says what it was), and `clean` gives it the reason `no_country`.
    What was judged on each table alone (`drop_reason`, `split`, `weight`, `rank`) is removed: clean and split
    the whole anew. `group` stays, so a photo keeps its group's name and with it its split. Raises UserError
    when an image_id occurs twice.
    """
    config = config or MergeConfig()
    if config.sources and len(config.sources) != len(manifests):
        raise UserError(f"{len(config.sources)} names of sources for {len(manifests)} manifests: give one each")
    for manifest in manifests:
        manifest.require("country", hint="run `whichland data ingest` or `geocode` first")
    frames = [manifest.frame.drop(JUDGED, strict=False) for manifest in manifests]
    if config.sources:
        frames = [_renamed(frame, name) for frame, name in zip(frames, config.sources, strict=True)]
    whole = _stacked(frames)
    again = whole.filter(pl.col("image_id").is_duplicated())["image_id"]
    if again.len():
        raise UserError(
            f"{again.n_unique():,} image_id occur in more than one manifest, {again[0]!r} first: leave out the "
            "repeated manifest, or distinguish them with --sources NAME,NAME"
        )
    if taken := sorted(set(whole["source"].unique()) & set(TABLE)):
        raise UserError(f"a source cannot be called {taken[0]!r}: give other names with --sources NAME,NAME")
    if config.countries != "all":
        held = [set(frame["country"].drop_nulls().unique()) for frame in frames]
        labels = held[0] if config.countries == "first" else set.intersection(*held)
        if not labels:
            raise UserError(f"countries {config.countries}: the manifests have no country in common")
        whole = whole.with_columns(pl.when(pl.col("country").is_in(sorted(labels))).then("country").alias("country"))
    return begun_anew("merge", whole, manifests, **asdict(config))


def begun_anew(step: str, frame: pl.DataFrame, inputs: Sequence[Manifest], **params: Any) -> Manifest:
    """A manifest whose rows are not those of its inputs: one line of history, with theirs in `inputs`."""
    carried = [{"rows": len(manifest), "history": [asdict(line) for line in manifest.history]} for manifest in inputs]
    return Manifest(frame.head(0)).with_step(step, frame, **params, inputs=carried)


def source_by_country(frame: pl.DataFrame) -> pl.DataFrame:
    """Count the photos of each country and source: `country`, `name`, a column a source, `only_in`.

    `only_in` names the source of a country that no other has; it is null throughout where there is but one
    source. Countries with fewest sources come last, otherwise the largest first.
    """
    sources = sorted(frame["source"].unique())
    counts = ((pl.col("source") == name).sum().cast(pl.Int64).alias(name) for name in sources)
    table = frame.drop_nulls("country").group_by("country").agg(*counts)
    alone = pl.sum_horizontal(pl.col(name) > 0 for name in sources) == 1
    holder = pl.coalesce(pl.when(pl.col(name) > 0).then(pl.lit(name)) for name in sources)
    only_in = pl.when(alone).then(holder) if len(sources) > 1 else pl.lit(None, dtype=pl.String)
    names = pl.Series("name", [country_name(code) for code in table["country"]], dtype=pl.String)
    table = table.with_columns(only_in=only_in).insert_column(1, names)
    return table.sort(pl.col("only_in").is_not_null(), -pl.sum_horizontal(sources), "country")


def lone_countries(table: pl.DataFrame) -> list[str]:
    """Warn of each source's countries that no other source has, a line a source, from `source_by_country`."""
    lines = []
    for (source,), part in sorted(table.drop_nulls("only_in").group_by("only_in"), key=lambda item: item[0]):
        codes = ", ".join(part["country"].sort())
        lines.append(
            f"warning: from {source!r} alone come {part.height} of all {table.height} countries: {codes}; a model "
            "can recognise them by the source's looks instead of the country's"
        )
    return lines


def source_guessed_by_country(table: pl.DataFrame) -> tuple[float, float] | None:
    """How often the source is guessed right from the country alone, and without it: two shares of the photos.

    The first is what a model of countries knows of the source; where it is far above the second, source and
    label are entangled. None where there is but one source. From `source_by_country`.
    """
    sources = [name for name in table.columns if name not in TABLE]
    if len(sources) < 2 or not table.height:
        return None
    totals = table.select(pl.col(sources).sum()).row(0)
    right = table.select(pl.max_horizontal(sources).sum()).item()
    return right / sum(totals), max(totals) / sum(totals)


def _renamed(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Give the rows of one manifest a new source, which their ids begin with, too."""
    prefix = pl.concat_str("source", pl.lit("/"))
    ids = [
        pl.concat_str(pl.lit(f"{name}/"), pl.col(column).str.strip_prefix(prefix)).alias(column)
        for column in ("image_id", "panorama")
        if column in frame.columns
    ]
    return frame.with_columns(*ids, pl.lit(name).alias("source"))


def _stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Put the frames below each other; columns of a user's own may have types that do not go together."""
    try:
        return pl.concat(frames, how="diagonal_relaxed", rechunk=True)
    except pl.exceptions.PolarsError:
        kinds: dict[str, set[pl.DataType]] = {}
        for name, kind in (item for frame in frames for item in frame.schema.items()):
            kinds.setdefault(name, set()).add(kind)
        mixed = ", ".join(f"{name} ({', '.join(sorted(map(str, of)))})" for name, of in kinds.items() if len(of) > 1)
        raise UserError(f"columns have types that do not go together: {mixed}; rename or cast them") from None


def harmonise(
    manifest: Manifest, config: HarmoniseConfig, folder: Path, *, workers: int | None = None, progress: bool = True
) -> Manifest:
    """Cut panoramas into views, crop and encode anew; write the pictures into shards in `folder`.

    A panorama's row gives way to a row a view (`panorama`, `view`, `heading`; `origin_uri` keeps where it came
    from), so the table begins a history of its own. A picture that was written has nothing measured any more:
    run `measure` next. One that cannot be read, or would have to be enlarged, stays as one row with the reason
    in `unreadable`. Raises UserError for an unknown source in `projection` and where no common size is known.
    """
    frame = with_projection(manifest.frame, config)
    target = common_target(frame, config)
    # without a ratio, photos that are no panoramas stay as they are and need not be opened
    touched = frame if target.aspect else frame.filter(pl.col("projection") != "perspective")
    if not touched.height:
        raise UserError("no picture is to be changed: give --harmonise, --aspect or --projection NAME=strip:4")
    folder = Path(folder).resolve()
    check_writable(folder)
    jobs = jobs_of(touched, target, folder)
    write_shards(jobs, workers, progress)
    made = _joined(manifest.frame, pl.concat([small_columns(job.path) for job in jobs]))
    size = None if target.size is None else f"{target.size[0]}x{target.size[1]}"
    params = asdict(config) | {"written_size": size, "folder": str(folder)}
    return begun_anew("harmonise", made, [manifest], **params)


def _joined(frame: pl.DataFrame, made: pl.DataFrame) -> pl.DataFrame:
    """Put what was made in the place of the rows it was made of, in their order."""
    written, failed = pl.col("_uri").is_not_null(), pl.col("_failure").is_not_null()
    new = {
        **{name: pl.lit(None) for name in MEASURED if name in frame.columns},
        **{name: pl.col(f"_{name}") for name in ("image_id", "uri", "heading")},
        "projection": pl.lit("perspective"),
        "panorama": pl.coalesce("_panorama", "panorama"),
        "view": pl.coalesce("_view", "view"),
        "origin_uri": pl.coalesce("origin_uri", "uri"),
    }
    failures = {"unreadable": pl.col("_failure"), "sha256": pl.col("_sha256")}
    return (
        with_empty(frame, *new, *failures)
        .join(
            made.rename(lambda name: f"_{name}"),
            left_on="image_id",
            right_on="_of",
            how="left",
            maintain_order="left_right",
        )
        .with_columns(pl.when(written).then(value).otherwise(name).alias(name) for name, value in new.items())
        .with_columns(pl.when(failed).then(value).otherwise(name).alias(name) for name, value in failures.items())
        .drop(f"_{name}" for name in made.columns if name != "of")
    )


class Job(NamedTuple):
    """One shard to write: rows with the fields of `Source`, what to make of them, and where."""

    rows: pl.DataFrame
    target: Target
    path: Path


def jobs_of(rows: pl.DataFrame, target: Target, folder: Path) -> list[Job]:
    """Divide the rows into shards, each named after its place and everything that decides what it holds.

    That includes the sha256 of the originals, where they are measured.
    """
    rows = with_empty(rows, "sha256").select(*Source._fields, "sha256")
    settings = json.dumps([FORMAT, asdict(target)], sort_keys=True).encode()
    jobs = []
    for number, part in enumerate(rows.iter_slices(SHARD_ROWS)):
        key = hashlib.sha256(settings + part.write_csv().encode()).hexdigest()[:16]
        jobs.append(Job(part.drop("sha256"), target, folder / f"{number:06}-{key}.parquet"))
    return jobs


def write_shards(jobs: Sequence[Job], workers: int | None, progress: bool) -> None:
    """Write the shards that are not there yet, in parallel processes."""
    waiting = [job for job in jobs if not _is_done(job.path)]
    with Progress("writing pictures", sum(job.rows.height for job in jobs), show=progress) as bar:
        bar.advance(sum(job.rows.height for job in jobs) - sum(job.rows.height for job in waiting))
        for job, done in zip(waiting, map_batches(write_shard, waiting, workers=workers), strict=True):
            if done is None:
                _write_one_by_one(job)
            bar.advance(job.rows.height)


def _is_done(shard: Path) -> bool:
    """Whether a shard is there and needs no second try: a file that could not be opened then may be back."""
    not_opened = pl.col("failure").is_not_null() & pl.col("sha256").is_null()
    return shard.is_file() and not pl.scan_parquet(shard, glob=False).select(not_opened.any()).collect().item()


def write_shard(job: Job) -> bool:
    """Make the pictures of some rows and write them as one shard; the unit of work of a process."""
    _save([view for row in job.rows.iter_rows() for view in views_of(Source(*row), job.target)], job.path)
    return True


def _write_one_by_one(job: Job) -> None:
    """Write a shard one of whose rows kills the process: each in a process of its own, the deadly one reported."""
    rows = [Source(*row) for row in job.rows.iter_rows()]
    made: list[Outcome] = []
    make = partial(views_of, target=job.target)
    for row, views in zip(rows, map_batches(make, rows, alone=True), strict=True):
        made += views or [Outcome(row.image_id, row.image_id, failure=WORKER_DIED)]
    _save(made, job.path)


def _save(views: list[Outcome], path: Path) -> None:
    values: dict[str, Any] = {name: [getattr(view, name) for view in views] for name in list(SHARD_SCHEMA)[1:]}
    images = [{"bytes": view.data, "path": f"{view.image_id}.jpg"} for view in views]
    table = pl.DataFrame({"image": images} | values, schema=SHARD_SCHEMA)
    with whole_file(path) as unfinished:
        # JPEG does not compress further
        table.write_parquet(unfinished, compression="uncompressed", row_group_size=BLOCK_ROWS)


def small_columns(shard: Path) -> pl.DataFrame:
    """What a shard holds, without the bytes; `uri` is where the picture lies, null where none was written."""
    table = pl.scan_parquet(shard, glob=False).select(
        pl.exclude("image"), written=pl.col("image").struct.field("bytes").is_not_null()
    )
    place = pl.format("{}#{}", pl.lit(str(shard)), pl.row_index())
    return table.collect().with_columns(pl.when("written").then(place).alias("uri")).drop("written")
