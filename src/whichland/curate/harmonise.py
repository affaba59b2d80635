"""Bring pictures to one geometry and one encoding, written into Parquet shards.

Panoramas become views; photos are cropped to one ratio and, with `harmonise`, brought to one size and one
encoding, so that the file no longer tells which collection it came from. A shard is the unit of work: it
appears whole or not at all, its name follows from the rows and settings it holds, and one that is there is not
made again, so an interrupted run goes on where it stopped. The same rows and settings give the same bytes on
the same versions of numpy, Pillow and libjpeg-turbo, however many processes work.
"""

import hashlib
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import polars as pl

from whichland.curate.merge import begun_anew
from whichland.curate.views import Source, Target, View, views_of
from whichland.curate.workers import map_batches
from whichland.errors import UserError
from whichland.images.panorama import native_width
from whichland.manifest import COLUMNS, Manifest
from whichland.progress import Progress
from whichland.whole_file import whole_file

SHARD_ROWS = 256  # rows of the manifest that go into one shard
BLOCK_ROWS = 16  # a row group, and what the reader fetches at once
FORMAT = 1  # raised when the same settings would give other bytes
WORKER_DIED = "the process reading it died (out of memory?)"

MEASURED = tuple(column.name for column in COLUMNS.values() if column.writer in ("measure", "score"))
SHARD_SCHEMA = {
    "image": pl.Struct({"bytes": pl.Binary, "path": pl.String}),
    **dict.fromkeys(("of", "image_id", "view", "panorama"), pl.String()),
    "heading": pl.Float64(),
    **dict.fromkeys(("failure", "sha256"), pl.String()),
}


@dataclass(frozen=True, kw_only=True)
class HarmoniseConfig:
    """Which pictures are cut from what there is, and how they are stored."""

    harmonise: Annotated[bool, "bring every picture to one size and one encoding"] = False
    size: Annotated[
        str | None, "WIDTHxHEIGHT in pixels, with --harmonise; unset: what `keep` and `shrink` give"
    ] = None
    keep: Annotated[
        float, "…the size is the largest that this share of each source's pictures has; nothing is enlarged"
    ] = 0.99
    shrink: Annotated[
        float, "…times this, so that no source keeps its pixels and the traces of its own encoding; 1: off"
    ] = 0.75
    aspect: Annotated[
        str | None,
        "width to height, such as 16:9; what is over is cut off evenly, nothing is padded or stretched; "
        "unset: as they are, and with --harmonise that of the narrowest source",
    ] = None
    quality: Annotated[int, "JPEG quality of what is written, 1 to 100"] = 90
    projection: Annotated[
        dict[str, str],
        "what a source's pictures are, such as pano=strip:4: perspective, equirectangular, strip:N (N side by "
        "side; 1: one band); unset: what the manifest states, else perspective",
    ] = field(default_factory=dict)
    directions: Annotated[
        tuple[float, ...], "of the views, degrees right of a panorama's middle; empty: all round"
    ] = ()
    fov: Annotated[float, "width of a view of a sphere, degrees"] = 90.0
    pitch: Annotated[float, "how far up a view of a sphere looks, degrees"] = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise UserError(f"quality {self.quality}: give 1 to 100")
        if not 10 <= self.fov <= 130 or not -90 <= self.pitch <= 90:
            raise UserError(f"fov {self.fov:g}, pitch {self.pitch:g}: give 10 to 130 and -90 to 90 degrees")
        if not 0 < self.keep <= 1:
            raise UserError(f"keep {self.keep:g}: give more than 0, at most 1")
        if not 0.05 <= self.shrink <= 1:
            raise UserError(f"shrink {self.shrink:g}: give 0.05 to 1")
        if self.size and not self.harmonise:
            raise UserError("a size is for --harmonise; without it pictures keep as many pixels as they have")
        if self.size and self.aspect:
            raise UserError(f"size {self.size} says the ratio already: leave out --aspect")
        if self.size and min(_size(self.size)) < 1:
            raise UserError(f"size {self.size!r}: give whole pixels")
        if self.aspect:
            _ratio(self.aspect)
        for source, kind in self.projection.items():
            _projection(source, kind)


class Job(NamedTuple):
    """One shard to write: rows with the fields of `Source`, what to make of them, and where."""

    rows: pl.DataFrame
    target: Target
    path: Path


def harmonise(
    manifest: Manifest,
    config: HarmoniseConfig,
    folder: Path,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> Manifest:
    """Cut panoramas into views, crop and encode anew; write the pictures into shards in `folder`.

    A panorama's row gives way to a row a view (`panorama`, `view`, `heading`; `origin_uri` keeps where it came
    from), so the table begins a history of its own. A picture that was written has nothing measured any more:
    run `measure` next. One that cannot be read, or would have to be enlarged, stays as one row with the reason
    in `unreadable`. Raises UserError for an unknown source in `projection` and where no common size is known.
    """
    frame = _with_projection(manifest.frame, config)
    target = _target(frame, config)
    # without a ratio, photos that are no panoramas stay as they are and need not be opened
    touched = frame if target.aspect else frame.filter(pl.col("projection") != "perspective")
    if not touched.height:
        raise UserError(
            "no picture is to be changed: give --harmonise, --aspect or --projection NAME=strip:4"
        )
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    jobs = _jobs(touched, target, folder)
    _write(jobs, workers, progress)
    made = _joined(manifest.frame, pl.concat([_small_columns(job.path) for job in jobs]))
    size = None if target.size is None else f"{target.size[0]}x{target.size[1]}"
    params = asdict(config) | {"written_size": size, "folder": str(folder)}
    return begun_anew("harmonise", made, [manifest], **params)


def _size(text: str) -> tuple[int, int]:
    """Read `WIDTHxHEIGHT`, or one number for a square."""
    width, height = _two(text if "x" in text else f"{text}x{text}", "x", f"size {text!r}", "448x448")
    return round(width), round(height)


def _ratio(text: str) -> float:
    """Read `16:9`, or one number."""
    width, height = _two(text if ":" in text else f"{text}:1", ":", f"aspect {text!r}", "16:9")
    return width / height


def _two(text: str, sign: str, what: str, example: str) -> tuple[float, float]:
    try:
        first, second = (float(part) for part in text.split(sign))
    except ValueError:
        first = second = -1.0
    if not (0.01 < first < 65_500 and 0.01 < second < 65_500):  # JPEG ends at 65,500
        raise UserError(f"{what}: give two numbers, such as {example}")
    return first, second


def _projection(source: str, text: str) -> tuple[str, int | None]:
    """Read `perspective`, `equirectangular`, `strip` or `strip:N`."""
    kind, _, number = str(text).partition(":")
    known = kind in (COLUMNS["projection"].values or ())
    if not known or (number and (kind != "strip" or not number.isdecimal() or not 1 <= int(number) <= 64)):
        raise UserError(
            f"projection {source}={text}: give perspective, equirectangular or strip:N with N from 1 to 64"
        )
    return kind, int(number) if number else None


def _with_projection(frame: pl.DataFrame, config: HarmoniseConfig) -> pl.DataFrame:
    """Add what every row is (`projection`, never null) and how many pictures its strip has (`pictures`)."""
    unknown = sorted(set(config.projection) - set(frame["source"].unique()))
    if unknown:
        there = ", ".join(sorted(frame["source"].unique()))
        raise UserError(f"projection: no source {unknown[0]!r} in the manifest; there are {there}")
    stated = pl.col("projection") if "projection" in frame.columns else pl.lit(None, dtype=pl.String)
    kind, pictures = pl.coalesce(stated, pl.lit("perspective")), pl.lit(None, dtype=pl.Int64)
    for source, text in config.projection.items():
        name, number = _projection(source, text)
        here = pl.col("source") == source
        kind = pl.when(here).then(pl.lit(name)).otherwise(kind)
        pictures = pl.when(here).then(pl.lit(number, dtype=pl.Int64)).otherwise(pictures)
    missing = [name for name in ("heading", "width", "height") if name not in frame.columns]
    frame = frame.with_columns(pl.lit(None, dtype=COLUMNS[name].dtype).alias(name) for name in missing)
    _hint_at_panoramas(frame.filter(kind == "perspective", stated.is_null()), config)
    return frame.with_columns(kind.alias("projection"), pictures.alias("pictures"))


def _hint_at_panoramas(unstated: pl.DataFrame, config: HarmoniseConfig) -> None:
    """Point at sources of which nobody said what the pictures are and whose shape is that of panoramas."""
    ratio = pl.col("width") / pl.col("height")
    wide = unstated.filter(~pl.col("source").is_in(list(config.projection)), (ratio == 2) | (ratio >= 3))
    for source, count, middle in (
        wide.group_by("source").agg(pl.len(), ratio.median()).sort("source").iter_rows()
    ):
        kind = "equirectangular" if middle == 2 else f"strip:{round(middle)}"
        print(
            f"warning: {count:,} pictures of {source!r} are {middle:.3g} times as wide as high and are taken "
            f"as ordinary photos; if they are panoramas, give --projection {source}={kind}",
            file=sys.stderr,
        )


def _target(frame: pl.DataFrame, config: HarmoniseConfig) -> Target:
    """Settle ratio and size for all pictures."""
    aspect, size = config.aspect and _ratio(config.aspect), config.size and _size(config.size)
    if size:
        aspect = size[0] / size[1]
    elif config.harmonise:
        aspect, size = _common_size(frame, aspect or None, config)
    return Target(
        aspect=aspect or None,
        size=size or None,
        quality=config.quality,
        directions=config.directions,
        fov=config.fov,
        pitch=config.pitch,
    )


def _common_size(
    frame: pl.DataFrame, aspect: float | None, config: HarmoniseConfig
) -> tuple[float, tuple[int, int]]:
    """The ratio of the narrowest source, and the largest size that `keep` of each source's pictures fill, shrunk.

    A source's ratio is the median of its pictures, a strip's pictures each by itself; spheres have none of
    their own.
    """
    known = frame.filter(pl.col("width") > 0, pl.col("height") > 0)
    unmeasured = sorted(set(frame["source"].unique()) - set(known["source"].unique()))
    if unmeasured:
        raise UserError(
            f"source {unmeasured[0]!r} is not measured, so no common size is known: give --size, or run "
            "`whichland data measure` on each manifest first"
        )
    ratio = pl.col("width") / pl.col("height")
    square = ratio.round().clip(1)  # a strip of unstated number holds square pictures
    strip, sphere = pl.col("projection") == "strip", pl.col("projection") == "equirectangular"
    pieces = known.select(
        "source",
        width=pl.when(strip)
        .then(pl.col("width") / pl.coalesce("pictures", square))
        .when(sphere)
        .then(pl.col("width") * native_width(1, config.fov))
        .otherwise(pl.col("width").cast(pl.Float64)),
        height=pl.when(sphere).then(pl.lit(math.inf)).otherwise(pl.col("height").cast(pl.Float64)),
    )
    if aspect is None:
        flat = pieces.filter(pl.col("height").is_finite())
        own = flat.group_by("source").agg((pl.col("width") / pl.col("height")).median().alias("ratio"))
        aspect = float(own["ratio"].min()) if own.height else 1.0  # type: ignore[arg-type]
    fits = pl.min_horizontal("width", pl.col("height") * aspect)
    by_source = pieces.group_by("source").agg(fits.quantile(1 - config.keep, "lower").alias("width"))
    width = max(1, int(min(by_source["width"].to_list()) * config.shrink))
    return aspect, (width, max(1, int(width / aspect + 1e-6)))


def _jobs(rows: pl.DataFrame, target: Target, folder: Path) -> list[Job]:
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


def _write(jobs: Sequence[Job], workers: int | None, progress: bool) -> None:
    """Write the shards that are not there yet, in parallel processes."""
    waiting = [job for job in jobs if not job.path.is_file()]
    with Progress("writing pictures", sum(job.rows.height for job in jobs), show=progress) as bar:
        bar.advance(sum(job.rows.height for job in jobs) - sum(job.rows.height for job in waiting))
        for job, done in zip(waiting, map_batches(write_shard, waiting, workers=workers), strict=True):
            if done is None:
                _write_one_by_one(job)
            bar.advance(job.rows.height)


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
    values: dict[str, Any] = {
        name: [getattr(view, name) for view in views] for name in list(SHARD_SCHEMA)[1:]
    }
    images = [{"bytes": view.data, "path": f"{view.image_id}.jpg"} for view in views]
    table = pl.DataFrame({"image": images} | values, schema=SHARD_SCHEMA)
    with whole_file(path) as unfinished:
        # JPEG does not compress further
        table.write_parquet(unfinished, compression="uncompressed", row_group_size=BLOCK_ROWS)


def _small_columns(shard: Path) -> pl.DataFrame:
    """What a shard holds, without the bytes; `uri` is where the picture lies, null where none was written."""
    table = pl.scan_parquet(shard, glob=False).select(
        pl.exclude("image"), written=pl.col("image").struct.field("bytes").is_not_null()
    )
    place = pl.format("{}#{}", pl.lit(str(shard)), pl.row_index())
    return table.collect().with_columns(pl.when("written").then(place).alias("uri")).drop("written")


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
    new = [
        pl.when(written).then(f"_{name}").otherwise(name).alias(name)
        for name in ("image_id", "uri", "heading")
    ]
    measured = [name for name in MEASURED if name in frame.columns]
    return (
        joined.with_columns(
            *new,
            pl.when(written).then(pl.lit("perspective")).otherwise("projection").alias("projection"),
            pl.when(written)
            .then(pl.coalesce("_panorama", "panorama"))
            .otherwise("panorama")
            .alias("panorama"),
            pl.when(written).then(pl.coalesce("_view", "view")).otherwise("view").alias("view"),
            pl.when(written)
            .then(pl.coalesce("origin_uri", "uri"))
            .otherwise("origin_uri")
            .alias("origin_uri"),
            *[pl.when(~written).then(name).alias(name) for name in measured],
        )
        .with_columns(
            pl.when(failed).then("_failure").otherwise("unreadable").alias("unreadable"),
            pl.when(failed).then("_sha256").otherwise("sha256").alias("sha256"),
        )
        .drop(f"_{name}" for name in made.columns if name != "of")
    )
