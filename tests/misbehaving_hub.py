"""A stand-in for the Hugging Face hub on loopback: it serves well, or misbehaves as a real host does."""

import base64
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
TOKEN = "hf_thisMustNeverBeShown"
LARGE = (".safetensors", ".onnx", ".parquet")


_REPOSITORY = re.compile(
    r"/(api/models/|(api/)?datasets/)?(?P<name>[^/]+/[^/]+)(?:/(?P<what>[a-z-]+)/(?P<revision>[^/]+)/?(?P<path>.*))?"
)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """The files of a repository of data or of a model, and when each was last written (ISO 8601)."""

    files: Mapping[str, bytes]
    dates: Mapping[str, str] = field(default_factory=dict)


class Hub(ThreadingHTTPServer):
    """Serves `file` for every path that ends in .safetensors, and repositories, in the mood set through /mood/NAME.

    What is committed to the repository of a model with the token `TOKEN` is there from then on.

    In the mood "pickle" only paths that end in .bin are there; in the mood "drops" the connection breaks off in
    the middle of a file, and in the mood "drops once" only the first time for each; in the mood "gated" a repository
    shows its names but not its files; in the mood "damages" one byte of each file is another.
    """

    daemon_threads = True

    def __init__(self, file: bytes = b"", datasets: Mapping[str, DataSet] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.file, self.repositories, self.mood = file, dict(datasets or {}), "good"
        self.stored: dict[str, bytes] = {}  # large files by their SHA-256
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
        given = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = re.search(r"/preupload/|/objects/batch|/commit/|/repos/create|/validate-yaml", self.path)
        if kind is None or self.server.mood in ("401", "429", "503", "hangs"):
            return self._answer(body=True)
        self.server.asked.append(f"{self.server.mood} POST {self.path}")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send(403, b"{}")
        self._take(kind[0].strip("/"), given)

    def do_PUT(self) -> None:
        given = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        assert hashlib.sha256(given).hexdigest() == self.path.rpartition("/")[2]
        self.server.stored[hashlib.sha256(given).hexdigest()] = given
        self._send(200, b"")

    def _take(self, step: str, given: bytes) -> None:
        """One step of an upload: https://huggingface.co/docs/hub/api, as the hub's own client goes through them."""
        if step == "repos/create":
            asked = json.loads(given)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            return self._send_json({"url": f"{self.server.address}/{name}"}, body=True)
        if step == "validate-yaml":
            return self._send_json({"errors": [], "warnings": []}, body=True)
        if step == "preupload":
            files = json.loads(given)["files"]
            modes = {file["path"]: "lfs" if file["path"].endswith(LARGE) else "regular" for file in files}
            answer = [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]
            return self._send_json({"files": answer}, body=True)
        if step == "objects/batch":
            upload = {"upload": {"href": f"{self.server.address}/put/"}}
            objects = [
                one | {"actions": {"upload": {"href": upload["upload"]["href"] + one["oid"]}}}
                for one in json.loads(given)["objects"]
            ]
            return self._send_json({"transfer": "basic", "objects": objects}, body=True)
        name = re.fullmatch(r"/api/models/(.+)/commit/.*", self.path)
        assert name is not None
        lines = [json.loads(line) for line in given.splitlines()]
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            if line["key"] == "file"
            else self.server.stored[line["value"]["oid"]]
            for line in lines
            if line["key"] != "header"
        }
        self.server.repositories[name[1]] = DataSet(files=files)
        done = {"commitUrl": f"{self.server.address}/{name[1]}/commit/{COMMIT}", "commitOid": COMMIT}
        self._send_json(done, body=True)

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
        repository = _REPOSITORY.fullmatch(unquote(self.path.partition("?")[0]))
        if repository and (
            repository["name"] in self.server.repositories or self.path.startswith(("/api", "/datasets"))
        ):
            return self._answer_repository(repository, body=body)
        if mood == "404" or not self.path.endswith(".bin" if mood == "pickle" else ".safetensors"):
            return self._send(404, b"", **{"X-Error-Code": "EntryNotFound"})
        content = {"garbage": b"<!doctype html>" * 100}.get(mood, self.server.file)
        self._send(200, content, body=body, cut=len(content) // 2 if mood == "drops" else None)

    def _answer_repository(self, asked: re.Match[str], *, body: bool) -> None:
        found = self.server.repositories.get(asked["name"])
        if found is None:
            return self._send(404, b"", **{"X-Error-Code": "RepoNotFound"})
        if asked["revision"] not in (None, "main", COMMIT):
            return self._send(404, b"", **{"X-Error-Code": "RevisionNotFound"})
        if asked["what"] in (None, "revision"):
            siblings = [_sibling(path, data) for path, data in found.files.items()]
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
        content = bytes([content[0] ^ 1]) + content[1:] if mood == "damages" else content
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


def _sibling(path: str, data: bytes) -> dict[str, object]:
    large = {"lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}}
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return {"rfilename": path, "size": len(data), "blobId": blob} | (large if path.endswith(LARGE) else {})


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
