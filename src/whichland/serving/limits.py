"""What may come in: how much at once, how a request's body may arrive, and what a form may hold.

Counts are shared by all requests; a request holds what it takes until it is answered. Nothing waits: what does not
fit is refused at once, with the time after which to try again. Bytes, time and pauses are watched while a body
streams in, so that nothing too large or too slow is ever held whole. Forms are read into memory: no photo ever
touches the disk.
"""

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from fastapi import HTTPException
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whichland.serving.metrics import Metrics
from whichland.serving.settings import ServeConfig

SLOWEST = 60  # seconds: the longest wait that a client is asked for

LINGER_SECONDS = 5.0
LATE_SECONDS = 1.0  # for one that has been waited for already
LINGER_BYTES = 20_000_000

MAX_FIELDS = 20
MAX_FIELD_BYTES = 1_000
MAX_NAME = 200


class Refusal(HTTPException):
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

    def count_batch(self, photos: int, seconds: float) -> None:
        """A batch went through the model."""
        self.photo_seconds += 0.1 * (seconds / photos - self.photo_seconds)

    @property
    def retry_after(self) -> int:
        """Whole seconds after which what waits now will be through."""
        return min(SLOWEST, max(1, math.ceil(self.photos * self.photo_seconds)))

    def check_open(self) -> None:
        """Raise Refusal before a request's body is read, when there is no room for it."""
        if self.uploads >= self.settings.uploads or self.photos >= self.settings.queue:
            raise self.busy()

    @contextmanager
    def seats(self, photos: int) -> Iterator[None]:
        """Room for a request's photos. Raises Refusal when there is none."""
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
        """Room for an explanation. Raises Refusal when there is none."""
        if self.explanations >= self.settings.explanations:
            raise self.busy()
        self.explanations += 1
        try:
            yield
        finally:
            self.explanations -= 1

    def busy(self) -> Refusal:
        """The answer to one too many."""
        seconds = self.retry_after
        return Refusal(503, f"the service is busy; try again in {seconds} s", reason="busy", retry_after=seconds)


class BodyLimits:
    """ASGI middleware that keeps every request within the limits."""

    def __init__(self, app: ASGIApp, load: Load, metrics: Metrics) -> None:
        self.app, self.load, self.metrics = app, load, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        arrival = Arrival(scope, receive, send, self.load)
        try:
            arrival.check_head()
        except Refusal as refusal:
            self.metrics.refused.labels(refusal.reason).inc()
            answer = JSONResponse({"error": refusal.detail}, refusal.status_code, refusal.headers)
            await answer(scope, arrival.receive, arrival.send)
            return
        self.load.uploads += arrival.has_body
        try:
            await self.app(scope, arrival.receive, arrival.send)
        finally:
            arrival.arrived()
            self.load.bytes -= arrival.held


class Arrival:
    """One request on its way in.

    A client that is refused while it still sends would lose the answer if the connection were cut at once; so what
    it sends is read a while longer, and thrown away.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, load: Load) -> None:
        headers = Headers(scope=scope)
        self.has_body = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        self.stated = headers.get("content-length", "")
        # a client that asked whether to send at all gets the refusal instead of the "100 Continue"
        self.asks_first = headers.get("expect", "").lower() == "100-continue"
        self.whole = not (headers.get("transfer-encoding") or self.stated not in ("", "0"))
        self.counted = self.has_body
        self.held = 0
        self.deadline = 0.0
        self.late = False
        self._receive, self._send, self.load = receive, send, load

    def check_head(self) -> None:
        """Raise Refusal for what can be refused by its head alone."""
        if self.stated.isdecimal():
            self._check_size(int(self.stated))
        if self.has_body:
            self.load.check_open()

    def _check_size(self, size: int) -> None:
        limit = self.load.settings.bytes
        if size > limit:
            why = f"the request is over the limit of {limit:,} bytes; send fewer or smaller photos"
            raise Refusal(413, why, reason="large")

    def arrived(self) -> None:
        """The body is there, or no longer wanted: its place is free for the next."""
        self.load.uploads -= self.counted
        self.counted = False

    async def receive(self) -> Message:
        """The next piece of the body. Raises Refusal when there was too much of it, or it took too long."""
        if self.whole:
            return await self._receive()
        self.asks_first = False
        settings = self.load.settings
        self.deadline = self.deadline or monotonic() + settings.seconds
        try:
            async with asyncio.timeout(min(settings.pause, self.deadline - monotonic())):
                message = await self._receive()
        except TimeoutError:
            self.late = True
            raise Refusal(408, "the photos took too long to arrive", reason="slow") from None
        if message["type"] != "http.request":
            self.whole = True  # the client is gone
            return message
        self.whole = not message.get("more_body")
        size = len(message.get("body", b""))
        self._check_size(self.held + size)
        if self.load.bytes + size > settings.memory:
            raise self.load.busy()
        self.load.bytes += size
        self.held += size
        if self.whole:
            self.arrived()
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer; where the body was not read to its end, close the connection after it."""
        if self.whole:
            await self._send(message)
            return
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        last = message["type"] == "http.response.body" and not message.get("more_body")
        if last and not self.asks_first:
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _linger(self) -> None:
        """Throw away what the client still sends, for a while."""
        left, more = LINGER_BYTES, True
        try:
            async with asyncio.timeout(LATE_SECONDS if self.late else LINGER_SECONDS):
                while more and left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    more = message.get("more_body", False)
        except TimeoutError:
            return


Upload = tuple[str, bytes]  # name and content of a file in a form


class FormParser(MultiPartParser):
    """Starlette's parser, for which a photo needs no name, and which says whether the form came to its end."""

    photos = ""  # the field of the photos
    whole = False

    def on_headers_finished(self) -> None:
        """Begin a part: a photo, like every file, may be larger than a field."""
        part = self._current_part
        options = parse_options_header(part.content_disposition)[1]
        if options.get(b"name") == self.photos.encode() and b"filename" not in options:
            part.content_disposition = (part.content_disposition or b"") + b'; filename="photo"'
        super().on_headers_finished()

    def on_end(self) -> None:
        """Notice the last boundary."""
        self.whole = True


async def read_form(request: Request, *, field: str, files: int) -> tuple[list[Upload], dict[str, str]]:
    """The one to `files` files of a multipart form in the field of that name, and its other fields, the last of each.

    Raises Refusal when it is none, is broken, or holds more or none; and whatever the body limits raise while it
    arrives.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise Refusal(422, f"send a multipart/form-data form with the photo in the field {field}", reason="form")
    parser = FormParser(
        request.headers, request.stream(), max_files=files, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES
    )
    parser.photos = field
    parser.spool_max_size = request.app.state.whichland.settings.bytes + 1  # never to the disk
    try:
        form = await parser.parse()
        if not parser.whole:
            raise MultiPartException("it ends before its last boundary")
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise Refusal(413, f"at most {files} photos in one request", reason="files") from None
        raise Refusal(422, f"the form cannot be read: {error.message}", reason="form") from None
    uploads = []
    for value in form.getlist(field):
        if not isinstance(value, str):
            name = "".join(letter for letter in value.filename or "" if letter.isprintable())[:MAX_NAME]
            uploads.append((name or "photo", await value.read()))
    await form.close()
    if not uploads:
        raise Refusal(422, f"no photo came in the field {field}", reason="form")
    return uploads, {name: value for name, value in form.multi_items() if isinstance(value, str)}
