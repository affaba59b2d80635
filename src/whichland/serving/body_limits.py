"""Limits on request bodies: how a request's body may arrive, and how a request that is refused half-way leaves.

Bytes, time and pauses are watched while the body streams in, so that nothing too large or too slow is ever held
whole. A client that is refused while it still sends would lose the answer if the connection were cut at once;
so a while longer is listened to what it sends, and that is thrown away.
"""

import asyncio
from time import monotonic

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whichland.serving.limits import Load, Refused
from whichland.serving.metrics import Metrics

LINGER_SECONDS = 5.0
LATE_SECONDS = 1.0  # for one that has been waited for already
LINGER_BYTES = 20_000_000


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
        except Refused as refused:
            self.metrics.refused.labels(refused.reason).inc()
            await refusal(refused)(scope, arrival.receive, arrival.send)
            return
        self.load.uploads += arrival.has_body
        try:
            await self.app(scope, arrival.receive, arrival.send)
        finally:
            arrival.arrived()
            self.load.bytes -= arrival.held


def refusal(refused: Refused) -> JSONResponse:
    """The answer that says no."""
    return JSONResponse({"error": refused.detail}, refused.status_code, refused.headers)


class Arrival:
    """One request on its way in."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, load: Load) -> None:
        headers = Headers(scope=scope)
        self.has_body = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        self.stated = headers.get("content-length", "")
        # a client that asked whether to send at all hears the refusal instead of the "100 Continue"
        self.asks_first = headers.get("expect", "").lower() == "100-continue"
        self.whole = not (headers.get("transfer-encoding") or self.stated not in ("", "0"))
        self.counted = self.has_body
        self.held = 0
        self.deadline = 0.0
        self.late = False
        self._receive, self._send, self.load = receive, send, load

    def check_head(self) -> None:
        """Raise Refused for what can be refused by its head alone."""
        limit = self.load.settings.bytes
        if self.stated.isdecimal() and int(self.stated) > limit:
            raise too_large(limit)
        if self.has_body:
            self.load.check_open()

    def arrived(self) -> None:
        """The body is there, or no longer wanted: its place is free for the next."""
        self.load.uploads -= self.counted
        self.counted = False

    async def receive(self) -> Message:
        """The next piece of the body. Raises Refused when there was too much of it, or it took too long."""
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
            raise Refused(408, "the photos took too long to arrive", reason="slow") from None
        if message["type"] != "http.request":
            self.whole = True  # the client is gone
            return message
        self.whole = not message.get("more_body")
        size = len(message.get("body", b""))
        if self.held + size > settings.bytes:
            raise too_large(settings.bytes)
        self.load.take_bytes(size)
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
        left = LINGER_BYTES
        try:
            async with asyncio.timeout(LATE_SECONDS if self.late else LINGER_SECONDS):
                while left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body"):
                        return
        except TimeoutError:
            return


def too_large(limit: int) -> Refused:
    """The answer to a body over the limit."""
    return Refused(
        413, f"the request is over the limit of {limit:,} bytes; send fewer or smaller photos", reason="large"
    )
