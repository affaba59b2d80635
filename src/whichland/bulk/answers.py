"""Photos to answers, a batch at a time: fetched, decoded and cut into views by threads while the model runs."""

import base64
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image

from whichland.bulk.config import PredictConfig
from whichland.images.containers import ImageError
from whichland.images.decode import encode_jpeg
from whichland.images.photo import Fetch, open_photo
from whichland.model.answer import Answer
from whichland.model.model import Model
from whichland.model.views import DECODE_THREADS, PhotoViews, cut_views, made_ahead

THUMBNAIL = (72, 54)  # pixels, width and height at most
QUALITY = 70

Place = tuple[float, float]  # latitude, longitude in degrees


class Seen(NamedTuple):
    """What a thread made of one photo."""

    views: PhotoViews | ImageError
    place: Place | None = None  # that its EXIF states
    thumbnail: str | None = None  # JPEG in base64


Answered = tuple[Answer, Seen]


def answers(
    model: Model, photos: Sequence[str], config: PredictConfig, *, addresses: bool, thumbnails: int = 0
) -> Iterator[list[Answered]]:
    """Yield the answers to `photos` in order, in lists of the batch size.

    `addresses` says whether any is to be fetched from the web; of the first `thumbnails` a small picture is kept.
    """
    pictured = frozenset(photos[:thumbnails])
    threads = max(DECODE_THREADS, config.fetch_at_once) if addresses else DECODE_THREADS
    with ExitStack() as stack:
        fetch = None
        if addresses:
            from whichland.images.fetch import Fetcher

            bounds = {"most_bytes": config.fetch_bytes, "at_once": config.fetch_at_once}
            fetcher = Fetcher(allow_local=config.allow_local, seconds=config.fetch_seconds, **bounds)
            fetch = stack.enter_context(closing(fetcher)).fetch
        look = partial(_look, model, config, fetch, pictured)
        batches = stack.enter_context(closing(made_ahead(photos, look, config.batch_size, threads=threads)))
        if addresses:
            stack.callback(fetcher.stop)  # before the threads are waited for
        for paths, seen in batches:
            found = model.answers(paths, [one.views for one in seen], config.batch_size, among=config.among)
            yield list(zip(found, seen, strict=True))


def _look(model: Model, config: PredictConfig, fetch: Fetch | None, pictured: frozenset[str], path: str) -> Seen:
    try:
        photo = open_photo(path, fetch)
        views = cut_views(photo, model.preprocess, views=config.views, panorama=config.panorama)
    except ImageError as error:
        return Seen(error)
    place = thumbnail = None
    if config.check_exif:
        from whichland.sources.exif import stated_place

        place = stated_place(photo.data)
    if path in pictured:
        picture = Image.fromarray(views.crops[len(views.crops) // 2])
        picture.thumbnail(THUMBNAIL)
        thumbnail = base64.b64encode(encode_jpeg(np.asarray(picture), QUALITY)).decode("ascii")
    return Seen(views, place, thumbnail)
