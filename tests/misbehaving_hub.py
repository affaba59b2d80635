"""A stand-in for the model hub on loopback: it serves one file well, or misbehaves as a real host does."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HANG_S = 300.0


class Hub(ThreadingHTTPServer):
    """Serves `file` for every path that ends in .safetensors, in the mood set through /mood/NAME.

    In the mood "pickle" only paths that end in .bin are there.
    """

    daemon_threads = True

    def __init__(self, file: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.file, self.mood = file, "good"
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        if self.path.startswith("/mood/"):
            self.server.mood = self.path.rpartition("/")[2]
            return self._send(200, b"")
        self._answer(body=True)

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def _answer(self, *, body: bool) -> None:
        mood = self.server.mood
        self.server.asked.append(f"{mood} {self.command} {self.path}")
        if mood == "hangs":
            time.sleep(HANG_S)
        if mood in ("401", "429", "503"):
            return self._send(int(mood), b"<html>not now</html>" if body else b"")
        if mood == "404" or not self.path.endswith(".bin" if mood == "pickle" else ".safetensors"):
            return self._send(404, b"", **{"X-Error-Code": "EntryNotFound"})
        content = {"garbage": b"<!doctype html>" * 100}.get(mood, self.server.file)
        self._send(200, content, body=body, cut=len(content) // 2 if mood == "drops" else None)

    def _send(
        self, code: int, content: bytes, *, body: bool = True, cut: int | None = None, **headers: str
    ) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{abs(hash(content)):064x}"')
        self.send_header("X-Repo-Commit", COMMIT)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):  # the client may have given up
            self.wfile.write(content[:cut] if body else b"")
        if cut is not None:
            self.close_connection = True


@contextmanager
def serve(file: bytes) -> Iterator[Hub]:
    """Serve until the block ends."""
    hub = Hub(file)
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
