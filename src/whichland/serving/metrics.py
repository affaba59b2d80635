"""What is counted and written down of requests. Each service has a Prometheus registry of its own.

Where several processes serve, each keeps its numbers in a file of one folder, and whichever is asked gives the sums.

A line of the log names the route, not the path, query or files, and not who asked: a photo's name may say where it
was taken. What goes wrong inside becomes an answer without a word of the inside; its traceback goes to the log.
"""

import logging
import os
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.exposition import generate_latest
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from whichland.serving.limits import Load

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's variable: the folder of several processes' numbers
BATCHES = (1, 2, 4, 8, 16, 32, 64)
GAUGES = (  # name, help, attribute of the load
    ("whichland_photos_inside", "photos being decoded or waiting for the model", "photos"),
    ("whichland_uploads", "requests that are arriving", "uploads"),
    ("whichland_upload_bytes", "bytes that requests hold", "bytes"),
    ("whichland_explanations", "explanations running or waiting", "explanations"),
)


class Metrics:
    """Counters, histograms and gauges of one service."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        registry = self.registry = prometheus_client.CollectorRegistry()
        count, spread = partial(Counter, registry=registry), partial(Histogram, registry=registry)
        self.requests = count("whichland_requests", "requests answered", ["route", "method", "status"])
        text = "from a request's head to the end of its answer"
        self.seconds = spread("whichland_request_seconds", text, ["route"], buckets=SECONDS)
        self.refused = count("whichland_refused", "requests refused, by why", ["reason"])
        self.photos = count("whichland_photos", "photos judged or unreadable", ["result"])
        self.batches = spread("whichland_batch_photos", "photos in a batch", buckets=BATCHES)
        self.model_seconds = spread("whichland_batch_seconds", "a batch took the model", buckets=SECONDS)
        self._gauges = [
            (Gauge(name, text, registry=registry, multiprocess_mode="livesum"), attribute)
            for name, text, attribute in GAUGES
        ]
        prometheus_client.ProcessCollector(registry=registry)

    def count_batch(self, photos: int, seconds: float) -> None:
        """A batch went through the model."""
        self.batches.observe(photos)
        self.model_seconds.observe(seconds)

    def note(self) -> None:
        """Where several processes serve, note how much is under way, for whichever of them is asked next."""
        if FOLDER in os.environ:
            self._look()

    def _look(self) -> None:
        for gauge, attribute in self._gauges:
            gauge.set(getattr(self._load, attribute))

    def text(self) -> bytes:
        """All of it, in the OpenMetrics format; of all processes where several serve."""
        self._look()
        registry = self.registry
        if FOLDER in os.environ:
            registry = prometheus_client.CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return bytes(generate_latest(registry))  # type: ignore[no-untyped-call]


LOG = logging.getLogger("whichland.access")
DEFECTS = logging.getLogger("whichland.defects")
GONE = 499  # the client went away before it had its answer; nginx's number for it
METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE")
MOUNTS = ("/static", "/report", "/atlas")


class Watch:
    """ASGI middleware that counts, logs, answers what nothing else caught, and lets HEAD be answered as GET."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, asked = perf_counter(), 0, scope["method"]
        if asked == "HEAD":
            scope["method"] = "GET"  # the server leaves out the body
        self.metrics.note()

        async def noticing(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noticing)
        except ClientDisconnect:
            status = GONE
        except Exception:
            DEFECTS.exception("a request failed: %s %s", scope["method"], route(scope))
            if status:  # an answer has begun, and can only be broken off
                raise
            answer = JSONResponse({"error": "something is wrong inside; the log of the service says what"}, 500)
            await answer(scope, receive, noticing)
        finally:
            seconds, path = perf_counter() - started, route(scope)
            method = asked if asked in METHODS else "other"
            self.metrics.requests.labels(path, method, str(status)).inc()
            self.metrics.seconds.labels(path).observe(seconds)
            self.metrics.note()
            LOG.info("%s %s %d %.0f ms", method, path, status, 1000 * seconds)


def route(scope: Scope) -> str:
    """The pattern that the request's path fell under, such as /api/play/{seed}; "other" where there is none."""
    path = f"{path_of(scope)}/"
    mount = next((mount for mount in MOUNTS if path.startswith(f"{mount}/")), "other")
    found = getattr(scope.get("route"), "path", None)
    return found if isinstance(found, str) else mount


def path_of(scope: Scope) -> str:
    """The path that was asked for, without the prefix under which a proxy shows the service."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("app_root_path", scope.get("root_path", "")))
