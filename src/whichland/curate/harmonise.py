"""Bring pictures to one geometry and one encoding, written into Parquet shards.

Panoramas become views; photos are cropped to one ratio and, with `harmonise`, brought to one size and one
encoding, so that the file no longer tells which collection it came from. The same rows and settings give the
same bytes on the same versions of numpy, Pillow and libjpeg-turbo, however many processes work.
"""

from dataclasses import asdict
from pathlib import Path

import polars as pl

from whichland.curate.geometry import HarmoniseConfig, common_target, with_projection
from whichland.curate.merge import begun_anew
from whichland.curate.shards import jobs_of, small_columns, write_shards
from whichland.errors import UserError
from whichland.manifest import COLUMNS, Manifest

MEASURED = tuple(column.name for column in COLUMNS.values() if column.writer in ("measure", "score"))


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
    folder.mkdir(parents=True, exist_ok=True)
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
