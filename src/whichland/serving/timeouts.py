"""Connections that keep the server waiting: uvicorn's protocol with timeouts.

uvicorn waits without end for the head of a request, and for a client to read its answer. A few hundred connections
that do nothing would use up all there are. The body of a request has limits of its own, see limits.py.
"""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0  # from a connection, or a first byte on one that was kept open, to the end of a request's head
READ_SECONDS = 30.0  # without any of the answer being read


class TimedProtocol(H11Protocol):
    """HTTP/1.1 that cuts off who is too slow at sending a head or reading an answer."""

    _head: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head = self.loop.call_later(HEAD_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head = _stop(self._head)
        elif self._head is None and not self.transport.is_closing():
            self._head = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._reading = _stop(self._reading)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head, self._reading = _stop(self._head), _stop(self._reading)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in JSON, like everything else."""
        body = b'{"error":"this is not a valid HTTP request"}'
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n" % len(body) + body
        )
        self.transport.close()

    def shutdown(self) -> None:
        """Close now what holds no request; uvicorn's own fails where half a head has arrived."""
        if self.conn.our_state is h11.IDLE and self.conn.their_state is h11.IDLE:
            self.transport.close()
        else:
            super().shutdown()


def _stop(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Cancel a timer that runs; there is none then."""
    if timer is not None:
        timer.cancel()
    return None
