"""A real `whichland serve` process and plain connections to it: what the benchmarks of the service share.

The clients share the machine with the service, so they do as little as can be: requests are made ready before,
and answers are read by their stated length.
"""

import asyncio
import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BOUNDARY = "6d1c0f"
PHOTOS = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class Served:
    """A service that runs."""

    process: subprocess.Popen[bytes]
    host: str
    port: int
    log: Path

    def get(self, path: str, timeout: float = 30) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def post(self, request: bytes, timeout: float = 120) -> tuple[int, dict[str, str], bytes]:
        return asyncio.run(asyncio.wait_for(self._post(request), timeout))

    async def _post(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(request)
        try:
            return await read_answer(reader)
        finally:
            writer.close()

    @property
    def workers(self) -> list[int]:
        """The processes that answer: the only one, or the children that run a server."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        named = [child for child in children if "spawn_main" in _command(child)]
        return [int(child) for child in named] or [self.process.pid]

    def resident(self) -> float:
        """Memory in use by all its processes, megabytes."""
        return sum(
            int(line.split()[1]) / 1000
            for pid in self.workers
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if line.startswith("VmRSS")
        )


def _command(pid: str) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


@contextlib.contextmanager
def served(bundle: Path, log: Path, *flags: str) -> Iterator[Served]:
    """Start the service on a free port, wait until it answers, and stop it afterwards."""
    command = [sys.executable, "-m", "whichland.cli.main", "serve", str(bundle), "--port", "0", *flags]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stderr=file, env=os.environ | {"MALLOC_ARENA_MAX": "2"})
    try:
        while not (found := re.search(r"on (http://\S+);", log.read_text())):
            if process.poll() is not None:
                sys.exit(f"the service did not start:\n{log.read_text()}")
            time.sleep(0.05)
        url = urllib.parse.urlsplit(found[1])
        service = Served(process, url.hostname or "", url.port or 0, log)
        while True:
            with contextlib.suppress(OSError):
                if service.get("/healthz")[0] == 200:
                    break
            time.sleep(0.05)
        yield service
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def photos_of(folder: Path, count: int) -> list[Path]:
    """Up to so many photos of a folder, at equal steps along their sorted paths."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PHOTOS)
    if not found:
        sys.exit(f"{folder}: no photos")
    return [found[at * len(found) // min(count, len(found))] for at in range(min(count, len(found)))]


def form(name: str, data: bytes, *, field: str = "files") -> bytes:
    """The body of a form with one photo."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def request_of(name: str, data: bytes, *, path: str = "/api/predict", headers: str = "") -> bytes:
    """A whole request for one photo, as it goes over the wire."""
    body = form(name, data)
    return head_of(len(body), path=path, headers=headers) + body


def head_of(length: int, *, path: str = "/api/predict", headers: str = "") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
        f"{headers}Content-Length: {length}\r\n\r\n"
    ).encode()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in small letters, and body of the next answer on a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, await reader.readexactly(int(headers.get("content-length", 0)))


def one_line(body: bytes) -> str:
    """What an answer says, short enough for a table."""
    with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
        said: dict[str, Any] = json.loads(body)
        first = said if "error" in said else said["results"][0]
        if "error" in first:
            return str(first["error"])
        return f"{first['guesses'][0]['country']} at {first['guesses'][0]['probability']:.2f}"
    return body[:60].decode(errors="replace")
