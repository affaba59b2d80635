"""Which geometry all pictures are brought to (one ratio, one size), and what becomes of one photo then.

A photo is read and decoded once, however many views it gives.
"""

import hashlib
import math
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, NamedTuple

import polars as pl
from annotated_types import Interval

from whichland.config import Config
from whichland.errors import UserError
from whichland.images.decode import ImageError, Pixels, decode, encode_jpeg, image_size, read_bytes, shrink
from whichland.images.panorama import Piece, all_round, centred, native_width, pictures_in, sphere_views, strip_pieces
from whichland.manifest import COLUMNS, with_empty
from whichland.printed import counted

FINER = 2  # a JPEG may be decoded at a power-of-two scale as long as this much is left to resample


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
        if not all(map(math.isfinite, self.directions)):
            raise UserError("directions: give degrees, such as 0,90,180,270")
        turned = sorted(direction % 360 for direction in self.directions)
        # views of one direction would bear one name
        if any(after - before < 1 for before, after in pairwise([*turned, turned[0] + 360] if turned else ())):
            raise UserError("directions: two of them are the same, or less than a degree apart")


def _size(text: str) -> tuple[int, int]:
    """Read `WIDTHxHEIGHT`, or one number for a square."""
    width, height = _two(text if "x" in text else f"{text}x{text}", "x", f"size {text!r}", "448x448")
    return round(width), round(height)


def _ratio(text: str) -> float:
    """Read `16:9`, or one number."""
    width, height = _two(text if ":" in text else f"{text}:1", ":", f"aspect {text!r}", "16:9")
    return width / height


def _two(text: str, sign: str, what: str, example: str) -> list[float]:
    with suppress(ValueError):
        numbers = [float(part) for part in text.split(sign)]
        if len(numbers) == 2 and all(0.01 < number < 65_500 for number in numbers):  # JPEG ends at 65,500
            return numbers
    raise UserError(f"{what}: give two numbers, such as {example}")


def _projection(source: str, text: str) -> tuple[str, int | None]:
    """Read `perspective`, `equirectangular`, `strip` or `strip:N`."""
    kind, _, number = str(text).partition(":")
    known = kind in (COLUMNS["projection"].values or ())
    if not known or (number and (kind != "strip" or not number.isdecimal() or not 1 <= int(number) <= 64)):
        raise UserError(f"projection {source}={text}: give perspective, equirectangular or strip:N with N from 1 to 64")
    return kind, int(number) if number else None


@dataclass(frozen=True)
class Target:
    """What every picture is brought to."""

    aspect: float | None  # width over height; None: as it is (a view of a sphere is then square)
    size: tuple[int, int] | None  # width, height in pixels; None: as many as the photo has
    quality: int
    directions: tuple[float, ...]  # of views, degrees right of the panorama's middle; (): all round
    fov: float
    pitch: float


def with_projection(frame: pl.DataFrame, config: HarmoniseConfig) -> pl.DataFrame:
    """Add what every row is (`projection`, never null) and how many pictures its strip has (`pictures`)."""
    sources = sorted(frame["source"].unique())
    if unknown := sorted(set(config.projection) - set(sources)):
        raise UserError(f"projection: no source {unknown[0]!r} in the manifest; there are {', '.join(sources)}")
    frame = with_empty(frame, "projection", "heading", "width", "height")
    stated = pl.col("projection")
    kind, pictures = pl.coalesce(stated, pl.lit("perspective")), pl.lit(None, dtype=pl.Int64)
    for source, text in config.projection.items():
        name, number = _projection(source, text)
        here = pl.col("source") == source
        kind = pl.when(here).then(pl.lit(name)).otherwise(kind)
        pictures = pl.when(here).then(pl.lit(number, dtype=pl.Int64)).otherwise(pictures)
    _hint_at_panoramas(frame.filter(stated.is_null(), ~pl.col("source").is_in(list(config.projection))))
    return frame.with_columns(kind.alias("projection"), pictures.alias("pictures"))


def _hint_at_panoramas(unstated: pl.DataFrame) -> None:
    """Warn of sources whose pictures have the shape of panoramas and no stated projection."""
    ratio = pl.col("width") / pl.col("height")
    wide = unstated.filter((ratio == 2) | (ratio >= 3))
    for source, count, middle in wide.group_by("source").agg(pl.len(), ratio.median()).sort("source").iter_rows():
        kind = "equirectangular" if middle == 2 else f"strip:{round(middle)}"
        print(
            f"warning: {counted(count, 'picture')} of {source!r}, {middle:.3g} times as wide as high, taken "
            f"as ordinary photos; for panoramas, give --projection {source}={kind}",
            file=sys.stderr,
        )


def common_target(frame: pl.DataFrame, config: HarmoniseConfig) -> Target:
    """Settle ratio and size for all pictures."""
    aspect, size = (_ratio(config.aspect) if config.aspect else None), (_size(config.size) if config.size else None)
    if size:
        aspect = size[0] / size[1]
    elif config.harmonise:
        aspect, size = _common_size(frame, aspect, config)
    return Target(aspect, size, config.quality, config.directions, config.fov, config.pitch)


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


class Source(NamedTuple):
    """A row of the manifest, as far as its pixels are concerned."""

    image_id: str
    uri: str
    projection: str  # perspective, equirectangular or strip
    pictures: int | None  # side by side in a strip; None: derived from its size
    heading: float | None


class Outcome(NamedTuple):
    """A picture that a row became; with neither `data` nor `failure`, the row stays as it is."""

    of: str
    image_id: str
    data: bytes | None = None
    view: str | None = None
    panorama: str | None = None
    heading: float | None = None
    failure: str | None = None
    sha256: str | None = None  # of the original, where the failure lies in its pixels


def views_of(row: Source, target: Target) -> list[Outcome]:
    """Make the pictures that a row becomes; `failure` says why one cannot be read or is too small."""
    digest = None
    try:
        data = read_bytes(row.uri)
        digest = hashlib.sha256(data).hexdigest()
        return [_photo(row, data, target)] if row.projection == "perspective" else list(_panorama(row, data, target))
    except ImageError as error:
        return [Outcome(row.image_id, row.image_id, failure=str(error), sha256=digest)]


def _photo(row: Source, data: bytes, target: Target) -> Outcome:
    width, height = image_size(data)
    piece = centred(width, height, target.aspect)
    whole = (piece.width, piece.height) == (width, height)
    if whole and target.size is None:
        return Outcome(row.image_id, row.image_id)
    _check_large_enough(piece, target)
    if target.size is None:
        pixels = piece.cut(decode(data))
    else:
        needed = math.ceil(min(width, height) * target.size[0] / piece.width)
        decoded = decode(data, short_side=needed, finer=FINER)
        pixels = _shrunk(decoded, piece, decoded.shape[1] / width, decoded.shape[0] / height, target.size)
    name = None if whole else f"crop={piece.width}x{piece.height}+{piece.left}+{piece.top}"
    return Outcome(row.image_id, row.image_id, encode_jpeg(pixels, target.quality), name, None, row.heading)


def _panorama(row: Source, data: bytes, target: Target) -> Iterator[Outcome]:
    pixels = decode(data)
    pictures = _sphere(pixels, target) if row.projection == "equirectangular" else _strip(pixels, row, target)
    for name, direction, view in pictures:
        heading = None if row.heading is None else (row.heading + direction) % 360
        data = encode_jpeg(view, target.quality)
        yield Outcome(row.image_id, f"{row.image_id}#{name}", data, name, row.image_id, heading)


Picture = tuple[str, float, Pixels]  # name of the view, degrees right of the panorama's middle, pixels


def _sphere(pixels: Pixels, target: Target) -> Iterator[Picture]:
    if not math.isclose(pixels.shape[1], 2 * pixels.shape[0], rel_tol=0.01):
        found = f"{pixels.shape[1]}×{pixels.shape[0]}"
        raise ImageError(f"{found} is not the whole sphere: an equirectangular image is twice as wide as high")
    native = native_width(pixels.shape[1], target.fov)
    width = int(native)
    size = target.size or (width, max(1, round(width / (target.aspect or 1))))
    if size[0] > native:
        raise ImageError(f"a view of {target.fov:g}° has {width} pixels across, less than {size[0]}")
    directions = target.directions or all_round(target.fov)
    views = sphere_views(pixels, directions, fov=target.fov, pitch=target.pitch, size=size)
    for direction, view in zip(directions, views, strict=True):
        name = f"heading={direction % 360:g},fov={target.fov:g}"
        yield (f"{name},pitch={target.pitch:g}" if target.pitch else name), direction, view


def _strip(pixels: Pixels, row: Source, target: Target) -> Iterator[Picture]:
    height, width = pixels.shape[:2]
    pictures = row.pictures or pictures_in(width, height)
    if pictures is None:
        raise ImageError(f"{width}×{height}: say how many pictures lie side by side, --projection NAME=strip:4")
    everything = strip_pieces(width, height, pictures, target.aspect)
    for number, piece in enumerate(strip_pieces(width, height, pictures, target.aspect, target.directions)):
        _check_large_enough(piece, target)
        view = piece.cut(pixels)
        if target.size:
            view = _shrunk(view, Piece(0, 0, piece.width, piece.height), 1, 1, target.size)
        if piece in everything:
            name = f"{everything.index(piece) + 1}/{len(everything)}"
        else:
            name = f"heading={target.directions[number] % 360:g}"
        yield name, piece.direction(width), view


def _check_large_enough(piece: Piece, target: Target) -> None:
    if target.size and (piece.width < target.size[0] or piece.height < target.size[1]):
        wanted = f"{target.size[0]}×{target.size[1]}"
        raise ImageError(f"{piece.width}×{piece.height} pixels would have to be enlarged to {wanted}")


def _shrunk(pixels: Pixels, piece: Piece, across: float, down: float, size: tuple[int, int]) -> Pixels:
    """Cut the piece out of pixels that were decoded at the scales `across` and `down`, and bring it to size."""
    left, top = piece.left * across, piece.top * down
    right, bottom = left + piece.width * across, top + piece.height * down
    if (right - left, bottom - top) == size:
        return Piece(round(left), round(top), *size).cut(pixels)
    box = (left, top, min(right, pixels.shape[1]), min(bottom, pixels.shape[0]))
    return shrink(pixels, box, size)
