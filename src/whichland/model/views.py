"""What a model sees of a photo: one crop, or several views of a wide photo or a sphere; and photos read ahead.

A model sees a picture of one shape. Of a photo more than `WIDE` times as wide as that it would miss half, so the
photo is cut into as many pieces of that shape as fit side by side. A whole sphere (its file says so: Photo Sphere
XMP, GPano:ProjectionType) becomes views of 90° all round, as `whichland data merge` cuts them.

The probabilities of the views are combined by the mean of their logarithms: docs/decisions/views.md says what
that does to how far probabilities can be trusted.
"""

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from whichland.images.containers import ImageError
from whichland.images.panorama import SHAPE, Piece, all_round, native_width, sphere_rows, sphere_views, strip_pieces
from whichland.images.photo import OpenPhoto, PhotoLike, open_photo
from whichland.images.preprocess import Pixels, Preprocess
from whichland.model.calibration import NOTHING, log_softmax
from whichland.progress import Progress

Given = TypeVar("Given")
Made = TypeVar("Made")
HowMany = Literal["auto", "one"]
Box = tuple[float, float, float, float]  # left, top, right, bottom

WIDE = 2.0  # times the shape of what the model sees
MOST_VIEWS = 12  # of one photo, however wide it is
FOV = 90.0  # degrees across a view of a sphere
DECODE_THREADS = 2
BATCHES_AHEAD = 3  # decoded crops that wait, in batches; with the model's own batch this bounds the memory


@dataclass(frozen=True, kw_only=True)
class View:
    """One part of a photo that the model saw, and where it lies."""

    box: Box  # in the upright photo, as fractions of its width and height; of a view of a sphere what it covers
    # about, and where it reaches across the sphere's seam, right is above 1: it continues at the photo's left edge
    heading: float | None = None  # of a view of a sphere: degrees right of the photo's middle
    fov: float | None = None  # degrees across
    rows: tuple[float, float] = (0.0, 1.0)  # the part of the sphere's height that the photo shows, from the top


@dataclass(frozen=True, kw_only=True)
class PhotoViews:
    """A photo as the model is to see it."""

    width: int  # of the photo, upright, in pixels
    height: int
    views: tuple[View, ...]
    crops: tuple[Pixels, ...]  # one a view, of `Preprocess.size`


def cut_views(
    photo: OpenPhoto, preprocess: Preprocess, *, views: HowMany = "auto", panorama: bool = False
) -> PhotoViews:
    """Decode a photo and cut what the model is to see of it. Raises ImageError.

    With `views` "one", a wide photo and a sphere are a photo like any other, of which the middle is seen.
    `panorama` takes every photo that is twice as wide as high for a whole sphere, also where its file does not
    say so.
    """
    width, height = photo.size
    rows = sphere_rows(photo.xmp, lambda: photo.size) if views == "auto" else None
    if rows is None and views == "auto" and panorama and math.isclose(width, 2 * height, rel_tol=SHAPE):
        rows = 0.0, 1.0
    if rows is not None:
        found = _views_of_sphere(photo, preprocess, rows)
    else:
        found = _views_of_plane(photo, preprocess, several=views == "auto")
    return PhotoViews(width=width, height=height, views=found[0], crops=found[1])


Cut = tuple[tuple[View, ...], tuple[Pixels, ...]]


def _views_of_plane(photo: OpenPhoto, preprocess: Preprocess, *, several: bool) -> Cut:
    """The middle of a photo, or the pieces of a wide one; where they lie does not hang on how it is decoded."""
    width, height = photo.size
    pixels = photo.decode(preprocess.short_side)
    scale = 2 ** round(math.log2(max(width, height) / max(pixels.shape[:2])))  # at which a JPEG was decoded
    shape = preprocess.size[1] / preprocess.size[0]
    pieces = [Piece(0, 0, width, height)]
    if several and preprocess.crop_mode != "squash" and width > WIDE * shape * height:  # squashed, it is seen whole
        pieces = strip_pieces(width, height, 1, shape)
    views, crops = [], []
    for at in np.linspace(0, len(pieces) - 1, min(len(pieces), MOST_VIEWS)).round().astype(int):
        piece = pieces[at]
        left, top, right, bottom = preprocess.crop_box(piece.height, piece.width)
        box = piece.left + left, piece.top + top, piece.left + right, piece.top + bottom
        views.append(View(box=(box[0] / width, box[1] / height, box[2] / width, box[3] / height)))
        crops.append(preprocess.crop(pixels, (box[0] / scale, box[1] / scale, box[2] / scale, box[3] / scale)))
    return tuple(views), tuple(crops)


def combined(probs_NK: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """One answer from the probabilities of N views: the mean of their logarithms, scaled to probabilities again.

    K come out. A single view's probabilities stay as they are, to the last bit.
    """
    if len(probs_NK) == 1:
        alone: NDArray[np.float32] = probs_NK[0].astype(np.float32, copy=False)
        return alone
    sum_K = np.zeros(probs_NK.shape[1])
    for probs_K in probs_NK:
        sum_K += np.log(np.maximum(probs_K.astype(np.float64), NOTHING))
    together: NDArray[np.float32] = np.exp(log_softmax(sum_K[None] / len(probs_NK))).astype(np.float32)[0]
    return together


def _views_of_sphere(photo: OpenPhoto, preprocess: Preprocess, rows: tuple[float, float]) -> Cut:
    """Views all round of a photo that shows these `rows` of a sphere, as shares of its height from the top.

    Cameras leave out the rows at the poles that they did not see; their neighbours fill them.
    """
    wanted = [side / preprocess.crop_pct for side in preprocess.size[::-1]]  # width, height of a view
    needed = wanted[0] * math.pi / math.tan(math.radians(FOV) / 2)  # the sphere's width for that, see native_width
    # computed at twice that size, see sphere_views; the rows that are there are what can be decoded smaller
    pixels = photo.decode(math.ceil(needed * (rows[1] - rows[0])))
    full = pixels.shape[0] / (rows[1] - rows[0])
    if rows != (0.0, 1.0):
        pixels = np.pad(pixels, ((round(rows[0] * full), round((1 - rows[1]) * full)), (0, 0), (0, 0)), mode="edge")
    scale = min(1.0, native_width(pixels.shape[1], FOV) / wanted[0])
    size = max(1, round(wanted[0] * scale)), max(1, round(wanted[1] * scale))
    directions = all_round(FOV)
    crops = tuple(map(preprocess.crop, sphere_views(pixels, directions, fov=FOV, pitch=0.0, size=size)))
    left, top, right, bottom = preprocess.crop_box(size[1], size[0])
    across = math.tan(math.radians(FOV) / 2) / size[0]  # at a distance of 1, of one pixel
    fov, high = (2 * math.degrees(math.atan(across * side)) for side in (right - left, bottom - top))
    return tuple(_view_of_sphere(direction, fov, high, rows) for direction in directions), crops


def _view_of_sphere(heading: float, fov: float, high: float, rows: tuple[float, float]) -> View:
    """A view of a sphere, `fov` degrees wide and `high` degrees high, and what of the photo it covers."""
    left = (0.5 + (heading - fov / 2) / 360) % 1
    top, bottom = ((0.5 + side * high / 360 - rows[0]) / (rows[1] - rows[0]) for side in (-1, 1))
    box = (left, max(0.0, top), left + fov / 360, min(1.0, bottom))
    return View(box=box, heading=heading, fov=fov, rows=rows)


def look_at(photo: PhotoLike, cut: Callable[[OpenPhoto], PhotoViews]) -> PhotoViews | ImageError:
    """The views of one of several photos, or why it cannot be read, so that the others are answered all the same."""
    try:
        return cut(open_photo(photo))
    except ImageError as error:
        return error


def middle_of(photo: PhotoLike, preprocess: Preprocess) -> Pixels:
    """The crop of a photo's middle as the model sees it at test time. Raises ImageError."""
    return cut_views(open_photo(photo), preprocess, views="one").crops[0]


def middles_ahead(
    uris: Sequence[str], preprocess: Preprocess, batch_size: int, what: str
) -> Generator[tuple[list[int], Pixels], None, None]:
    """Yield, in batches, the numbers of the photos that can be read and the crops of their middles, B×H×W×3.

    They are decoded ahead, and a bar shows progress at `what`.
    """

    def crop(uri: str) -> Pixels | None:
        try:
            return middle_of(uri, preprocess)
        except ImageError:
            return None

    done = 0
    with closing(made_ahead(uris, crop, batch_size)) as batches, Progress(what, len(uris)) as progress:
        for some, crops in batches:
            if readable := {done + at: crop for at, crop in enumerate(crops) if crop is not None}:
                yield list(readable), np.stack(list(readable.values()))
            done += len(some)
            progress.advance(len(some))


def made_ahead(
    given: Iterable[Given], make: Callable[[Given], Made], batch_size: int, *, threads: int = DECODE_THREADS
) -> Generator[tuple[list[Given], list[Made]], None, None]:
    """Yield batches of (what is given, what `make` makes of each) in input order; threads make them.

    `given` may be endless: no more than `BATCHES_AHEAD` + 1 batches are taken before their results are asked for.
    Closing the iterator stops the threads.
    """
    waiting: deque[tuple[list[Given], list[Future[Made]]]] = deque()
    left = iter(given)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    def submit() -> None:
        if some := list(islice(left, batch_size)):
            waiting.append((some, [pool.submit(make, one) for one in some]))

    try:
        for _ in range(BATCHES_AHEAD):
            submit()
        while waiting:
            some, futures = waiting.popleft()
            made = [future.result() for future in futures]
            submit()
            yield some, made
    finally:
        pool.shutdown(cancel_futures=True)
