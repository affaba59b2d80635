"""Photos as crops in batches: decoded ahead by threads while the model is busy with earlier ones, in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TypeVar

from whichland.images.decode import ImageError, load
from whichland.images.preprocess import Pixels, Preprocess

DECODE_THREADS = 2
BATCHES_AHEAD = 3  # decoded crops that wait, in batches; with the model's own batch this bounds the memory

Made = TypeVar("Made")
Batch = tuple[list[str], list[Pixels | ImageError]]


def decoded_ahead(uris: Iterable[str], preprocess: Preprocess, batch_size: int) -> Generator[Batch, None, None]:
    """Yield batches of (uris, crops) in input order; an unreadable photo's crop is its error."""
    return made_ahead(uris, partial(_crop, preprocess), batch_size)


def made_ahead(
    uris: Iterable[str], make: Callable[[str], Made], batch_size: int, *, threads: int = DECODE_THREADS
) -> Generator[tuple[list[str], list[Made]], None, None]:
    """Yield batches of (uris, what `make` makes of each) in input order; threads make them.

    `uris` may be endless: no more than `BATCHES_AHEAD` + 1 batches are taken before their results are asked for.
    Closing the iterator stops the threads.
    """
    waiting: deque[tuple[list[str], list[Future[Made]]]] = deque()
    names_left = iter(uris)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    def submit() -> None:
        if names := list(islice(names_left, batch_size)):
            waiting.append((names, [pool.submit(make, name) for name in names]))

    try:
        for _ in range(BATCHES_AHEAD):
            submit()
        while waiting:
            names, futures = waiting.popleft()
            made = [future.result() for future in futures]
            submit()
            yield names, made
    finally:
        pool.shutdown(cancel_futures=True)


def _crop(preprocess: Preprocess, uri: str) -> Pixels | ImageError:
    try:
        return preprocess.crop(load(uri, short_side=preprocess.short_side))
    except ImageError as error:
        return error
