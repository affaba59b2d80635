"""What the service counts, for Prometheus. Each service has a registry of its own."""

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.exposition import generate_latest

from whichland.serving.limits import Load

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters, histograms and gauges of one service."""

    def __init__(self, load: Load) -> None:
        registry = self.registry = prometheus_client.CollectorRegistry()
        self.requests = Counter(
            "whichland_requests", "requests answered", ["route", "method", "status"], registry=registry
        )
        self.seconds = Histogram(
            "whichland_request_seconds",
            "from a request's head to the end of its answer",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.refused = Counter("whichland_refused", "requests refused, by why", ["reason"], registry=registry)
        self.photos = Counter("whichland_photos", "photos judged or unreadable", ["result"], registry=registry)
        self.batches = Histogram("whichland_batch_photos", "photos in a batch", buckets=BATCHES, registry=registry)
        self.model_seconds = Histogram(
            "whichland_batch_seconds", "a batch took the model", buckets=SECONDS, registry=registry
        )
        for name, text, attribute in (
            ("whichland_photos_inside", "photos being decoded or waiting for the model", "photos"),
            ("whichland_uploads", "requests that are arriving", "uploads"),
            ("whichland_upload_bytes", "bytes that requests hold", "bytes"),
            ("whichland_explanations", "explanations running or waiting", "explanations"),
        ):
            gauge = Gauge(name, text, registry=registry)
            gauge.set_function(lambda attribute=attribute: getattr(load, attribute))  # type: ignore[misc]
        prometheus_client.ProcessCollector(registry=registry)

    def heard(self, photos: int, seconds: float) -> None:
        """A batch went through the model."""
        self.batches.observe(photos)
        self.model_seconds.observe(seconds)

    def text(self) -> bytes:
        """All of it, in the OpenMetrics format."""
        return bytes(generate_latest(self.registry))  # type: ignore[no-untyped-call]
