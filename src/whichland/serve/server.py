"""Serving a bundle over HTTP until told to stop: the process, or several, around the application.

    whichland.serve("runs/demo/run/bundle", ServeConfig(port=8000))

Told to stop (SIGTERM, Ctrl-C), it takes no new connections, answers what is under way, and ends.
"""

import os
import signal
import socket
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from whichland.errors import UserError
from whichland.serve.app import create_app
from whichland.serve.patience import PatientProtocol
from whichland.serve.service import Service, open_service
from whichland.serve.settings import ServeConfig

BACKLOG = 2048  # connections that wait to be taken
KEPT_OPEN_S = 15  # for the next request of a client
WORKER_ANSWERS_S = 30  # a worker that is silent for so long is started anew
CONNECTIONS = 8192  # open files to ask for: the usual 1,024 are soon used up


def serve(bundle: str | Path, settings: ServeConfig | None = None) -> None:
    """Serve a bundle until the process is told to stop.

    Raises UserError when the bundle cannot be opened or the address is taken.
    """
    settings = settings or ServeConfig()
    raise_file_limit(CONNECTIONS)
    listener = listen(settings.host, settings.port)
    with listener:
        if settings.workers == 1:
            service = open_service(bundle, settings)
            _announce(listener, service)
            _run_one(create_app(service), settings, listener)
        else:
            _run_several(bundle, settings, listener)


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound, so that nothing is loaded for an address that is taken."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
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


def _run_one(app: FastAPI, settings: ServeConfig, listener: socket.socket) -> None:
    # uvicorn raises the signal that stopped it once more when all is done; an orderly end is no failure
    signal.signal(signal.SIGTERM, lambda *_: None)
    uvicorn.Server(_config(app, settings)).run(sockets=[listener])


def _run_several(bundle: str | Path, settings: ServeConfig, listener: socket.socket) -> None:
    if settings.threads is None:
        settings = replace(settings, threads=max(1, (os.cpu_count() or 1) // settings.workers))
    _announce(listener, None)
    listener.set_inheritable(True)
    config = _config(
        partial(application, Path(bundle), settings), settings, factory=True, workers=settings.workers
    )
    manager = Multiprocess(config, sockets=[listener])
    manager.run()
    if any(process.exitcode == STARTUP_FAILURE for process in manager.processes):
        raise UserError("no worker could be started; the reason stands above")


def application(bundle: Path, settings: ServeConfig) -> FastAPI:
    """The application of one worker; one that cannot be made ends the worker for good."""
    try:
        return create_app(open_service(bundle, settings))
    except UserError as error:
        print(f"whichland: {error}", file=sys.stderr)
        sys.exit(STARTUP_FAILURE)


def _config(app: Any, settings: ServeConfig, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=PatientProtocol,
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=_logging(quiet=settings.workers == 1),
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEPT_OPEN_S,
        timeout_graceful_shutdown=round(settings.stop_seconds),
        timeout_worker_healthcheck=WORKER_ANSWERS_S,
        **more,
    )


def _logging(*, quiet: bool) -> dict[str, Any]:
    """Lines on stderr; of uvicorn's own, with `quiet`, only warnings."""
    level = "WARNING" if quiet else "INFO"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(asctime)s %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "loggers": {
            "whichland": {"level": "INFO", "handlers": ["stderr"], "propagate": False},
            "uvicorn": {"level": level, "handlers": ["stderr"], "propagate": False},
        },
    }


def _announce(listener: socket.socket, service: Service | None) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    what = f"{service.name} ({service.runner.engine})" if service else "several workers"
    print(f"whichland: {what} on http://{shown}:{port}; Ctrl-C stops", file=sys.stderr, flush=True)
