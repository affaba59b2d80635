"""Write pictures into Parquet shards, in parallel, so that an interrupted run goes on where it stopped.

A shard is the unit of work: it appears whole or not at all, its name follows from the rows and settings it holds,
and one that is there is not made again.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from whichland.curate.views import Source, Target, View, views_of
from whichland.curate.workers import map_batches
from whichland.progress import Progress
from whichland.whole_file import whole_file

SHARD_ROWS = 256  # rows of the manifest that go into one shard
BLOCK_ROWS = 16  # a row group, and what the reader fetches at once
FORMAT = 1  # raised when the same settings would give other bytes
WORKER_DIED = "the process reading it died (out of memory?)"

SHARD_SCHEMA = {
    "image": pl.Struct({"bytes": pl.Binary, "path": pl.String}),
    **dict.fromkeys(("of", "image_id", "view", "panorama"), pl.String()),
    "heading": pl.Float64(),
    **dict.fromkeys(("failure", "sha256"), pl.String()),
}


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
    """Write a shard one of whose rows kills the process: each in a process of its own, the deadly one told."""
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
