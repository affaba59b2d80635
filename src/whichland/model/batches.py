"""Photos as crops in batches: decoded ahead by threads while the model is busy with earlier ones, in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from whichland.images.containers import ImageError
from whichland.images.photo import open_photo
from whichland.images.preprocess import Pixels, Preprocess
from whichland.model.views import cut_views

DECODE_THREADS = 2
BATCHES_AHEAD = 3  # decoded crops that wait, in batches; with the model's own batch this bounds the memory

Given = TypeVar("Given")
Made = TypeVar("Made")
Batch = tuple[list[str], list[Pixels | ImageError]]


def decoded_ahead(uris: Iterable[str], preprocess: Preprocess, batch_size: int) -> Generator[Batch, None, None]:
    """Yield batches of (uris, crops of their middle) in input order; an unreadable photo's crop is its error."""

    def crop(uri: str) -> Pixels | ImageError:
        try:
            return cut_views(open_photo(uri), preprocess, views="one").crops[0]
        except ImageError as error:
            return error

    return made_ahead(uris, crop, batch_size)


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
