"""whichland serve as a process: settings from flags and variables, an orderly end, and a worker that dies."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from processes import runs, wait_until
from serving import listen
from tiny_bundle import make_bundle, make_photos
from whichland.serving import server

COMMAND = [sys.executable, "-m", "whichland.cli.main", "serve"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("run") / "bundle")


@contextmanager
def served(bundle: Path, *flags: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address, once it answers."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "WHICHLAND_EXPLAIN": "occlusion"} | variables
    command = [*COMMAND, str(bundle), "--port", "0", *flags]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        found = re.search(r"on (http://\S+);", line := process.stderr.readline())
        assert found, line + process.stderr.read()
        url = found[1]
        # an address that is printed is one that takes connections
        assert httpx.get(f"{url}/healthz", timeout=60).status_code == 200
        yield process, url
    finally:
        process.kill()
        process.wait()


def test_flags_and_variables_set_it_up_and_sigterm_ends_it_in_order(bundle: Path, tmp_path: Path):
    photo = make_photos(tmp_path, 1)[0].read_bytes()
    with served(bundle, "--set", "files=3", WHICHLAND_TOKEN="hush", WHICHLAND_FILES="9", WHICHLAND_SECONDS="7") as (
        process,
        url,
    ):
        bearer = {"Authorization": "Bearer hush"}
        limits = httpx.get(f"{url}/api/info", headers=bearer).json()["limits"]
        assert (limits["files"], limits["seconds"]) == (3, 7)  # a flag wins over its variable
        assert httpx.post(f"{url}/api/predict", headers=bearer, files={"files": photo}).status_code == 200
        assert httpx.get(f"{url}/api/info").status_code == 401
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert "hush" not in process.stderr.read()


@pytest.mark.slow
def test_a_worker_that_is_killed_is_started_anew(bundle: Path, tmp_path: Path):
    photo = make_photos(tmp_path, 1)[0].read_bytes()
    with served(bundle, "--workers", "2") as (process, url):
        workers = _workers(process.pid)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        # the other one answers meanwhile
        assert httpx.post(f"{url}/api/predict", files={"files": photo}, timeout=60).status_code == 200
        deadline = time.monotonic() + 60
        while len(now := _workers(process.pid)) < 2 or workers[0] in now:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        # each request is a connection of its own, which either worker may take
        assert all(httpx.get(f"{url}/api/info").status_code == 200 for _ in range(12))
        told = [httpx.get(f"{url}/metrics").text for _ in range(6)]
        requests = [
            float(re.findall(r'^whichland_requests_total\{.*route="/api/info".*\} (\S+)', one, re.M)[0]) for one in told
        ]
        assert requests == [12] * 6
        assert all("whichland_photos_inside 0" in one for one in told)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.slow
def test_workers_end_with_their_parent_and_leave_the_port(bundle: Path):
    with served(bundle, "--workers", "2") as (process, url):
        wait_until(lambda: len(_workers(process.pid)) == 2)
        workers = _workers(process.pid)
        process.kill()
        process.wait()
        wait_until(lambda: not any(runs(worker) for worker in workers))
        with listen("127.0.0.1", int(url.rpartition(":")[2])) as free:
            free.listen()


def _workers(parent: int) -> list[int]:
    """Its worker processes: the children that run a server, without multiprocessing's own helper."""
    found = []
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        try:
            command = Path(f"/proc/{child}/cmdline").read_text()
        except OSError:
            continue
        if "spawn_main" in command:
            found.append(int(child))
    return found


@pytest.mark.parametrize("flags", [[], ["--workers", "2"]])
def test_what_cannot_be_opened_is_one_line(tmp_path: Path, flags: list[str]):
    done = subprocess.run([*COMMAND, str(tmp_path), "--port", "0", *flags], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "is not a bundle" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_answers_are_sent_at_once():
    """Of a listener that does not say that it speaks TCP, asyncio lets the kernel hold a body back for 40 ms."""
    with server.listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_an_address_that_is_taken_is_one_line(bundle: Path):
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run([*COMMAND, str(bundle), "--port", port], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert re.fullmatch(r"whichland: 127\.0\.0\.1:\d+ cannot be listened on .*\n", done.stderr)
