"""Photos to answers, a batch at a time: fetched, decoded and cut into views by threads while the model runs."""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whichland.bulk.config import PredictConfig
from whichland.bulk.inputs import is_address
from whichland.images.decode import ImageError, read_bytes
from whichland.images.preprocess import Pixels
from whichland.model.batches import DECODE_THREADS, made_ahead
from whichland.model.runner import Probabilities, Runner
from whichland.model.views import crops_of, probabilities_of

if TYPE_CHECKING:
    from whichland.bulk.exif import Place
    from whichland.bulk.fetch import Fetcher

THUMBNAIL = (72, 54)  # pixels, width and height at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is known of one photo once the model has seen it."""

    path: str
    probabilities: Probabilities | None = None  # None: it could not be read
    error: str | None = None
    views: int = 0
    place: "Place | None" = None  # that its EXIF states
    thumbnail: str | None = None  # JPEG in base64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What a thread made of one photo."""

    crops: list[Pixels]
    place: "Place | None"
    thumbnail: str | None


def answers(
    runner: Runner, photos: Sequence[str], config: PredictConfig, *, addresses: bool, thumbnails: int = 0
) -> Iterator[list[Answer]]:
    """Yield the answers to `photos` in order, in lists of the batch size.

    `addresses` says whether any is to be fetched from the web; of the first `thumbnails` a small picture is kept.
    """
    pictured = frozenset(photos[:thumbnails])
    with ExitStack() as open_things:
        fetcher = _fetcher(config, open_things) if addresses else None

        def see(photo: str) -> _Seen | ImageError:
            try:
                data = fetcher.fetch(photo) if fetcher and is_address(photo) else read_bytes(photo)
                crops = crops_of(data, runner.preprocess, views=config.views, panorama=config.panorama)
            except ImageError as error:
                return error
            thumbnail = _thumbnail(crops[len(crops) // 2]) if photo in pictured else None
            return _Seen(crops=crops, place=_place(data) if config.check_exif else None, thumbnail=thumbnail)

        threads = max(DECODE_THREADS, config.fetch_at_once) if addresses else DECODE_THREADS
        batches = open_things.enter_context(closing(made_ahead(photos, see, config.batch_size, threads=threads)))
        if fetcher:
            open_things.callback(fetcher.stop)  # before the threads are waited for
        for names, seen in batches:
            yield _answered(runner, names, seen, config.batch_size)


def _answered(runner: Runner, names: Sequence[str], seen: Sequence[_Seen | ImageError], most: int) -> list[Answer]:
    """Put what could be read through the model; errors keep their places."""
    read = [one for one in seen if isinstance(one, _Seen)]
    probabilities = iter(probabilities_of(runner, [one.crops for one in read], most))
    return [
        Answer(path=name, error=_reason(name, one))
        if isinstance(one, ImageError)
        else Answer(
            path=name, probabilities=next(probabilities), views=len(one.crops), place=one.place, thumbnail=one.thumbnail
        )
        for name, one in zip(names, seen, strict=True)
    ]


def _reason(name: str, error: ImageError) -> str:
    return str(error).removeprefix(f"{name}: ")


def _place(data: bytes) -> "Place | None":
    from whichland.bulk.exif import stated_place

    return stated_place(data)


def _fetcher(config: PredictConfig, open_things: ExitStack) -> "Fetcher":
    from whichland.bulk.fetch import Fetcher

    return open_things.enter_context(closing(Fetcher(config)))


def _thumbnail(crop: Pixels) -> str:
    from PIL import Image

    picture, file = Image.fromarray(crop), io.BytesIO()
    picture.thumbnail(THUMBNAIL)
    picture.save(file, "JPEG", quality=70)
    return base64.b64encode(file.getvalue()).decode("ascii")
