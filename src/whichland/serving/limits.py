"""How much may come in at once: counts that all requests share, and the errors that say no.

A request holds what it takes until it is answered. Nothing here waits: what does not fit is refused at once, with
the time after which to try again.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fastapi import HTTPException

from whichland.serving.settings import ServeConfig

SLOWEST = 60  # seconds: the longest wait that a client is asked for


class Refused(HTTPException):
    """An answer with a status and one line of why; `reason` is a word for the metrics."""

    def __init__(self, status: int, why: str, *, reason: str, retry_after: int | None = None) -> None:
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        super().__init__(status, why, headers)
        self.reason = reason


@dataclass
class Load:
    """What all requests together hold; used from the event loop alone, so no lock is needed."""

    settings: ServeConfig
    uploads: int = 0  # requests that are arriving
    bytes: int = 0  # that they hold
    photos: int = 0  # being decoded, or waiting for the model
    explanations: int = 0
    photo_seconds: float = 0.05  # that a photo takes the model, averaged over the last batches

    def heard(self, photos: int, seconds: float) -> None:
        """A batch went through the model."""
        self.photo_seconds += 0.1 * (seconds / photos - self.photo_seconds)

    @property
    def retry_after(self) -> int:
        """Whole seconds after which what waits now will be through."""
        return min(SLOWEST, max(1, math.ceil(self.photos * self.photo_seconds)))

    def check_open(self) -> None:
        """Raise Refused before a request's body is read, when there is no room for it."""
        if self.uploads >= self.settings.uploads or self.photos >= self.settings.queue:
            raise self.busy()

    def take_bytes(self, count: int) -> None:
        """Count what a request brought. Raises Refused when all requests together hold too much."""
        if self.bytes + count > self.settings.memory:
            raise self.busy()
        self.bytes += count

    @contextmanager
    def seats(self, photos: int) -> Iterator[None]:
        """Room for a request's photos. Raises Refused when there is none."""
        # one request may be larger than the queue: it is let in when it is alone
        if self.photos and self.photos + photos > self.settings.queue:
            raise self.busy()
        self.photos += photos
        try:
            yield
        finally:
            self.photos -= photos

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Room for an explanation. Raises Refused when there is none."""
        if self.explanations >= self.settings.explanations:
            raise self.busy()
        self.explanations += 1
        try:
            yield
        finally:
            self.explanations -= 1

    def busy(self) -> Refused:
        """The answer to one too many."""
        seconds = self.retry_after
        return Refused(503, f"too much is going on; try again in {seconds} s", reason="busy", retry_after=seconds)
