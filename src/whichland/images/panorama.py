"""Panoramas to views: what a camera of ordinary angle would have seen from the same spot.

Two kinds of panorama are known. An *equirectangular* image holds the whole sphere, longitude along the width
and latitude along the height; a view of it is resampled by the gnomonic projection, in which straight lines
stay straight. A *strip* holds pictures side by side that together go all the way round; it is cut, not
resampled, each picture at its own edges, so that no seam lies inside a view. A strip of one picture is a band
without seams, which may be cut anywhere, across its two ends, too.

Directions are degrees clockwise from the middle of the panorama; `pitch` is degrees upwards.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from whichland.images.decode import Pixels

Floats = npt.NDArray[np.float32]

BAND = 1 << 20  # pixels of a view that are resampled at once; the largest views would take gigabytes
SHAPE = 0.01  # how far from twice as wide as high a sphere may be
OVERSAMPLED = 2  # a view is computed at twice its size and averaged, so that fine texture does not flicker


@dataclass(frozen=True)
class Piece:
    """A part of a picture, in pixels; `left` may lie beyond the edges of a band, which goes all the way round."""

    left: int
    top: int
    width: int
    height: int

    def cut(self, pixels_HWC: Pixels) -> Pixels:
        """Return these pixels; columns beyond an edge come from the other end."""
        rows = pixels_HWC[self.top : self.top + self.height]
        if self.left >= 0 and self.left + self.width <= pixels_HWC.shape[1]:
            return rows[:, self.left : self.left + self.width]
        return np.take(rows, range(self.left, self.left + self.width), axis=1, mode="wrap")

    def direction(self, panorama_width: int) -> float:
        """Where the middle of the piece looks, degrees right of the middle of its panorama."""
        return ((self.left + self.width / 2) / panorama_width - 0.5) * 360


def centred(width: int, height: int, aspect: float | None, *, left: int = 0) -> Piece:
    """The largest part of `aspect` (width over height), in the middle of a picture that begins at column `left`.

    A picture that is too wide loses as much on the left as on the right, one that is too tall as much at the
    top as at the bottom. Nothing is stretched and nothing filled in.
    """
    if aspect is None:
        return Piece(left, 0, width, height)
    cut_width, cut_height = min(width, round(height * aspect)), min(height, round(width / aspect))
    cut_width, cut_height = max(cut_width, 1), max(cut_height, 1)
    return Piece(left + (width - cut_width) // 2, (height - cut_height) // 2, cut_width, cut_height)


def pictures_in(width: int, height: int) -> int | None:
    """How many square pictures a strip of this size holds; None when it is not a whole number of them."""
    pictures = round(width / height)
    return pictures if pictures > 1 and abs(width / height - pictures) < 0.01 * pictures else None


def strip_pieces(
    width: int, height: int, pictures: int, aspect: float | None, directions: tuple[float, ...] = ()
) -> list[Piece]:
    """Cut a strip of `pictures` pictures side by side into pieces of `aspect`, in order from the left.

    Without `directions` each picture gives as many pieces as fit side by side (at least one), spread evenly.
    With them, a band (one picture) is cut around each direction, and of several pictures those are taken
    whose middles lie nearest, each once.
    """
    if pictures == 1 and directions:
        piece = centred(width, height, aspect)
        middles = [round((direction / 360 + 0.5) * width) for direction in directions]
        return [Piece(middle % width - piece.width // 2, piece.top, piece.width, piece.height) for middle in middles]
    edges = [round(width * number / pictures) for number in range(pictures + 1)]
    chosen = list(range(pictures))
    if directions:
        turns = [math.floor((direction / 360 + 0.5) % 1 * pictures) for direction in directions]
        chosen = list(dict.fromkeys(turns))
    return [piece for number in chosen for piece in _side_by_side(edges[number], edges[number + 1], height, aspect)]


def _side_by_side(left: int, right: int, height: int, aspect: float | None) -> list[Piece]:
    """As many pieces as fit into one picture of a strip, with even gaps."""
    width = right - left
    count = 1 if aspect is None else max(1, int(width / (height * aspect) + 1e-6))
    edges = [left + round(width * number / count) for number in range(count + 1)]
    return [centred(edges[number + 1] - edges[number], height, aspect, left=edges[number]) for number in range(count)]


def all_round(fov: float) -> tuple[float, ...]:
    """As many directions as views fit without overlap, evenly round; the first looks ahead."""
    count = max(1, int(360 / fov + 1e-6))
    return tuple(360 * number / count for number in range(count))


def native_width(panorama_width: float, fov: float) -> float:
    """The width, in pixels, at which a view's middle has as many pixels a degree as the panorama.

    A camera of focal length f pixels has f pixels a radian in its middle, a panorama of width W has W / 2π
    everywhere, and a view is 2 f tan(fov / 2) wide. Larger than this, a view holds nothing more.
    """
    return panorama_width / math.pi * math.tan(math.radians(fov) / 2)


def sphere_views(
    pixels_HWC: Pixels, directions: tuple[float, ...], *, fov: float, pitch: float, size: tuple[int, int]
) -> list[Pixels]:
    """Take views of an equirectangular image, each `size` (width, height), `fov` degrees wide.

    Where the panorama is finer than needed it is shrunk first (once for all views), so that no view picks
    single pixels out of many.
    """
    fine = OVERSAMPLED * size[0], OVERSAMPLED * size[1]
    scale = fine[0] / native_width(pixels_HWC.shape[1], fov)
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in pixels_HWC.shape[:2])
        pixels_HWC = np.asarray(Image.fromarray(pixels_HWC).resize((width, height), Image.Resampling.LANCZOS))
    return [
        np.asarray(
            Image.fromarray(sphere_view(pixels_HWC, direction, fov=fov, pitch=pitch, size=fine)).reduce(OVERSAMPLED)
        )
        for direction in directions
    ]


def sphere_view(pixels_HWC: Pixels, direction: float, *, fov: float, pitch: float, size: tuple[int, int]) -> Pixels:
    """Resample one view by the gnomonic projection, bilinear between the four nearest pixels.

    `fov` is the horizontal angle in degrees; the vertical one follows from `size` (width, height), as pixels
    are square. Columns wrap at the seam; above the first and below the last row their values are kept.
    """
    height, width = pixels_HWC.shape[:2]
    rows = max(1, BAND // size[0])
    view = np.empty((size[1], size[0], 3), dtype=np.uint8)
    for start in range(0, size[1], rows):
        band = view[start : start + rows]
        column_HW, row_HW = _lookup(width, height, fov, pitch, size, (start, start + len(band)))
        column_HW = (column_HW + np.float32(direction / 360 * width)) % np.float32(width)
        left, upper = np.floor(column_HW).astype(np.int32), np.floor(row_HW).astype(np.int32)
        right, lower = (left + 1) % width, np.minimum(upper + 1, height - 1)
        left %= width  # float32 may round up to the width itself
        across, down = (column_HW - np.floor(column_HW))[..., None], (row_HW - upper)[..., None]
        above = pixels_HWC[upper, left] * (1 - across) + pixels_HWC[upper, right] * across
        below = pixels_HWC[lower, left] * (1 - across) + pixels_HWC[lower, right] * across
        band[:] = above * (1 - down) + below * down + np.float32(0.5)
    return view


@lru_cache(maxsize=8)  # bands: 64 MB, all of a view up to 2048×2048
def _lookup(
    width: int, height: int, fov: float, pitch: float, size: tuple[int, int], rows: tuple[int, int]
) -> tuple[Floats, Floats]:
    """Column and row of the panorama (W×H pixels) that each pixel of a view in direction 0 shows, as indices.

    Of the view's `rows` from the first to before the second alone.

    A pixel's ray is (x, y, 1) with x right and y down, turned up by `pitch`; its longitude and latitude are
    where it meets the sphere. Source: Snyder, Map Projections, 1987, gnomonic projection (section 22), inverse.
    """
    view_width, view_height = size
    focal = view_width / 2 / math.tan(math.radians(fov) / 2)
    x = ((np.arange(view_width) + 0.5 - view_width / 2) / focal)[None, :]
    y = ((np.arange(*rows) + 0.5 - view_height / 2) / focal)[:, None]
    cos, sin = math.cos(math.radians(pitch)), math.sin(math.radians(pitch))
    down, ahead = y * cos - sin, y * sin + cos
    longitude = np.arctan2(x, ahead)
    latitude = np.arctan2(-down, np.hypot(x, ahead))
    column = (longitude / (2 * math.pi) + 0.5) * width - 0.5
    row = np.clip((0.5 - latitude / math.pi) * height - 0.5, 0, height - 1)
    return column.astype(np.float32), row.astype(np.float32)


_GPANO = re.compile(rb"GPano:(\w+)\s*(?:=\s*[\"']|>)\s*([\w.+-]+)")


def sphere_rows(xmp: bytes, size: Callable[[], tuple[int, int]]) -> tuple[float, float] | None:
    """Which part of a sphere's height a photo shows, as shares from the top; None when its file states no sphere.

    Read from Photo Sphere XMP (GPano:ProjectionType) in `xmp`; `size` gives the photo's width and height where that
    does not. Cameras leave out the rows at the poles that they did not see. What does not go all the way round is no
    sphere.
    """
    stated = dict(_GPANO.findall(xmp)) if b"GPano:" in xmp else {}
    if stated.get(b"ProjectionType", b"").lower() != b"equirectangular":
        return None
    names = ("FullPanoWidth", "FullPanoHeight", "CroppedAreaImageWidth", "CroppedAreaImageHeight", "CroppedAreaTop")
    texts = (stated.get(f"{name}Pixels".encode(), b"") for name in names)
    # of pixels; 0 where it is not stated or no number
    width, height, shown_width, shown_height, top = (float(t) if re.fullmatch(rb"\d{1,6}", t) else 0.0 for t in texts)
    if not (width and height and shown_width and shown_height):
        width, height = shown_width, shown_height = size()
    round_it = math.isclose(width, shown_width, rel_tol=SHAPE)
    if not round_it or not math.isclose(width, 2 * height, rel_tol=SHAPE) or top + shown_height > 1.01 * height:
        return None
    return top / height, min(1.0, (top + shown_height) / height)
