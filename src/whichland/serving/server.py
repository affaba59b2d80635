"""Serving a bundle over HTTP until it is stopped: the process, or several, around the application.

    whichland.serve("runs/demo/run/bundle", ServeConfig(port=8000))

When it is stopped (SIGTERM, Ctrl-C), it takes no new connections, answers what is under way, and ends.

Several processes answer at one address, each started anew when it dies. uvicorn's own manager asks its workers in
turn whether they are well, and when one is killed while it is asked, waits half a minute for the answer first.
"""

import logging
import logging.config
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing import allow_connection_pickling, get_context
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn
from fastapi import FastAPI
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE

from whichland.allocator import keep_freed_memory
from whichland.errors import UserError
from whichland.serving.app import create_app
from whichland.serving.metrics import FOLDER
from whichland.serving.service import open_service
from whichland.serving.settings import ServeConfig
from whichland.serving.timeouts import TimedProtocol
from whichland.workers import watch_parent, without_main

BACKLOG = 2048  # connections that wait to be taken
KEPT_OPEN_S = 15  # for the next request of a client
CONNECTIONS = 8192  # open files to ask for: the usual 1,024 are soon used up


def serve(bundle: str | Path, settings: ServeConfig | None = None) -> None:
    """Serve a bundle until the process is stopped.

    Raises UserError when the bundle cannot be opened or the address is taken.
    """
    settings = settings or ServeConfig()
    raise_file_limit(CONNECTIONS)
    with listen(settings.host, settings.port) as listener:
        if settings.workers == 1:
            service = open_service(bundle, settings)
            what = f"{service.model.name} ({service.model.engine})"
            _run_one(create_app(service), settings, listener, partial(_announce, listener, what))
            return
        if settings.threads is None:
            settings = replace(settings, threads=max(1, (os.cpu_count() or 1) // settings.workers))
        logging.config.dictConfig(LOGGING)
        ready = get_context("spawn").Event()
        work_there = partial(work, Path(bundle), settings, listener, ready)
        announce = partial(_announce, listener, f"{settings.workers} workers")
        with TemporaryDirectory(prefix="whichland-metrics-") as counted:
            os.environ[FOLDER] = counted  # of the workers
            try:
                run_workers(settings.workers, work_there, ready, announce, partial(mark_process_dead, path=counted))
            finally:
                del os.environ[FOLDER]


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound, so that nothing is loaded for an address that is taken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)  # asyncio sends at once on TCP alone, else 40 ms later
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise UserError(
            f"{host}:{port} cannot be listened on ({error.strerror}); choose another --port or --host"
        ) from None
    return listener


def raise_file_limit(wanted: int) -> None:
    """Let the process have as many open connections as the system allows it, up to `wanted`."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def work(bundle: Path, settings: ServeConfig, listener: socket.socket, ready: Event) -> None:
    """What one of several workers does; one that cannot open the bundle ends with uvicorn's code for that."""
    watch_parent(partial(_end, settings.stop_seconds))
    try:
        app = create_app(open_service(bundle, settings))
    except UserError as error:
        print(f"whichland: {error}", file=sys.stderr)
        sys.exit(STARTUP_FAILURE)
    signal.signal(signal.SIGINT, lambda *_: None)  # as for SIGTERM, see _run_one
    _run_one(app, settings, listener, ready.set)


def _end(seconds: float) -> None:
    """End this process: what is under way may be finished within so many seconds."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(seconds + 1)
    os._exit(1)


def _run_one(app: FastAPI, settings: ServeConfig, listener: socket.socket, on_start: Callable[[], object]) -> None:
    keep_freed_memory()
    # uvicorn raises the signal that stopped it once more when all is done; an orderly end is no failure
    signal.signal(signal.SIGTERM, lambda *_: None)
    listener.listen(BACKLOG)  # from here on connections are taken, and are answered once the loop runs
    on_start()
    uvicorn.Server(uvicorn_config(app, settings)).run(sockets=[listener])


def uvicorn_config(app: FastAPI, settings: ServeConfig) -> uvicorn.Config:
    """How uvicorn runs the application."""
    return uvicorn.Config(
        app,
        http=TimedProtocol,
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=LOGGING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEPT_OPEN_S,
        timeout_graceful_shutdown=round(settings.stop_seconds),
    )


LOGGING: dict[str, Any] = {  # lines on stderr; of uvicorn's own only warnings
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {
        "whichland": {"level": "INFO", "handlers": ["stderr"], "propagate": False},
        "uvicorn": {"level": "WARNING", "handlers": ["stderr"], "propagate": False},
    },
}


def _announce(listener: socket.socket, what: str) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"whichland: {what} on http://{shown}:{port}; Ctrl-C stops", file=sys.stderr, flush=True)


LOG = logging.getLogger("whichland.workers")
LOOK_S = 0.5  # at most until a signal is noticed
SHORT_LIFE_S = 5.0  # one that lived no longer is not replaced before so much time has passed


def run_workers(
    count: int,
    work: Callable[[], None],
    ready: Event,
    on_start: Callable[[], object],
    on_death: Callable[[int], object] = lambda pid: None,
) -> None:
    """Keep `count` processes at `work` until SIGTERM or Ctrl-C, then let them finish; `work` must be picklable.

    `on_start` is called once the first of them has set `ready`, `on_death` with the number of each that died.
    Raises UserError when one ends with uvicorn's exit
    code for a start that failed, as others would.
    """
    allow_connection_pickling()  # the socket goes along
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: signals.append(number))
    workers = [_start(work) for _ in range(count)]
    failed = announced = False
    while not (signals or failed):
        wait([worker.sentinel for worker, _ in workers], LOOK_S)
        if ready.is_set() and not announced:
            announced = True
            on_start()
        for at, (worker, started) in enumerate(workers):
            if signals or worker.is_alive():
                continue
            if worker.exitcode == STARTUP_FAILURE:
                failed = True
                break
            on_death(worker.pid or 0)
            LOG.warning("a worker ended (exit code %s); another one takes its place", worker.exitcode)
            time.sleep(max(0.0, SHORT_LIFE_S - (time.monotonic() - started)) if not signals else 0)
            workers[at] = _start(work)
    for worker, _ in workers:
        worker.terminate()
    for worker, _ in workers:
        worker.join()
    if failed:
        raise UserError("no worker could be started; the reason stands above")


def _start(work: Callable[[], None]) -> tuple[SpawnProcess, float]:
    worker = get_context("spawn").Process(target=work)
    with without_main():
        worker.start()
    return worker, time.monotonic()
