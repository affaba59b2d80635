"""Give bad and duplicate images a reason to be left out; no row is deleted."""

from dataclasses import asdict, dataclass
from typing import Annotated

import polars as pl

from whichland.manifest import Manifest

OWN_FAULTS = ("unreadable", "tiny", "dark", "blank", "blurred", "no_country")
REASONS = (*OWN_FAULTS, "conflicting_label", "duplicate")  # a row gets the first that is true of it


@dataclass(frozen=True, kw_only=True)
class CleanConfig:
    """What makes an image too bad to learn from. The defaults hardly touch real street photos."""

    min_side: Annotated[int, "shortest side in pixels; a smaller image is `tiny`"] = 64
    min_brightness: Annotated[float, "mean luma, 0 to 1; below it an image is `dark`"] = 0.06
    min_contrast: Annotated[float, "standard deviation of luma, 0 to 1; below it an image is `blank`"] = 0.02
    min_sharpness: Annotated[float, "variance of the Laplacian at 256 px; below it an image is `blurred`"] = (
        10.0
    )
    drop_duplicates: Annotated[bool, "keep only one of the rows that hold the same bytes"] = True


def clean(manifest: Manifest, config: CleanConfig | None = None) -> Manifest:
    """Write `drop_reason`, afresh for all rows; null means the row is kept.

    Of rows with the same bytes (`sha256`) one is kept, the others are `duplicate`: a row with a sequence goes
    before one without, then one with coordinates, then the smallest image_id. Where they name different
    countries none is kept: `conflicting_label`. Near-duplicates are kept; `split` holds them together. `weight`
    and `rank` of an earlier run are removed, and dropped rows leave their split. Raises UserError when the
    manifest is not measured.
    """
    config = config or CleanConfig()
    manifest.require("sha256", "country", hint="run `whichland data measure` first")
    frame = manifest.frame.drop("weight", "rank", strict=False).with_columns(
        _own_faults(config).alias("drop_reason")
    )
    if config.drop_duplicates:
        frame = _with_duplicates(frame)
    dropped = pl.col("drop_reason").is_not_null()
    stale = [name for name in ("group", "split") if name in frame.columns]
    frame = frame.with_columns(pl.when(~dropped).then(pl.col(name)).alias(name) for name in stale)
    return manifest.with_step("clean", frame, **asdict(config))


def _own_faults(config: CleanConfig) -> pl.Expr:
    """The first of `OWN_FAULTS` that is true of a row, judged by that row alone."""
    faults = {
        "unreadable": pl.col("unreadable").is_not_null() | pl.col("sha256").is_null(),
        "tiny": pl.min_horizontal("width", "height") < config.min_side,
        "dark": pl.col("brightness") < config.min_brightness,
        "blank": pl.col("contrast") < config.min_contrast,
        "blurred": pl.col("sharpness") < config.min_sharpness,
        "no_country": pl.col("country").is_null(),
    }
    return pl.coalesce(pl.when(faults[reason]).then(pl.lit(reason)) for reason in OWN_FAULTS)


def _with_duplicates(frame: pl.DataFrame) -> pl.DataFrame:
    """Drop all but one of the rows of equal bytes that have no fault of their own."""
    rows = frame.with_row_index("_row")
    best_first = (pl.col("sequence").is_null(), pl.col("lat").is_null(), pl.col("image_id"))
    reason = (
        pl.when(pl.col("country").n_unique().over("sha256") > 1)
        .then(pl.lit("conflicting_label"))
        .when(pl.int_range(pl.len()).over("sha256") > 0)
        .then(pl.lit("duplicate"))
    )
    good = (
        rows.filter(pl.col("drop_reason").is_null()).sort(best_first).select("_row", reason.alias("_reason"))
    )
    return (
        rows.join(good, on="_row", how="left", maintain_order="left")
        .with_columns(pl.coalesce("drop_reason", "_reason").alias("drop_reason"))
        .drop("_row", "_reason")
    )
