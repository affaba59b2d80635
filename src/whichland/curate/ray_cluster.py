"""Map a function over batches on a Ray cluster, in order.

The workers must have this package and see the photos under the same paths (a shared file system).
"""

import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from whichland.errors import UserError

Batch = TypeVar("Batch")
Result = TypeVar("Result")

AHEAD = 4  # batches under way for each core of the cluster


def map_on_ray(
    function: Callable[[Batch], Result], batches: Sequence[Batch], *, address: str, retries: int, gpu: bool = False
) -> Iterator[Result | None]:
    """Yield `function(batch)` for each batch in order; None for one whose worker dies and dies again.

    `address` is that of a cluster; "auto" takes the one this machine belongs to, or else starts Ray here for the
    time being. A batch whose worker was killed is given to another `retries` times, as the machine may be to
    blame and not the batch; every other batch is left alone. With `gpu` each batch has one of the cluster's GPUs
    to itself, where there are any.
    Raises UserError when Ray is missing or the cluster cannot be reached.
    """
    ray = _import_ray()
    started = not ray.is_initialized()
    if started:
        _connect(ray, address)
    try:
        resources = ray.cluster_resources()
        gpus = min(1, int(resources.get("GPU", 0))) if gpu else 0
        task = ray.remote(max_retries=retries, num_gpus=gpus)(function)
        window = AHEAD * max(1, int(resources.get("CPU", 1)))
        running: deque[Any] = deque()
        for batch in batches:
            running.append(task.remote(batch))
            if len(running) == window:
                yield _result(ray, running.popleft())
        while running:
            yield _result(ray, running.popleft())
    finally:
        if started:
            ray.shutdown()


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError):
        return None


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UserError("spreading work over Ray needs the extra 'ray': pip install 'whichland[ray]'") from None
    return ray


def _connect(ray: Any, address: str) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address != "auto":
        _check_reachable(address)
        ray.init(address=address, **quiet)
        return
    try:
        ray.init(address="auto", **quiet)
    except ConnectionError:
        ray.init(address="local", include_dashboard=False, **quiet)


def _check_reachable(address: str) -> None:
    """Raise UserError when nobody listens at `host:port` or `ray://host:port`; Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")  # an IPv6 address
    if not host or not port.isdecimal():
        raise UserError(f"--ray {address}: give auto, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise UserError(f"--ray {address}: no Ray cluster answers there ({error})") from None
