"""What `whichland serve` answers to bad photos, bad clients and a worker that is killed.

    .venv/bin/python benchmarks/faults.py runs/mine/bundle --photos PHOTOS/ --bad ../shared/data/bad_inputs

Each fault goes to a real process over real connections; after each, a good photo must be answered with 200. Prints
a Markdown table of the faults with the answers given; exit code 1 when an answer was none of those that the fault
deserves, or when the service did not live on. About three minutes.
"""

import argparse
import asyncio
import collections
import contextlib
import os
import signal
import socket
import struct
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from served import Served, head_of, one_line, photos_of, read_answer, request_of, served

Row = tuple[str, str, bool]  # the fault, the answer given, whether it is one that it deserves
SET = ("seconds=6", "pause=2", "bytes=20000000", "queue=64")
LIMITS = ("--explain", "occlusion", *(word for setting in SET for word in ("--set", setting)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--bad", type=Path, required=True, help="folder of bad files")
    asked = parser.parse_args()
    good = photos_of(asked.photos, 1)[0].read_bytes()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        with served(asked.bundle, Path(folder) / "log", *LIMITS) as service:
            faults: list[Callable[[], list[Row]]] = [
                lambda: bad_files(service, asked.bad),
                lambda: bombs(service),
                lambda: truncated(service, good),
                lambda: odd_requests(service),
                lambda: slow_clients(service, good),
                lambda: crowd(service, good),
            ]
            for fault in faults:
                rows += fault()
                lives = service.post(request_of("good.jpg", good))[0] == 200
                rows[-1] = (*rows[-1][:2], rows[-1][2] and lives)
            rows += stopping(service, good)
            tracebacks = service.log.read_text().count("Traceback")
            rows.append(("all of these", f"{tracebacks} defects in the log", not tracebacks))
        with served(asked.bundle, Path(folder) / "log2", "--workers", "2", "--explain", "occlusion") as service:
            rows += killed_worker(service, good)
    print("| fault | answer | |\n|---|---|---|")
    for what, answer, right in rows:
        print(f"| {what} | {answer} | {'as it should be' if right else '**WRONG**'} |")
    return not all(right for *_, right in rows)


def bad_files(service: Served, folder: Path) -> list[Row]:
    """Every bad file, one a request."""
    tally, slowest, right = collections.Counter[str](), 0.0, True
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / "manifest.csv")
    for path in paths:
        started = time.monotonic()
        status, _, body = service.post(request_of("a", path.read_bytes()))
        slowest = max(slowest, time.monotonic() - started)
        right &= status in (200, 422) and str(folder).encode() not in body
        tally[f"{status}"] += 1
    counted = ", ".join(f"{count} × {status}" for status, count in sorted(tally.items()))
    return [(f"{len(paths)} bad or odd files", f"{counted}; slowest {slowest:.1f} s", right)]


def bombs(service: Served) -> list[Row]:
    """Little that would become much."""
    zeros = zlib.compress(bytes(30_000 * (1 + 30_000 // 8)), 9)
    text = chunk(b"zTXt", b"bomb\0\0" + zlib.compress(bytes(500_000_000), 9))
    packed = Path(tempfile.mkdtemp()) / "bomb.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(1_000_000_000))
    whole = {
        "a PNG of 30,000×30,000": png(30_000, 30_000, zeros),
        "a PNG that states 2³¹−1 pixels a side": png(2**31 - 1, 2**31 - 1, zlib.compress(b"\0")),
        "a PNG with 500 MB of text, packed": png(8, 8, zlib.compress(bytes(16)), text),
        "a zip that unpacks to 1 GB": packed.read_bytes(),
    }
    packed.unlink()
    rows = []
    for what, data in whole.items():
        before, started = service.resident(), time.monotonic()
        status, _, body = service.post(request_of("bomb", data))
        grown, took = service.resident() - before, time.monotonic() - started
        right = status in (200, 422) and grown < 300 and took < 10
        rows.append(
            (
                f"{what} ({len(data) / 1000:,.0f} kB)",
                f"{status}, {one_line(body)}; {took:.1f} s, {grown:+.0f} MB",
                right,
            )
        )
    return rows


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, packed: bytes, more: bytes = b"") -> bytes:
    """A one-bit grey PNG of these compressed rows."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + more + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def truncated(service: Served, good: bytes) -> list[Row]:
    """Requests that break off, and photos that do."""
    wire, broken = request_of("a.jpg", good), 0
    for part in range(1, 20):
        with socket.create_connection((service.host, service.port)) as connection:
            connection.sendall(wire[: len(wire) * part // 20])
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                broken += b" 200 " in connection.recv(65536)[:20]
    statuses = collections.Counter(
        service.post(request_of("a.jpg", good[: len(good) * part // 20]))[0] for part in range(1, 20)
    )
    time.sleep(1)
    inside = [line for line in service.get("/metrics")[1].decode().splitlines() if line.startswith("whichland_upload")]
    empty = all(line.endswith(" 0.0") for line in inside if not line.startswith("#"))
    return [
        ("19 uploads that break off", f"connection closed, nothing left inside: {empty}", not broken and empty),
        (
            "19 whole uploads of cut photos",
            ", ".join(f"{n} × {status}" for status, n in statuses.items()),
            set(statuses) == {422},
        ),
    ]


def odd_requests(service: Served) -> list[Row]:
    """Requests that are wrong as requests."""
    bodies = {
        "21 MB, stated": (request_of("a", bytes(21_000_000)), 413),
        "a form without a file": (head_of(0), 422),
        "17 photos": (many(17), 413),
        "a body packed with gzip": (request_of("a", zlib.compress(b"a"), headers="Content-Encoding: gzip\r\n"), 422),
        "no HTTP at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        "a head of 1 MB": (b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n", 400),
        "a length that is no number": (b"POST /api/predict HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        "a path out of the folder": (b"GET /static/../../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    }
    rows = []
    for what, (wire, wanted) in bodies.items():
        try:
            status, _, body = service.post(wire)
            rows.append((what, f"{status}, {one_line(body)}", status == wanted))
        except (OSError, EOFError) as error:
            rows.append((what, f"connection closed ({type(error).__name__})", wanted == 400))
    return rows


def many(count: int) -> bytes:
    part = b'--6d1c0f\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nx\r\n'
    body = part * count + b"--6d1c0f--\r\n"
    return head_of(len(body)) + body


def slow_clients(service: Served, good: bytes) -> list[Row]:
    """Clients that keep a connection busy for as long as they may; 50 at once, while good ones are answered."""
    wire = request_of("a.jpg", good)

    async def dribble(start: bytes, piece: bytes, wait: float) -> tuple[str, float]:
        started = time.monotonic()
        reader, writer = await asyncio.open_connection(service.host, service.port)
        writer.write(start)
        answer = asyncio.create_task(read_answer(reader))
        try:
            while not answer.done():
                with contextlib.suppress(OSError):
                    writer.write(piece)
                await asyncio.wait([answer], timeout=wait)
            status = str(answer.result()[0])
        except (OSError, EOFError):
            status = "connection closed"
        writer.close()
        return status, time.monotonic() - started

    async def attack(start: bytes, piece: bytes, wait: float) -> tuple[list[tuple[str, float]], list[float]]:
        slow = [asyncio.create_task(dribble(start, piece, wait)) for _ in range(50)]
        await asyncio.sleep(1)
        honest = []
        for _ in range(10):
            started = time.monotonic()
            reader, writer = await asyncio.open_connection(service.host, service.port)
            writer.write(wire)
            assert (await read_answer(reader))[0] == 200
            writer.close()
            honest.append(time.monotonic() - started)
        return await asyncio.gather(*slow), honest

    rows = []
    for what, start, piece, wait, wanted in (
        ("a byte a second of a photo", wire[:2000], b"a", 1.0, "408"),
        ("half a photo and then nothing", wire[: len(wire) // 2], b"", 30.0, "408"),
        ("a byte a second of a head", b"GET / HTTP/1.1\r\nX: ", b"a", 1.0, "connection closed"),
        ("a connection and then nothing", b"", b"", 30.0, "connection closed"),
    ):
        found, honest = asyncio.run(attack(start, piece, wait))
        statuses = {status for status, _ in found}
        longest = max(seconds for _, seconds in found)
        beside = f"a good client beside them {1000 * max(honest):.0f} ms"
        said = f"{', '.join(sorted(statuses))} after {longest:.0f} s; {beside}"
        rows.append((f"50 clients that send {what}", said, statuses == {wanted} and longest < 15))
    return rows


def crowd(service: Served, good: bytes) -> list[Row]:
    """A thousand connections with a photo each, at once."""
    wire = request_of("a.jpg", good)

    async def ask() -> str:
        try:
            reader, writer = await asyncio.open_connection(service.host, service.port)
            writer.write(wire)
            status, headers, _ = await asyncio.wait_for(read_answer(reader), 120)
            writer.close()
            return "503 without Retry-After" if status == 503 and "retry-after" not in headers else str(status)
        except (OSError, EOFError, TimeoutError):
            return "lost"

    async def all_at_once() -> list[str]:
        return await asyncio.gather(*(ask() for _ in range(1000)))

    started = time.monotonic()
    tally = collections.Counter(asyncio.run(all_at_once()))
    took = time.monotonic() - started
    said = ", ".join(f"{count} × {status}" for status, count in sorted(tally.items()))
    return [("1,000 connections with a photo each, room for 64", f"{said}; {took:.1f} s", set(tally) <= {"200", "503"})]


def stopping(service: Served, good: bytes) -> list[Row]:
    """SIGTERM while photos are under way."""
    wire = request_of("a.jpg", good)

    async def run() -> tuple[collections.Counter[str], str]:
        async def ask() -> str:
            reader, writer = await asyncio.open_connection(service.host, service.port)
            writer.write(wire)
            try:
                return str((await read_answer(reader))[0])
            except (OSError, EOFError):
                return "lost"
            finally:
                writer.close()

        asked = [asyncio.create_task(ask()) for _ in range(30)]
        await asyncio.sleep(0.15)
        os.kill(service.process.pid, signal.SIGTERM)
        tally = collections.Counter(await asyncio.gather(*asked))
        await asyncio.sleep(0.5)
        try:
            await asyncio.open_connection(service.host, service.port)
            return tally, "taken"
        except OSError:
            return tally, "refused"

    tally, after = asyncio.run(run())
    code = service.process.wait(60)
    said = ", ".join(f"{count} × {status}" for status, count in sorted(tally.items()))
    return [
        (
            "SIGTERM with 30 photos under way",
            f"{said}; new connections {after}; exit code {code}",
            set(tally) == {"200"} and after == "refused" and code == 0,
        )
    ]


def killed_worker(service: Served, good: bytes) -> list[Row]:
    """One of two workers gets SIGKILL while eight clients ask."""
    wire = request_of("a.jpg", good)
    while len(service.workers) < 2:
        time.sleep(0.1)
    time.sleep(5)  # until the second one answers, too
    victim = service.workers[0]
    again = 0.0

    async def ask(end: float) -> collections.Counter[str]:
        tally = collections.Counter[str]()
        while time.monotonic() < end:
            try:
                reader, writer = await asyncio.open_connection(service.host, service.port)
                writer.write(wire)
                tally[str((await asyncio.wait_for(read_answer(reader), 60))[0])] += 1
                writer.close()
            except (OSError, EOFError):
                tally["lost"] += 1
        return tally

    async def kill() -> None:
        nonlocal again
        await asyncio.sleep(3)
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        while victim in service.workers or len(service.workers) < 2:
            await asyncio.sleep(0.05)
        again = time.monotonic() - killed

    async def run() -> collections.Counter[str]:
        end = time.monotonic() + 20
        *tallies, _ = await asyncio.gather(*(ask(end) for _ in range(8)), kill())
        return sum(tallies, collections.Counter())

    tally = asyncio.run(run())
    said = ", ".join(f"{count:,} × {status}" for status, count in sorted(tally.items()))
    lived = set(tally) <= {"200", "lost"} and tally["lost"] <= 8 and victim not in service.workers
    return [("one of two workers killed, 8 clients asking", f"{said}; a new one after {again:.1f} s", lived)]


if __name__ == "__main__":
    sys.exit(main())
