"""Bring pictures to one geometry and one encoding, written into Parquet shards.

Panoramas become views; photos are cropped to one ratio and, with `harmonise`, brought to one size and one
encoding, so that the file no longer gives away which collection it came from. The same rows and settings give the
same bytes on the same versions of numpy, Pillow and libjpeg-turbo, however many processes work.

A shard is the unit of work: it appears whole or not at all, its name follows from the rows and settings it holds,
and one that is there is not made again, so an interrupted run is resumed.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from whichland.curate.geometry import HarmoniseConfig, common_target, with_projection
from whichland.curate.merge import begun_anew
from whichland.curate.views import Source, Target, View, views_of
from whichland.curate.workers import WORKER_DIED, map_batches
from whichland.errors import UserError
from whichland.manifest import COLUMNS, MEASURED, Manifest
from whichland.progress import Progress
from whichland.whole_file import check_writable, whole_file

SHARD_ROWS = 256  # rows of the manifest that go into one shard
BLOCK_ROWS = 16  # a row group, and what the reader fetches at once
FORMAT = 1  # raised when the same settings would give other bytes

SHARD_SCHEMA = {
    "image": pl.Struct({"bytes": pl.Binary, "path": pl.String}),
    **dict.fromkeys(("of", "image_id", "view", "panorama"), pl.String()),
    "heading": pl.Float64(),
    **dict.fromkeys(("failure", "sha256"), pl.String()),
}


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
    for name in ("heading", "projection", "panorama", "view", "origin_uri", "unreadable", "sha256"):
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(None, dtype=COLUMNS[name].dtype).alias(name))
    joined = frame.join(
        made.rename({name: f"_{name}" for name in made.columns}),
        left_on="image_id",
        right_on="_of",
        how="left",
        maintain_order="left_right",
    )
    written, failed = pl.col("_uri").is_not_null(), pl.col("_failure").is_not_null()
    new = [pl.when(written).then(f"_{name}").otherwise(name).alias(name) for name in ("image_id", "uri", "heading")]
    measured = [name for name in MEASURED if name in frame.columns]
    return (
        joined.with_columns(
            *new,
            pl.when(written).then(pl.lit("perspective")).otherwise("projection").alias("projection"),
            pl.when(written).then(pl.coalesce("_panorama", "panorama")).otherwise("panorama").alias("panorama"),
            pl.when(written).then(pl.coalesce("_view", "view")).otherwise("view").alias("view"),
            pl.when(written).then(pl.coalesce("origin_uri", "uri")).otherwise("origin_uri").alias("origin_uri"),
            *[pl.when(~written).then(name).alias(name) for name in measured],
        )
        .with_columns(
            pl.when(failed).then("_failure").otherwise("unreadable").alias("unreadable"),
            pl.when(failed).then("_sha256").otherwise("sha256").alias("sha256"),
        )
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
    digests = rows["sha256"] if "sha256" in rows.columns else pl.Series([None] * rows.height, dtype=pl.String)
    rows = rows.select(*Source._fields)
    settings = json.dumps([FORMAT, asdict(target)], sort_keys=True).encode()
    jobs = []
    for number, part in enumerate(rows.iter_slices(SHARD_ROWS)):
        text = part.with_columns(digests.slice(number * SHARD_ROWS, SHARD_ROWS).alias("sha256")).write_csv()
        key = hashlib.sha256(settings + text.encode()).hexdigest()[:16]
        jobs.append(Job(part, target, folder / f"{number:06}-{key}.parquet"))
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
    if not shard.is_file():
        return False
    not_opened = pl.col("failure").is_not_null() & pl.col("sha256").is_null()
    return not pl.scan_parquet(shard, glob=False).select(not_opened.any()).collect().item()


def write_shard(job: Job) -> bool:
    """Make the pictures of some rows and write them as one shard; the unit of work of a process."""
    _save([view for row in job.rows.iter_rows() for view in views_of(Source(*row), job.target)], job.path)
    return True


def _write_one_by_one(job: Job) -> None:
    """Write a shard one of whose rows kills the process: each in a process of its own, the deadly one reported."""
    rows = [Source(*row) for row in job.rows.iter_rows()]
    made: list[View] = []
    make = partial(views_of, target=job.target)
    for row, views in zip(rows, map_batches(make, rows, alone=True), strict=True):
        made += views or [View(row.image_id, row.image_id, failure=WORKER_DIED)]
    _save(made, job.path)


def _save(views: list[View], path: Path) -> None:
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
