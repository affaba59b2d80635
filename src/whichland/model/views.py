"""What a model sees of a photo: one crop, or several views of a wide photo or a sphere.

A model sees a picture of one shape. Of a photo more than `WIDE` times as wide as that it would miss half, so the
photo is cut into as many pieces of that shape as fit side by side. A whole sphere (its file says so: Photo Sphere
XMP, GPano:ProjectionType) becomes views of 90° all round, as `whichland data merge` cuts them.

The probabilities of the views are combined by the mean of their logarithms: docs/decisions/views.md says what
that does to how far probabilities can be trusted.
"""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from whichland.curate.views import all_round
from whichland.images.decode import decode, image_size
from whichland.images.panorama import native_width, sphere_views, strip_pieces
from whichland.images.preprocess import Pixels, Preprocess
from whichland.model.calibration import NOTHING, log_softmax

if TYPE_CHECKING:
    from whichland.model.runner import Runner

Views = Literal["auto", "one"]

WIDE = 2.0  # times the shape of what the model sees
MOST_VIEWS = 12  # of one photo: a scroll of a hundred squares is not looked at square by square
FOV = 90.0  # degrees across a view of a sphere
SHAPE = 0.01  # how far from twice as wide as high a sphere may be

_HEAD = 1 << 18  # where a file's XMP stands, bytes
_GPANO = re.compile(rb"GPano:(\w+)\s*(?:=\s*[\"']|>)\s*([\w.+-]+)")


def crops_of(data: bytes, preprocess: Preprocess, *, views: Views = "auto", panorama: bool = False) -> list[Pixels]:
    """Decode a photo to what the model is to see of it: crops of `preprocess.size`, uint8, one a view.

    With `views` "one", a wide photo and a sphere are a photo like any other, of which the middle is seen.
    `panorama` takes every photo that is twice as wide as high for a whole sphere, also where its file does not
    say so. Raises ImageError.
    """
    if views == "auto":
        rows = _sphere_rows(data, panorama)
        if rows is not None:
            return _views_of_sphere(data, preprocess, rows)
    pixels = decode(data, short_side=preprocess.short_side)
    height, width = pixels.shape[:2]
    if views == "one" or preprocess.crop_mode == "squash":  # a squashed photo is seen whole
        return [preprocess.crop(pixels)]
    shape = preprocess.size[1] / preprocess.size[0]
    if width <= WIDE * shape * height:
        return [preprocess.crop(pixels)]
    pieces = strip_pieces(width, height, 1, shape)
    some = np.linspace(0, len(pieces) - 1, min(len(pieces), MOST_VIEWS)).round().astype(int)
    return [preprocess.crop(np.ascontiguousarray(pieces[at].cut(pixels))) for at in some]


def combined(probs_NK: NDArray[np.floating[Any]], photo_N: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """One answer a photo: the mean of the logarithms of its views' probabilities, scaled to probabilities again.

    `photo_N` numbers each view's photo, every number from 0 to P - 1 at least once; P×K comes out. A photo seen in
    a single view keeps its probabilities as they are, to the last bit.
    """
    count = int(photo_N.max()) + 1
    sum_PK = np.zeros((count, probs_NK.shape[1]))
    np.add.at(sum_PK, photo_N, np.log(np.maximum(probs_NK.astype(np.float64), NOTHING)))
    views_P = np.bincount(photo_N, minlength=count)
    probs_PK: NDArray[np.float32] = np.exp(log_softmax(sum_PK / views_P[:, None])).astype(np.float32)
    single_N = views_P[photo_N] == 1
    probs_PK[photo_N[single_N]] = probs_NK[single_N]
    return probs_PK


def probabilities_of(runner: "Runner", photos: Sequence[Sequence[Pixels]], most: int) -> NDArray[np.float32]:
    """Probabilities of photos from the crops of their views, P×K; at most `most` crops at once."""
    crops = [crop for own in photos for crop in own]
    if not crops:
        return np.zeros((0, len(runner.labels)), np.float32)
    parts = [runner.probabilities(np.stack(crops[at : at + most])) for at in range(0, len(crops), most)]
    return combined(np.concatenate(parts), np.repeat(np.arange(len(photos)), [len(own) for own in photos]))


def _sphere_rows(data: bytes, panorama: bool) -> tuple[float, float] | None:
    """Which part of a sphere's height the photo shows, as shares from the top; None when it is no sphere.

    Cameras leave out the rows at the poles that they did not see. What does not go all the way round is no sphere.
    """
    stated = dict(_GPANO.findall(data, 0, _HEAD)) if data.find(b"GPano:", 0, _HEAD) >= 0 else {}
    if stated.get(b"ProjectionType", b"").lower() == b"equirectangular":
        rows = _stated_rows(data, stated)
        if rows is not None:
            return rows
    if panorama:
        width, height = image_size(data)
        return (0.0, 1.0) if math.isclose(width, 2 * height, rel_tol=SHAPE) else None
    return None


def _stated_rows(data: bytes, stated: dict[bytes, bytes]) -> tuple[float, float] | None:
    """The same from what Photo Sphere XMP states of the whole sphere and of the part that is there."""
    names = (b"FullPanoWidthPixels", b"FullPanoHeightPixels", b"CroppedAreaImageWidthPixels",
             b"CroppedAreaImageHeightPixels")  # fmt: skip
    width, height, shown_width, shown_height = (_number(stated, name) for name in names)
    if not (width and height and shown_width and shown_height):
        width, height = shown_width, shown_height = image_size(data)
    top = _number(stated, b"CroppedAreaTopPixels")
    round_it = math.isclose(width, shown_width, rel_tol=SHAPE)
    if not round_it or not math.isclose(width, 2 * height, rel_tol=SHAPE) or top + shown_height > 1.01 * height:
        return None
    return top / height, min(1.0, (top + shown_height) / height)


def _number(stated: dict[bytes, bytes], name: bytes) -> float:
    """A number of pixels, 0 where it is not stated or none."""
    text = stated.get(name, b"")
    return float(text) if re.fullmatch(rb"\d{1,6}", text) else 0.0


def _views_of_sphere(data: bytes, preprocess: Preprocess, rows: tuple[float, float]) -> list[Pixels]:
    wanted = [side / preprocess.crop_pct for side in preprocess.size[::-1]]  # width, height of a view
    needed = wanted[0] * math.pi / math.tan(math.radians(FOV) / 2)  # the sphere's width for that, see native_width
    # computed at twice that size, see sphere_views; the rows that are there are what can be decoded smaller
    pixels = decode(data, short_side=math.ceil(needed * (rows[1] - rows[0])))
    pixels = _whole(pixels, rows)
    scale = min(1.0, native_width(pixels.shape[1], FOV) / wanted[0])
    size = max(1, round(wanted[0] * scale)), max(1, round(wanted[1] * scale))
    views = sphere_views(pixels, all_round(FOV), fov=FOV, pitch=0.0, size=size)
    return [preprocess.crop(view) for view in views]


def _whole(pixels: Pixels, rows: tuple[float, float]) -> Pixels:
    """The sphere with the rows that were left out at the poles filled by their neighbours."""
    top, bottom = rows
    height = pixels.shape[0] / (bottom - top)
    above, below = round(top * height), round((1 - bottom) * height)
    return np.pad(pixels, ((above, below), (0, 0), (0, 0)), mode="edge") if above or below else pixels
