"""Photos of many requests through the model together: whatever waits when it is free makes the next batch.

Nothing waits for a batch to fill: a lone photo goes at once, and under load the batches grow by themselves.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from time import perf_counter
from typing import Generic, TypeVar

import numpy as np

from whichland.images.preprocess import Pixels

T = TypeVar("T")


class Batcher(Generic[T]):
    """One thread that owns the model, and the crops that wait for it; `T` is what it makes of each."""

    def __init__(
        self,
        judge: Callable[[Pixels], Iterable[T]],
        *,
        batch: int,
        on_batch: Callable[[int, float], None] = lambda photos, seconds: None,
    ) -> None:
        """`judge` takes crops B×H×W×3 and gives B results; `on_batch` gets each batch's size and seconds."""
        self._judge, self._batch, self._on_batch = judge, batch, on_batch
        self._waiting: queue.SimpleQueue[tuple[Pixels, Future[T]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    async def judged(self, crop_HWC: Pixels) -> T:
        """What the model makes of one crop."""
        found: Future[T] = Future()
        self._waiting.put((crop_HWC, found))
        return await asyncio.wrap_future(found)

    def close(self) -> None:
        """Answer what waits, then stop."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        more = True
        while more:
            batch = [self._waiting.get()]
            while batch[-1] is not None and len(batch) < self._batch and not self._waiting.empty():
                batch.append(self._waiting.get())
            more = batch[-1] is not None
            self._answer([one for one in batch if one is not None and one[1].set_running_or_notify_cancel()])

    def _answer(self, batch: list[tuple[Pixels, Future[T]]]) -> None:
        if not batch:
            return
        started = perf_counter()
        try:
            results = list(self._judge(np.stack([crop for crop, _ in batch])))
        except Exception as error:  # each request gets it, and the thread lives on for the next
            for _, found in batch:
                found.set_exception(error)
            return
        for (_, found), result in zip(batch, results, strict=True):
            found.set_result(result)
        self._on_batch(len(batch), perf_counter() - started)
