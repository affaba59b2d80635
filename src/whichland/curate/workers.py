"""Map a function over batches in parallel, in order, surviving a worker that is killed: processes here, or Ray."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from whichland.errors import UserError

Batch = TypeVar("Batch")
Result = TypeVar("Result")

AHEAD = 4  # batches under way for each process: enough to keep it busy, few enough to hold in memory


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_batches(
    function: Callable[[Batch], Result],
    batches: Sequence[Batch],
    *,
    workers: int | None = None,
    ray: str | None = None,
    alone: bool = False,
) -> Iterator[Result | None]:
    """Yield `function(batch)` for each batch in order; None for a batch that kills its worker.

    `workers` is the number of processes (default: one a core; 1: none but this one, where nothing can be
    survived). With `ray`, the address of a Ray cluster or "auto", the batches go to its workers instead. `alone`
    is for suspects: each runs in a process of its own, once. `function` must be importable by its name.
    """
    if ray is not None:
        from whichland.curate.ray_cluster import map_on_ray

        return map_on_ray(function, batches, address=ray, retries=0 if alone else 2)
    workers = min(workers or cores(), len(batches))
    if alone:
        return map_alone(function, batches)
    return map(function, batches) if workers <= 1 else map_in_processes(function, batches, workers=workers)


def map_in_processes(
    function: Callable[[Batch], Result], batches: Sequence[Batch], *, workers: int
) -> Iterator[Result | None]:
    """Yield `function(batch)` for each batch in order; None for a batch that kills its process.

    When a process dies (the kernel's out-of-memory killer, a crash in a C library) everything under way is lost
    with it. Those few batches are done again one at a time, so that only the deadly one is given up.
    """
    window = AHEAD * workers
    done = 0
    while done < len(batches):
        try:
            for result in _pooled(function, batches[done:], workers, window):
                done += 1
                yield result
        except BrokenProcessPool:
            if not done:
                _check_that_processes_start()
            suspects = batches[done : done + window]
            done += len(suspects)
            yield from map_alone(function, suspects)


def map_alone(function: Callable[[Batch], Result], batches: Sequence[Batch]) -> Iterator[Result | None]:
    """Yield `function(batch)` with one batch under way at a time; None for one that kills its process."""
    pool = _pool(1)
    try:
        for batch in batches:
            try:
                result = pool.submit(function, batch).result()
            except BrokenProcessPool:
                pool = _pool(1)
                yield None
            else:
                yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _pooled(
    function: Callable[[Batch], Result], batches: Sequence[Batch], workers: int, window: int
) -> Iterator[Result]:
    pool, running = _pool(workers), deque[Future[Result]]()
    try:
        for batch in batches:
            running.append(pool.submit(function, batch))
            if len(running) == window:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _pool(workers: int) -> ProcessPoolExecutor:
    """Processes started fresh, not forked: forking one that has threads (Polars, BLAS) can hang."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_ctrl_c_to_the_parent)


def _check_that_processes_start() -> None:
    """Raise UserError where not even an empty process lives: no batch is to blame then."""
    pool = _pool(1)
    try:
        pool.submit(cores).result()
    except BrokenProcessPool:
        raise UserError(
            'no process can be started: put the calls of a script under `if __name__ == "__main__":`,'
            " or work with workers=1"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _leave_ctrl_c_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
