"""Which geometry all pictures are brought to: what each of them is, one ratio, one size."""

import math
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated

import polars as pl
from annotated_types import Interval

from whichland.config import Config
from whichland.curate.views import Target
from whichland.errors import UserError
from whichland.images.panorama import native_width
from whichland.manifest import COLUMNS


@dataclass(frozen=True, kw_only=True)
class HarmoniseConfig(Config):
    """Which pictures are cut from what there is, and how they are stored."""

    harmonise: Annotated[bool, "bring every picture to one size and one encoding"] = False
    size: Annotated[str | None, "WIDTHxHEIGHT in pixels, with --harmonise; unset: what `keep` and `shrink` give"] = None
    keep: Annotated[
        float,
        "…the size is the largest that this share of each source's pictures has; nothing is enlarged",
        Interval(gt=0, le=1),
    ] = 0.99
    shrink: Annotated[
        float,
        "…times this, so that no source keeps its pixels and the traces of its own encoding; 1: off",
        Interval(ge=0.05, le=1),
    ] = 0.75
    aspect: Annotated[
        str | None,
        "width to height, such as 16:9; what is over is cut off evenly, nothing is padded or stretched; "
        "unset: as they are, and with --harmonise that of the narrowest source",
    ] = None
    quality: Annotated[int, "JPEG quality of what is written, 1 to 100", Interval(ge=1, le=100)] = 90
    projection: Annotated[
        dict[str, str],
        "what a source's pictures are, such as pano=strip:4: perspective, equirectangular, strip:N (N side by "
        "side; 1: one band); unset: what the manifest states, else perspective",
    ] = field(default_factory=dict)
    directions: Annotated[
        tuple[float, ...], "of the views, degrees right of a panorama's middle; empty: all round"
    ] = ()
    fov: Annotated[float, "width of a view of a sphere, degrees", Interval(ge=10, le=130)] = 90.0
    pitch: Annotated[float, "how far up a view of a sphere looks, degrees", Interval(ge=-90, le=90)] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
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
        self._check_directions()

    def _check_directions(self) -> None:
        if not all(map(math.isfinite, self.directions)):
            raise UserError("directions: give degrees, such as 0,90,180,270")
        turned = sorted(direction % 360 for direction in self.directions)
        # views of one direction would bear one name
        if any(after - before < 1 for before, after in pairwise([*turned, turned[0] + 360] if turned else ())):
            raise UserError("directions: two of them are the same, or less than a degree apart")


def with_projection(frame: pl.DataFrame, config: HarmoniseConfig) -> pl.DataFrame:
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
    """Warn of sources whose pictures have the shape of panoramas and no stated projection."""
    ratio = pl.col("width") / pl.col("height")
    wide = unstated.filter(~pl.col("source").is_in(list(config.projection)), (ratio == 2) | (ratio >= 3))
    for source, count, middle in wide.group_by("source").agg(pl.len(), ratio.median()).sort("source").iter_rows():
        kind = "equirectangular" if middle == 2 else f"strip:{round(middle)}"
        print(
            f"warning: {count:,} pictures of {source!r} are {middle:.3g} times as wide as high and are taken "
            f"as ordinary photos; if they are panoramas, give --projection {source}={kind}",
            file=sys.stderr,
        )


def common_target(frame: pl.DataFrame, config: HarmoniseConfig) -> Target:
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


def _common_size(frame: pl.DataFrame, aspect: float | None, config: HarmoniseConfig) -> tuple[float, tuple[int, int]]:
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
        raise UserError(f"projection {source}={text}: give perspective, equirectangular or strip:N with N from 1 to 64")
    return kind, int(number) if number else None
