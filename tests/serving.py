"""A service over a tiny bundle, in this process or behind a real socket: what the tests of the service share."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI

from tiny_bundle import LABELS, make_bundle, make_photos
from whichland.model.label_points import located
from whichland.model.label_sources import countries
from whichland.model.labels import labels_text
from whichland.model.model import Judged
from whichland.serving.app import create_app
from whichland.serving.batching import Batcher
from whichland.serving.server import listen, uvicorn_config
from whichland.serving.service import Service, open_service
from whichland.serving.settings import ServeConfig

CALIBRATION: dict[str, Any] = {
    "photos": 100,
    "groups": 50,
    "sets": {"0.8": 0.2, "0.9": 0.1, "0.95": 0.0},
    "abstain": {"0.8": {"threshold": 0.5, "answered": 0.5, "right": 0.8}},
}


def calibrated_bundle(folder: Path) -> Path:
    """A bundle with a temperature, thresholds and places."""
    bundle = make_bundle(folder, temperature=0.5, calibration=CALIBRATION)
    (bundle / "labels.json").write_text(labels_text(located(countries(LABELS))), encoding="utf-8")
    return bundle


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_photos(tmp_path_factory.mktemp("photos"), 5)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return calibrated_bundle(tmp_path_factory.mktemp("run") / "bundle")


def stalled(service: Service, gate: threading.Event) -> Service:
    """The same service with a model that answers only once the gate is open."""

    def judged(crops_BHWC: np.ndarray) -> list[Judged]:
        gate.wait(30)
        return service.model.judged(crops_BHWC)

    return replace(service, batcher=Batcher(judged, batch=service.settings.batch))


def service_of(bundle: Path, **settings: Any) -> Service:
    return open_service(bundle, ServeConfig(**({"explain": "occlusion"} | settings)))


@contextmanager
def running(app: FastAPI, settings: ServeConfig | None = None) -> Iterator[tuple[str, int]]:
    """The application behind a real socket; gives its host and port."""
    settings = settings or app.state.whichland.settings
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn_config(app, settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(20)


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=10)


def create(bundle: Path, **settings: Any) -> FastAPI:
    return create_app(service_of(bundle, **settings))
