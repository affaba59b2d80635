"""A stand-in for the Hugging Face hub on loopback: it serves well, or misbehaves as a real host does."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HANG_S = 300.0


_DATASET = re.compile(
    r"/(api/)?datasets/(?P<name>[^/]+/[^/]+)(?:/(?P<what>[a-z-]+)/(?P<revision>[^/]+)/?(?P<path>.*))?"
)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """The files of a data set's repository, and when each was last written (ISO 8601)."""

    files: Mapping[str, bytes]
    dates: Mapping[str, str] = field(default_factory=dict)


class Hub(ThreadingHTTPServer):
    """Serves `file` for every path that ends in .safetensors, and data sets, in the mood set through /mood/NAME.

    In the mood "pickle" only paths that end in .bin are there; in the mood "drops" the connection breaks off in
    the middle of a file, and in the mood "drops once" only the first time for each; in the mood "gated" a data set
    shows its names but not its files.
    """

    daemon_threads = True

    def __init__(self, file: bytes = b"", datasets: Mapping[str, DataSet] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.file, self.datasets, self.mood = file, datasets or {}, "good"
        self.asked: list[str] = []
        self.dropped: set[str] = set()

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
            self.server.mood = self.path.rpartition("/")[2].replace("%20", " ")
            self.server.dropped.clear()
            return self._send(200, b"")
        self._answer(body=True)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(body=True)

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def _answer(self, *, body: bool) -> None:
        mood = self.server.mood
        part = self.headers.get("Range", "")
        self.server.asked.append(f"{mood} {self.command} {self.path} {part}".rstrip())
        if mood == "hangs":
            time.sleep(HANG_S)
        if mood in ("401", "429", "503"):
            return self._send(int(mood), b"<html>not now</html>" if body else b"")
        dataset = _DATASET.fullmatch(unquote(self.path.partition("?")[0]))
        if dataset:
            return self._answer_dataset(dataset, body=body)
        if mood == "404" or not self.path.endswith(".bin" if mood == "pickle" else ".safetensors"):
            return self._send(404, b"", **{"X-Error-Code": "EntryNotFound"})
        content = {"garbage": b"<!doctype html>" * 100}.get(mood, self.server.file)
        self._send(200, content, body=body, cut=len(content) // 2 if mood == "drops" else None)

    def _answer_dataset(self, asked: re.Match[str], *, body: bool) -> None:
        found = self.server.datasets.get(asked["name"])
        if found is None:
            return self._send(404, b"", **{"X-Error-Code": "RepoNotFound"})
        if asked["revision"] not in (None, "main", COMMIT):
            return self._send(404, b"", **{"X-Error-Code": "RevisionNotFound"})
        if asked["what"] in (None, "revision"):
            siblings = [{"rfilename": path, "size": len(data)} for path, data in found.files.items()]
            return self._send_json({"id": asked["name"], "sha": COMMIT, "siblings": siblings}, body=body)
        if asked["what"] in ("tree", "paths-info"):
            return self._send_json([_entry(found, path) for path in found.files], body=body)
        if self.server.mood == "gated":
            return self._send(403, b"", **{"X-Error-Code": "GatedRepo"})
        self._send_file(asked["path"], found.files[asked["path"]], body=body)

    def _send_json(self, answer: object, *, body: bool) -> None:
        self._send(200, json.dumps(answer).encode(), body=body, **{"Content-Type": "application/json"})

    def _send_file(self, path: str, content: bytes, *, body: bool) -> None:
        mood, dropped = self.server.mood, self.server.dropped
        drops = mood == "drops" or (mood == "drops once" and path not in dropped)
        etag = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        start = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or [0, 0])[1])
        code, rest = 206 if start else 200, content[start:]
        if start:
            etag["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if body and drops:
            dropped.add(path)
        self._send(code, rest, body=body, cut=len(rest) // 2 if body and drops else None, **etag)

    def _send(self, code: int, content: bytes, *, body: bool = True, cut: int | None = None, **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        for name, value in ({"ETag": f'"{abs(hash(content)):064x}"'} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):  # the client may have given up
            self.wfile.write(content[:cut] if body else b"")
        if cut is not None:
            self.close_connection = True


def _entry(found: DataSet, path: str) -> dict[str, object]:
    commit = {"id": COMMIT, "title": "Upload dataset", "date": found.dates.get(path, "2024-01-01T00:00:00.000Z")}
    return {
        "type": "file",
        "path": path,
        "size": len(found.files[path]),
        "oid": hashlib.sha1(found.files[path]).hexdigest(),
        "lastCommit": commit,
    }


@contextmanager
def serve(file: bytes = b"", datasets: Mapping[str, DataSet] | None = None) -> Iterator[Hub]:
    """Serve until the block ends."""
    hub = Hub(file, datasets)
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
