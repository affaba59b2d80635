"""Seconds and peak memory of `predict`, `audit` and `atlas` as the photos grow.

    python benchmarks/growth.py BUNDLE MANIFEST --folder FOLDER --predict 1000 10000 100000 --judge 500 5000

The photos are the kept rows of MANIFEST of countries that the model knows, as often as it takes. For `predict` each
stands under names of its own in FOLDER, as hard links; FOLDER must be on their file system. For `audit` and `atlas` a
manifest holds so many, one in twenty to train on and the others to judge. Each command runs in a process of its own.
Prints a Markdown table.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import polars as pl

from scale import cost
from whichland.manifest import Manifest, read, write

IN_ONE_FOLDER = 1000


def run(words: Sequence[object]) -> str:
    """Run a command of whichland; give its seconds, its processor's seconds and its peak memory as cells."""
    code, seconds, processor, peak = cost(words)
    if code:
        sys.exit(f"whichland {' '.join(map(str, words))} ended with {code}")
    return f"{seconds:,.1f} | {processor:,.1f} | {peak:.2f}"


def linked(uris: Sequence[str], count: int, folder: Path) -> Path:
    """A folder with `count` photos under names of their own."""
    for number, uri in enumerate(islice(cycle(uris), count)):
        place = folder / f"{number // IN_ONE_FOLDER:04}" / f"{number:07}{Path(uri).suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            os.link(uri, place)
    return folder


def repeated(rows: pl.DataFrame, count: int, file: Path) -> Path:
    """A manifest of `count` rows; a photo that comes again has an id and a group of its own."""
    parts = [
        rows.with_columns(pl.format("{}#{}", name, pl.lit(time_)).alias(name) for name in ("image_id", "group"))
        for time_ in range(-(-count // rows.height))
    ]
    frame = pl.concat(parts).sample(fraction=1, shuffle=True, seed=0).head(count)
    part = pl.when(pl.int_range(pl.len()) % 20 == 0).then(pl.lit("train")).otherwise(pl.lit("val"))
    table = Manifest(frame.with_columns(split=part))
    return write(table.with_step("ingest", table.frame, made_up=True), file)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--predict", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--judge", type=int, nargs="*", default=[500])
    given = parser.parse_args()
    folder: Path = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    known = json.loads((given.bundle / "config.json").read_text())["label_names"]  # a child's peak counts from ours
    rows = read(given.manifest).kept.filter(pl.col("country").is_in(known)).drop("rank", "weight", strict=False)
    uris = [str(Path(uri).resolve()) for uri in rows["uri"]]
    print("| command | photos | s | processor, s | peak memory, GB |\n|---|---|---|---|---|", flush=True)
    for count in given.predict:
        place, out = linked(uris, count, folder / f"photos-{count}"), folder / f"answers-{count}.parquet"
        out.unlink(missing_ok=True)
        print(f"| predict | {count:,} | {run(['predict', given.bundle, place, '-o', out])} |", flush=True)
    for count in given.judge:
        table = repeated(rows, count, folder / f"rows-{count}.parquet")
        for name, flags in {"audit": ["--photos", count], "atlas": []}.items():
            words = [name, given.bundle, table, "--out", folder / f"{name}-{count}", *flags]
            print(f"| {name} | {count:,} | {run(words)} |", flush=True)


if __name__ == "__main__":
    main()
