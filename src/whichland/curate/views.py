"""What becomes of one photo when sources are brought together: which part is cut, how it is stored.

A photo is read and decoded once, however many views it gives.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from whichland.images.decode import ImageError, Pixels, decode, encode_jpeg, image_size, read_bytes, shrink
from whichland.images.panorama import Piece, centred, native_width, pictures_in, sphere_views, strip_pieces

FINER = 2  # a JPEG may be decoded at a power-of-two scale as long as this much is left to resample


@dataclass(frozen=True, kw_only=True)
class Target:
    """What every picture is brought to."""

    aspect: float | None  # width over height; None: as it is (a view of a sphere is then square)
    size: tuple[int, int] | None  # width, height in pixels; None: as many as the photo has
    quality: int
    directions: tuple[float, ...]  # of views, degrees right of the panorama's middle; (): all round
    fov: float
    pitch: float


class Source(NamedTuple):
    """A row of the manifest, as far as its pixels are concerned."""

    image_id: str
    uri: str
    projection: str  # perspective, equirectangular or strip
    pictures: int | None  # side by side in a strip; None: derived from its size
    heading: float | None


class View(NamedTuple):
    """A picture that a row became; with neither `data` nor `failure`, the row stays as it is."""

    of: str
    image_id: str
    data: bytes | None = None
    view: str | None = None
    panorama: str | None = None
    heading: float | None = None
    failure: str | None = None
    sha256: str | None = None  # of the original, where the failure lies in its pixels


def views_of(row: Source, target: Target) -> list[View]:
    """Make the pictures that a row becomes; `failure` says why one cannot be read or is too small."""
    try:
        data = read_bytes(row.uri)
    except ImageError as error:
        return [View(row.image_id, row.image_id, failure=str(error))]
    try:
        if row.projection == "perspective":
            return [_photo(row, data, target)]
        return list(_panorama(row, data, target))
    except ImageError as error:
        digest = hashlib.sha256(data).hexdigest()
        return [View(row.image_id, row.image_id, failure=str(error), sha256=digest)]


def _photo(row: Source, data: bytes, target: Target) -> View:
    width, height = image_size(data)
    piece = centred(width, height, target.aspect)
    whole = (piece.width, piece.height) == (width, height)
    if whole and target.size is None:
        return View(row.image_id, row.image_id)
    _check_large_enough(piece, target)
    if target.size is None:
        pixels = piece.cut(decode(data))
    else:
        decoded = decode(data, short_side=FINER * math.ceil(min(width, height) * target.size[0] / piece.width))
        pixels = _shrunk(decoded, piece, decoded.shape[1] / width, decoded.shape[0] / height, target.size)
    name = None if whole else f"crop={piece.width}x{piece.height}+{piece.left}+{piece.top}"
    return View(row.image_id, row.image_id, encode_jpeg(pixels, target.quality), name, None, row.heading)


def _panorama(row: Source, data: bytes, target: Target) -> Iterator[View]:
    if row.projection == "equirectangular":
        pictures = _sphere(decode(data), target)
    else:
        pictures = _strip(decode(data), row, target)
    for name, direction, pixels in pictures:
        yield View(
            row.image_id,
            f"{row.image_id}#{name}",
            encode_jpeg(pixels, target.quality),
            name,
            row.image_id,
            None if row.heading is None else (row.heading + direction) % 360,
        )


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
    pieces = strip_pieces(width, height, pictures, target.aspect, target.directions)
    for number, piece in enumerate(pieces, 1):
        _check_large_enough(piece, target)
        view = piece.cut(pixels)
        if target.size:
            view = _shrunk(view, Piece(0, 0, piece.width, piece.height), 1, 1, target.size)
        direction = piece.direction(width)
        if piece in everything:
            name = f"{everything.index(piece) + 1}/{len(everything)}"
        else:
            name = f"heading={target.directions[number - 1] % 360:g}"
        yield name, direction, view


def all_round(fov: float) -> tuple[float, ...]:
    """As many directions as views fit without overlap, evenly round; the first looks ahead."""
    count = max(1, int(360 / fov + 1e-6))
    return tuple(360 * number / count for number in range(count))


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
