"""Map a function over batches in parallel, in order, surviving a worker that is killed: processes here, or Ray.

The workers of a Ray cluster must have this package and see the photos under the same paths (a shared file system).
"""

import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from multiprocessing.context import BaseContext
from types import ModuleType
from typing import Any, TypeVar

from whichland.errors import UserError
from whichland.printed import install

Batch = TypeVar("Batch")
Result = TypeVar("Result")

AHEAD = 4  # batches under way for each process: enough to keep it busy, few enough to hold in memory
FEW = 4  # batches that one process does sooner than others have started
WORKER_DIED = "the process reading it died (out of memory?)"


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_batches(
    function: Callable[[Batch], Result],
    batches: Iterable[Batch],
    *,
    workers: int | None = None,
    ray: str | None = None,
    alone: bool = False,
) -> Iterator[Result | None]:
    """Yield `function(batch)` for each batch in order; None for a batch that kills its worker.

    `workers` is the number of processes (default: one a core; 1: none but this one, where nothing can be survived; so
    are fewer than `FEW` batches done by default, and a single one always). With `ray`, the address of a Ray cluster or
    "auto", the batches go to its workers instead. `alone` is for suspects: each runs in a process of its own, once.
    `function` must be importable by its name, and not be the script's own.
    """
    if ray is not None:
        return map_on_ray(function, batches, address=ray, retries=0 if alone else 2)
    if alone:
        return map_in_processes(function, batches, workers=1, ahead=1)
    remaining = iter(batches)
    first = list(islice(remaining, FEW))
    enough = FEW if workers is None else 2
    workers = 1 if len(first) < enough else workers or cores()
    batches = chain(first, remaining)
    return map(function, batches) if workers == 1 else map_in_processes(function, batches, workers=workers)


def map_in_processes(
    function: Callable[[Batch], Result], batches: Iterable[Batch], *, workers: int, ahead: int = AHEAD
) -> Iterator[Result | None]:
    """Yield `function(batch)` for each batch in order; None for a batch that kills its process.

    When a process dies (the kernel's out-of-memory killer, a crash in a C library) everything under way is lost
    with it, `ahead` batches a process. Those few are done again one at a time, so that only the deadly one is given up.
    """
    remaining, under_way, proven = iter(batches), deque[Batch](), ahead == 1
    while True:
        pool, running = _pool(workers), deque[Future[Result]]()
        try:
            while True:
                for batch in islice(remaining, ahead * workers - len(running)):
                    under_way.append(batch)
                    with without_main():
                        running.append(pool.submit(function, batch))
                if not running:
                    return
                result = running.popleft().result()
                under_way.popleft()
                proven = True
                yield result
        except BrokenProcessPool:
            # where not even an empty process lives no batch is to blame
            if not proven and next(map_in_processes(abs, [0], workers=1, ahead=1)) is None:
                raise UserError("no process can be started here; work with one (workers=1, --workers 1)") from None
            proven = True
            if len(under_way) == 1:
                yield None
            else:
                yield from map_in_processes(function, under_way, workers=1, ahead=1)
            under_way.clear()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=fresh(), initializer=_begin)


def fresh(*preload: str) -> BaseContext:
    """Processes started fresh, not forked: forking one that has threads (Polars, BLAS) can hang.

    `preload` names modules that they share where the system can do that (Linux, macOS).
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    if preload:
        context.set_forkserver_preload(list(preload))
    return context


@contextmanager
def without_main() -> Iterator[None]:
    """Within, a process that is started does not run the caller's script anew.

    Python imports the script in each fresh process, in case it defines what the process works with. Ours need
    nothing of it, and a script without `if __name__ == "__main__":` would begin its work once more in each.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _begin() -> None:
    """Leave Ctrl-C to the parent, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch_parent(partial(os._exit, 1))


def watch_parent(end: Callable[[], object]) -> None:
    """Call `end`, in a thread of its own, when the process that started this one has ended, however it ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        end()

    threading.Thread(target=watch, daemon=True).start()


def map_on_ray(
    function: Callable[[Batch], Result], batches: Iterable[Batch], *, address: str, retries: int, gpu: bool = False
) -> Iterator[Result | None]:
    """Yield `function(batch)` for each batch in order; None for one whose worker dies and dies again.

    `address` is that of a cluster; "auto" takes the one this machine belongs to, or else starts Ray here for the
    time being. A batch whose worker was killed is given to another `retries` times, as the machine may be to
    blame and not the batch; every other batch is left alone. With `gpu` each batch has one of the cluster's GPUs
    to itself, where there are any.
    Raises UserError when Ray is missing or the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray as untyped
    except ImportError:
        raise UserError(f"spreading work over Ray needs the extra 'ray': {install('ray')}") from None
    ray: Any = untyped
    lost = ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError
    started = not ray.is_initialized()
    if started:
        _connect(ray, address)
    try:
        resources = ray.cluster_resources()
        gpus = min(1, int(resources.get("GPU", 0))) if gpu else 0
        task = ray.remote(max_retries=retries, num_gpus=gpus)(function)
        window = AHEAD * max(1, int(resources.get("CPU", 1)))
        remaining, running = iter(batches), deque[Any]()
        while True:
            running.extend(task.remote(batch) for batch in islice(remaining, window - len(running)))
            if not running:
                return
            try:
                result = ray.get(running.popleft())
            except lost:
                result = None
            yield result
    finally:
        if started:
            ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    """Connect, or raise UserError when nothing listens at `host:port` or `ray://host:port`: Ray tries for minutes."""
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "auto":
        try:
            ray.init(address="auto", **quiet)
        except ConnectionError:
            ray.init(address="local", include_dashboard=False, **quiet)
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")  # an IPv6 address
    if not host or not port.isdecimal():
        raise UserError(f"--ray {address}: give auto, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise UserError(f"--ray {address}: no Ray cluster answers there ({error})") from None
    ray.init(address=address, **quiet)
