"""Rows a second and peak memory of every table step, on rows that are made up.

    python benchmarks/scale.py --rows 5000000 --folder /tmp/scale

Makes a manifest as `ingest` and `measure` would leave it: drives of 20 photos, 10 m apart, that start anywhere on
land or in coastal waters, true labels but for one row in a thousand, random hashes, and two re-encoded twins in a
hundred rows. Each step then runs as its own command, on its own file, so that its peak memory is its own. Prints a
Markdown table and a JSON line.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from whichland.geo.borders import country_of
from whichland.manifest import COLUMNS, Manifest, write

DRIVE = 20  # photos
STEP_DEG = 0.00009  # 10 m of latitude
TWINS = 0.02
WRONG = 0.001
BLOCK = 100_000  # drives looked up at once


def land_points(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points spread evenly over the land between 60° south and 72° north: lat, lon, country."""
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    while sum(len(part[0]) for part in parts) < count:
        lat = np.degrees(np.arcsin(random.uniform(np.sin(np.radians(-60)), np.sin(np.radians(72)), BLOCK)))
        lon = random.uniform(-180, 180, BLOCK)
        code = np.asarray(country_of(lat, lon)).astype(str)
        land = np.char.str_len(code) == 2
        parts.append((lat[land], lon[land], code[land]))
    lat, lon, code = (np.concatenate(column)[:count] for column in zip(*parts, strict=True))
    return lat, lon, code


def made_up(rows: int, seed: int = 0) -> pl.DataFrame:
    """A measured manifest of `rows` rows."""
    random = np.random.default_rng(seed)
    drives = -(-rows // DRIVE)
    lat, lon, code = land_points(random, drives)
    drive = np.repeat(np.arange(drives), DRIVE)[:rows]
    frame_number = np.tile(np.arange(DRIVE), drives)[:rows]
    phash = random.integers(0, 2**64, rows, dtype=np.uint64)
    brightness, contrast = (random.normal(0.45, 0.1, rows).clip(0, 1), random.normal(0.2, 0.04, rows).clip(0, 0.5))
    twins = random.choice(rows, 2 * int(rows * TWINS / 2), replace=False).reshape(2, -1)
    phash[twins[1]] = phash[twins[0]] ^ (np.uint64(1) << random.integers(0, 64, twins.shape[1], dtype=np.uint64))
    brightness[twins[1]], contrast[twins[1]] = brightness[twins[0]] + 0.001, contrast[twins[0]]
    label = code[drive]
    wrong = random.choice(rows, int(rows * WRONG), replace=False)
    label[wrong] = code[random.integers(0, drives, wrong.size)]
    row = pl.DataFrame({"row": np.arange(rows), "drive": drive})
    texts = row.select(
        image_id=pl.format("made-up/{}", pl.col("row")),
        uri=pl.format("/photos/{}/{}.jpg", pl.col("drive"), pl.col("row")),
        source=pl.lit("made-up"),
        sequence=pl.format("drive-{}", pl.col("drive")),
        sha256=pl.col("row").hash(seed).cast(pl.String)
        + pl.col("row").hash(seed + 1).cast(pl.String)
        + pl.lit("0" * 26),
        creator=pl.format("creator-{}", pl.col("drive") % 5000),
        license=pl.lit("CC-BY-SA-4.0"),
        captured_at=pl.lit("2024-05-01T12:00:00Z"),
    )
    numbers = pl.DataFrame(
        {
            "lat": lat[drive] + frame_number * STEP_DEG,
            "lon": lon[drive],
            "label_country": label,
            "country": label,
            "width": np.full(rows, 1024),
            "height": np.full(rows, 768),
            "bytes": random.integers(60_000, 300_000, rows),
            "phash": phash,
            "brightness": brightness,
            "contrast": contrast,
            "sharpness": random.lognormal(6.5, 1, rows),
            "entropy": random.normal(7, 0.4, rows).clip(0, 8).round(4),
        }
    )
    frame = pl.concat([texts, numbers], how="horizontal").with_columns(
        pl.lit(None, dtype=pl.String).alias("unreadable")
    )
    return frame.with_columns(pl.col(name).cast(COLUMNS[name].dtype) for name in frame.columns)


def cost(words: Sequence[object]) -> tuple[int, float, float, float]:
    """Run a command of whichland in a process of its own; its exit code, seconds, processor's seconds, peak GB."""
    start, command = time.perf_counter(), [sys.executable, "-m", "whichland", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    return process.returncode, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20


def run(step: str, command: list[str], rows: int) -> dict[str, float | str]:
    """Run one command; return rows a second, seconds and its peak memory in GB."""
    code, seconds, _, peak = cost(["data", *command])
    if code and step != "check":  # made-up photos are not there to be read again
        raise SystemExit(f"{step} ended with {code}")
    return {"step": step, "rows_per_s": round(rows / seconds), "seconds": round(seconds, 1), "peak_gb": round(peak, 2)}


def make(rows: int, folder: Path) -> None:
    """Write the manifest, and its rows dealt out to two sources for merging."""
    table = Manifest(made_up(rows))
    for half in (0, 1):
        part = table.frame.gather_every(2, offset=half).with_columns(
            source=pl.lit(f"half-{half}"), image_id=pl.format(f"half-{half}/{{}}", pl.int_range(pl.len()))
        )
        write(Manifest(part).with_step("ingest", part, made_up=True), folder / f"half-{half}.parquet")
    points = table.frame.select("lat", "lon", "sequence", id="image_id", country="label_country")
    points.write_csv(folder / "points.csv")
    done = table.with_step("ingest", table.frame, made_up=True)
    write(done.with_step("measure", table.frame, measured=rows, waiting=0), folder / "made.parquet")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--folder", type=Path, default=Path("runs/scale"))
    arguments.add_argument("--only", help="steps to run, comma-separated")
    given = arguments.parse_args()
    folder: Path = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "made.parquet").exists():  # in a process of its own: a child's peak counts from its parent's size
        making = multiprocessing.get_context("spawn").Process(target=make, args=(given.rows, folder))
        making.start()
        making.join()
    names = ("made", "ingested", "half-0", "half-1", "merged", "geocoded", "clean", "split", "balanced")
    path = {name: str(folder / f"{name}.parquet") for name in names}
    rows = pl.scan_parquet(path["made"]).select(pl.len()).collect().item()
    steps = {
        "ingest": ["ingest", f"points:{folder / 'points.csv'}", "-o", path["ingested"]],
        "merge": ["merge", path["half-0"], path["half-1"], "-o", path["merged"]],
        "geocode": ["geocode", path["made"], "-o", path["geocoded"]],
        "clean": ["clean", path["geocoded"], "-o", path["clean"]],
        "split": ["split", path["clean"], "-o", path["split"]],
        "balance": ["balance", path["split"], "-o", path["balanced"], "--cap", "2000"],
        "stats": ["stats", path["balanced"], "--json"],
        "check": ["check", path["balanced"]],
    }
    wanted = given.only.split(",") if given.only else list(steps)
    found = [run(step, steps[step], rows) for step in steps if step in wanted]
    print("\n| step | rows/s | s | peak memory, GB |\n|---|---|---|---|")
    for line in found:
        print(f"| {line['step']} | {line['rows_per_s']:,} | {line['seconds']} | {line['peak_gb']} |")
    print(json.dumps({"rows": rows, "steps": found}))


if __name__ == "__main__":
    main()
