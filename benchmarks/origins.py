"""What ingesting costs: OSV-5M's form at any size, and EXIF of real photos.

    .venv/bin/python benchmarks/origins.py osv5m --rows 4900000 --folder /tmp/osv   # 2.9 GB, left there
    .venv/bin/python benchmarks/origins.py exif FOLDER_OF_PHOTOS

The table is made up, row by row as long as the real one (train.csv is 2.92 GB); of the archives only the directory
is written, which is all that ingesting reads. Memory is the peak of what the process itself holds (RssAnon); pages
of the table that the system keeps because they were read lie outside it, as it takes them back when it needs them.
"""

import argparse
import struct
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl

from whichland.sources.exif import read_exif
from whichland.sources.files import walk
from whichland.sources.ingest import ingest

PER_ARCHIVE = 50_000


def write_archive(path: Path, names: list[str]) -> None:
    """Write the directory of a zip archive without the members."""
    directory = bytearray()
    for name in names:
        head = (0x02014B50, 20, 20, 0, 0, 0, 0, 0, 100, 100, len(name), 0, 0, 0, 0, 0, 0)
        directory += struct.pack("<IHHHHHHIIIHHHHHII", *head) + name.encode()
    count = len(names)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(directory), 0, 0)
    path.write_bytes(bytes(directory) + end)


def write_osv5m(folder: Path, rows: int) -> None:
    """Write train.csv and images/train/NN.zip in the publishers' form."""
    random = np.random.default_rng(0)
    ids = np.unique(random.integers(10**14, 9 * 10**15, rows + 1000))[:rows]
    random.shuffle(ids)
    (folder / "images" / "train").mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, rows, PER_ARCHIVE)):
        names = [f"{number:02}/{id_}.jpg" for id_ in ids[start : start + PER_ARCHIVE]]
        write_archive(folder / "images" / "train" / f"{number:02}.zip", names)

    def drawn(kinds: int, form: str = "{}") -> pl.Series:
        return pl.Series([form.format(kind) for kind in range(kinds)]).gather(random.integers(0, kinds, rows))

    table = pl.DataFrame(
        {
            "id": ids.astype(str),
            "latitude": random.uniform(-60, 70, rows),
            "longitude": random.uniform(-180, 180, rows),
            "country": pl.Series(["US", "FR", "NA", "JP", "XK", "ZA"]).gather(random.integers(0, 6, rows)),
            "sequence": drawn(1_000_000, "sequence{:014}"),
            "captured_at": random.integers(1.4e12, 1.7e12, rows).astype(str),
            "region": drawn(3_000, "Region Number {}"),
            "sub-region": drawn(20_000, "Sub-Region Number {}"),
            "city": drawn(50_000, "City Number {}"),
            **{name: drawn(30) for name in ("land_cover", "drive_side", "climate", "soil")},
            **{name: random.uniform(0, 9, rows) for name in ("road_index", "dist_sea")},
            **{f"quadtree_10_{leaf}": drawn(20_000) for leaf in (500, 1000, 2500, 5000, 12500, 25000, 50000)},
            "creator_username": drawn(30_000, "somebody{}"),
            "creator_id": drawn(30_000, "11133622109{:04}.0"),
        }
    )
    url = "https://example.org/{}?stp=s2048x1536&ccb=10-5&oh=00_AfDsomethingthatislong&oe=66AAAAAA&_nc_sid=201bca"
    place = pl.format("{}_{}_{}", "city", "sub-region", "region")
    table = table.with_columns(pl.format(url, "id").alias("thumb_original_url"), place.alias("unique_city"))
    table.write_csv(folder / "train.csv")


class PeakMemory(threading.Thread):
    """Watch what the process holds, ten times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_kb = 0

    def run(self) -> None:
        while True:
            status = Path("/proc/self/status").read_text(encoding="ascii")
            held = next(line for line in status.splitlines() if line.startswith("RssAnon"))
            self.peak_kb = max(self.peak_kb, int(held.split()[1]))
            time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    osv5m = parts.add_parser("osv5m")
    osv5m.add_argument("--rows", type=int, default=1_000_000)
    osv5m.add_argument("--folder", type=Path, required=True)
    parts.add_parser("exif").add_argument("photos", type=Path)
    args = parser.parse_args()
    if args.part == "exif":
        paths = [str(args.photos / path) for path in walk(args.photos)[0]]
        for turn in ("first", "again"):
            start = time.perf_counter()
            placed = read_exif(paths)["lat"].is_not_null().sum()
            rate = len(paths) / (time.perf_counter() - start)
            print(f"{turn}: {len(paths):,} photos, {placed:,} with coordinates, {rate:,.0f} photos/s")
        return
    if not (args.folder / "train.csv").is_file():
        write_osv5m(args.folder, args.rows)
    memory = PeakMemory()
    memory.start()
    start = time.perf_counter()
    made = ingest(f"osv5m:{args.folder}")
    seconds = time.perf_counter() - start
    print(
        f"{len(made):,} rows in {seconds:.1f} s, {len(made) / seconds:,.0f} rows/s, "
        f"{memory.peak_kb / 1e6:.2f} GB at most, {made.frame.estimated_size() / 1e9:.2f} GB the table itself"
    )


if __name__ == "__main__":
    main()
