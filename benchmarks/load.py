"""Sixty-four clients for two minutes against `whichland serve`, and then four times as many as it takes in.

    .venv/bin/python benchmarks/load.py runs/mine/bundle --photos PHOTOS/                 # about four minutes
    .venv/bin/python benchmarks/load.py runs/mine/bundle --photos PHOTOS/ --seconds 20    # a look

The clients run on the same cores as the service. Each sends one photo after the other over one connection. Every
answer is held against `whichland.predict` of the same photo by the same engine. Prints a Markdown table; exit code
1 when an answer was lost or wrong, when memory grew, or when the service did not recover from the overload.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from served import Served, photos_of, read_answer, request_of, served
from whichland.model.model import load as open_model

CLOSE = 1e-4  # batches of other sizes round otherwise
IDLE = 10.0  # seconds after which a connection is not used again
GROWTH = 1.05  # of the memory over the second half of the run


@dataclass
class Tally:
    """What the clients saw."""

    seconds: list[float] = field(default_factory=list)  # of each answer with 200
    refused: list[float] = field(default_factory=list)  # of each with 503
    wrong: int = 0
    lost: int = 0
    other: dict[int, int] = field(default_factory=dict)
    unguided: int = 0  # 503 without Retry-After


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--count", type=int, default=200, help="different photos")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--workers", type=int, default=1, help="processes of the service")
    asked = parser.parse_args()
    paths = photos_of(asked.photos, asked.count)
    runner = open_model(asked.bundle, engine=asked.engine)
    expected = {one.path: dict(zip(one.labels, one.probabilities, strict=True)) for one in runner.predict(paths)}
    wires = [request_of(path.name, path.read_bytes()) for path in paths]
    truths = [expected[str(path)] for path in paths]
    flags = ("--engine", asked.engine, "--explain", "occlusion", "--set", f"queue={asked.clients}")
    flags += ("--workers", str(asked.workers))
    with tempfile.TemporaryDirectory() as folder, served(asked.bundle, Path(folder) / "log", *flags) as service:
        asyncio.run(drive(service, wires, truths, asked.clients, 5))  # warm
        memory, stop = watch(service)
        busy_at = service.resident()
        tally = asyncio.run(drive(service, wires, truths, asked.clients, asked.seconds))
        stop.set()
        crowd = asyncio.run(drive(service, wires, truths, 4 * asked.clients, min(20, asked.seconds)))
        calm = asyncio.run(drive(service, wires, truths, 1, 3))
        inside = metric(service, "whichland_photos_inside"), metric(service, "whichland_upload_bytes")
        batches = metric(service, "whichland_batch_photos_sum") / metric(service, "whichland_batch_photos_count")
    half = memory[len(memory) // 2 :]
    rows = [
        (f"{asked.clients} clients, {asked.seconds:g} s, engine {runner.engine}", f"{len(tally.seconds):,} answers"),
        ("requests/s", f"{len(tally.seconds) / asked.seconds:.1f}"),
        ("p50, p99, longest", ", ".join(f"{1000 * value:.0f} ms" for value in quantiles(tally.seconds))),
        (
            "lost, wrong, other than 200",
            f"{tally.lost}, {tally.wrong}, {len(tally.refused) + sum(tally.other.values())}",
        ),
        ("photos in a batch, mean", f"{batches:.1f}"),
        ("memory at the beginning, half-way, at the end", f"{busy_at:.0f}, {half[0]:.0f}, {half[-1]:.0f} MB"),
        (f"{4 * asked.clients} clients, queue {asked.clients}", f"{len(crowd.seconds):,} answered"),
        (
            "of them requests/s, p99",
            f"{len(crowd.seconds) / min(20, asked.seconds):.1f}, {1000 * quantiles(crowd.seconds)[1]:.0f} ms",
        ),
        (
            "refused with 503 and Retry-After, lost, wrong",
            f"{len(crowd.refused) - crowd.unguided:,}, {crowd.lost}, {crowd.wrong}",
        ),
        ("afterwards one client: p50", f"{1000 * quantiles(calm.seconds)[0]:.0f} ms, {len(calm.refused)} refused"),
    ]
    print("| | |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")
    failures = {
        "lost": tally.lost + crowd.lost + calm.lost,
        "wrong": tally.wrong + crowd.wrong + calm.wrong,
        "refused although there was room": len(tally.refused) + len(calm.refused),
        "other answers": sum(tally.other.values()) + sum(crowd.other.values()),
        "503 without Retry-After": crowd.unguided,
        "nothing refused in the crowd": not crowd.refused,
        "memory grew": half[-1] > GROWTH * half[0],
        "something left inside": any(inside),
    }
    found = {name: int(value) for name, value in failures.items() if value}
    print(json.dumps(found) if found else "all as it should be", file=sys.stderr)
    return bool(found)


async def drive(
    service: Served, wires: list[bytes], truths: list[dict[str, float]], clients: int, seconds: float
) -> Tally:
    """Let so many clients ask for so long; each finishes the request it is at."""
    tally, end = Tally(), time.monotonic() + seconds
    await asyncio.gather(*(client(service, wires, truths, tally, end, seed) for seed in range(clients)))
    return tally


async def client(
    service: Served, wires: list[bytes], truths: list[dict[str, float]], tally: Tally, end: float, seed: int
) -> None:
    random_ = random.Random(seed)
    reader, writer = await asyncio.open_connection(service.host, service.port)
    started = time.monotonic()
    while time.monotonic() < end:
        at = random_.randrange(len(wires))
        if time.monotonic() - started > IDLE:  # the service may have closed it, as it does with idle ones
            writer.close()
            reader, writer = await asyncio.open_connection(service.host, service.port)
        started = time.monotonic()
        try:
            writer.write(wires[at])
            await writer.drain()
            status, headers, body = await asyncio.wait_for(read_answer(reader), 120)
        except (OSError, EOFError, TimeoutError, ValueError):
            tally.lost += 1
            reader, writer = await asyncio.open_connection(service.host, service.port)
            continue
        took, started = time.monotonic() - started, time.monotonic()
        if status == 200:
            tally.seconds.append(took)
            probabilities = json.loads(body)["results"][0].get("probabilities", {})
            tally.wrong += not (
                probabilities.keys() == truths[at].keys()
                and all(abs(probabilities[code] - truths[at][code]) < CLOSE for code in probabilities)
            )
        elif status == 503:
            tally.refused.append(took)
            tally.unguided += "retry-after" not in headers
            await asyncio.sleep(0.25)  # less patient than told: the crowd is to press
        else:
            tally.other[status] = tally.other.get(status, 0) + 1
        if headers.get("connection") == "close":
            writer.close()
            reader, writer = await asyncio.open_connection(service.host, service.port)
    writer.close()


def watch(service: Served) -> tuple[list[float], threading.Event]:
    """Note the memory every second until told to stop."""
    noted, stop = [service.resident()], threading.Event()

    def note() -> None:
        while not stop.wait(1):
            noted.append(service.resident())

    threading.Thread(target=note, daemon=True).start()
    return noted, stop


def quantiles(seconds: list[float]) -> tuple[float, float, float]:
    if len(seconds) < 2:
        return (float("nan"),) * 3
    cuts = statistics.quantiles(seconds, n=100)
    return cuts[49], cuts[98], max(seconds)


def metric(service: Served, name: str) -> float:
    text = service.get("/metrics")[1].decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.split(" ")[0] == name)


if __name__ == "__main__":
    sys.exit(main())
