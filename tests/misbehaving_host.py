"""A stand-in for hosts of photos on loopback, which misbehaves as real ones do: each path in its own way."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

DRIP_S = 0.05


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    photo = b""
    asked: "Counter[str]"

    def do_GET(self) -> None:
        self.asked[self.path] += 1
        with suppress(ConnectionError):
            getattr(self, "_" + _first(self.path), self._404)()

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _send(self, status: int, body: bytes = b"", kind: str = "image/jpeg", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _begin(self, length: int | None = None) -> None:
        """Headers of a body that is still to come; it ends with the connection when it has no length."""
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.end_headers()

    def _404(self) -> None:
        self._send(404, b"no")

    def _good(self) -> None:
        self._send(200, self.photo)

    def _page(self) -> None:
        self._send(200, b"<!doctype html><p>please sign in", "text/html; charset=utf-8")

    def _garbage(self) -> None:
        self._send(200, b"not a photo at all")

    def _busy_once(self) -> None:
        self._send(503, Retry_After="0") if self.asked[self.path] == 1 else self._good()

    def _busy(self) -> None:
        self._send(503, Retry_After="0")

    def _onwards(self) -> None:
        self._send(302, Location="/good/a.jpg")

    def _round(self) -> None:
        self._send(302, Location="/round")

    def _to_file(self) -> None:
        self._send(302, Location="file:///etc/passwd")

    def _home(self) -> None:
        self._send(302, Location=f"http://localhost:{self.server.server_address[1]}/good/a.jpg")

    def _large(self) -> None:
        self._begin(10**12)

    def _endless(self) -> None:
        self._begin()
        while True:
            self.wfile.write(b"x" * 65_536)

    def _cut(self) -> None:
        self._begin(len(self.photo))
        self.wfile.write(self.photo[: len(self.photo) // 2])
        self.close_connection = True

    def _silent(self) -> None:
        time.sleep(5)

    def _held_once(self) -> None:
        if self.asked[self.path] == 1:
            time.sleep(60)
        self._good()

    def _drip(self) -> None:
        self._begin(1000)
        for _ in range(1000):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(DRIP_S)

    def _drip_headers(self) -> None:
        for number in range(1000):
            self.wfile.write(f"X-{number}: y\r\n".encode() if number else b"HTTP/1.1 200 OK\r\n")
            self.wfile.flush()
            time.sleep(DRIP_S)

    def _gzip(self) -> None:
        self._send(200, b"\x1f\x8b" + b"\0" * 100, Content_Encoding="gzip")


def _first(path: str) -> str:
    """The first part of a path, as the name of a method."""
    return urlsplit(path).path.strip("/").partition("/")[0].replace("-", "_")


class Host:
    """A running host: its address, and how often each path was asked for."""

    def __init__(self, address: str, asked: "Counter[str]") -> None:
        self.address, self.asked = address, asked


@contextmanager
def misbehaving_host(photo: bytes) -> Iterator[Host]:
    """Run the host; `photo` is what it sends when it behaves."""
    asked: Counter[str] = Counter()
    handler = type("Handler", (_Handler,), {"photo": photo, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield Host(f"http://127.0.0.1:{server.server_address[1]}", asked)
    finally:
        server.shutdown()
        server.server_close()
