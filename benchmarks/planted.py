"""Planted duplicates and drives in a synthetic world: is every pair found, and does a changed row show?

    .venv/bin/python benchmarks/planted.py [--scenes 480] [--folder FOLDER] [--tone 0.03]

Renders a world of drives, takes the sequence from every third drive and the coordinates from another third, so
that only places or only sequences tie them, and plants altered copies of single scenes that have neither. Each
kind of copy is counted: planted, found (in the group of its original), across (the two in different splits). Then
one row's split is changed, in both ways for a sample of rows, and `check` must reject each file. One JSON line;
fails when a kind listed in `MUST` is not found to the last pair, when a drive is torn, or when a changed file
passes.
"""

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image, ImageOps

from whichland.curate.check import check
from whichland.curate.clean import clean
from whichland.curate.measure import measure
from whichland.curate.split import SPLITS, SplitConfig, split
from whichland.manifest import Manifest, read, write
from whichland.sources.columns import complete
from whichland.sources.synthetic.files import write as render
from whichland.sources.synthetic.world import WorldConfig

Copy = Callable[[Image.Image], tuple[Image.Image, int]]  # the altered picture and its JPEG quality


def crop(part: float) -> Copy:
    def cut(picture: Image.Image) -> tuple[Image.Image, int]:
        width, height = picture.size
        return picture.crop((round(width * part), round(height * part), width, height)), 90

    return cut


def lighter(levels: int) -> Copy:
    return lambda picture: (picture.point(lambda value: min(255, value + levels)), 90)


def resized(scale: float) -> Copy:
    return lambda p: (p.resize((round(p.width * scale), round(p.height * scale)), Image.Resampling.BICUBIC), 90)


COPIES: dict[str, Copy] = {
    "quality 60": lambda picture: (picture, 60),
    "quality 25": lambda picture: (picture, 25),
    "half size": resized(0.5),
    "1.5 times the size": resized(1.5),
    "a level or two lighter (0.8 %)": lighter(2),
    "cropped by 1 % on two sides": crop(0.01),
    "cropped by 2 % on two sides": crop(0.02),
    "cropped by 5 % on two sides": crop(0.05),
    "cropped by 10 % on two sides": crop(0.1),
    "lighter by 5 levels (2 %)": lighter(5),
    "lighter by 25 levels (10 %)": lighter(25),
    "mirrored": lambda picture: (ImageOps.mirror(picture), 90),
}
MUST = (*tuple(COPIES)[:7], "lighter by 5 levels (2 %)", "lighter by 25 levels (10 %)")


def planted(folder: Path, scenes: int) -> tuple[Manifest, pl.DataFrame]:
    """The measured table of the world with its copies, and the copies: image_id, kind, original."""
    world = render(WorldConfig(scenes=scenes, seed=7), folder).drop("mask_uri")
    drives = world["sequence"].unique().sort()
    third = {name: number % 3 for number, name in enumerate(drives)}
    kind = world["sequence"].replace_strict(third, return_dtype=pl.Int64)
    firsts = world.unique("sequence", keep="first", maintain_order=True)
    copies = []
    for number, row in enumerate(firsts.iter_rows(named=True)):
        name = tuple(COPIES)[number % len(COPIES)]
        altered, quality = COPIES[name](Image.open(row["uri"]).convert("RGB"))
        buffer = io.BytesIO()
        altered.save(buffer, "JPEG", quality=quality)
        file = folder / "copies" / f"{number}.jpg"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(buffer.getvalue())
        copies.append({"image_id": f"copy/{number}", "uri": str(file), "kind": name, "original": row["image_id"]})
    bare = world.with_columns(
        sequence=pl.when(kind != 0).then("sequence"),
        lat=pl.when(kind != 1).then("lat"),
        lon=pl.when(kind != 1).then("lon"),
    )
    added = pl.DataFrame(copies)
    labels = dict(world.select("image_id", "label_country").iter_rows())
    rows = added.select("image_id", "uri", source=pl.lit("copies")).with_columns(
        label_country=added["original"].replace_strict(labels)
    )
    frame = complete(pl.concat([bare, rows], how="diagonal_relaxed"))
    begun = Manifest(frame.head(0)).with_step("ingest", frame, origin="planted")
    return measure(begun, workers=1, progress=False), added.with_columns(sequence=firsts["sequence"])


def found_of(table: pl.DataFrame, copies: pl.DataFrame) -> dict[str, dict[str, int]]:
    """By kind of copy: planted, found, across."""
    where = table.select("image_id", "group", "split")
    pairs = copies.join(where, on="image_id").join(where, left_on="original", right_on="image_id", suffix="_of")
    counts = pairs.group_by("kind").agg(
        planted=pl.len(),
        found=(pl.col("group") == pl.col("group_of")).sum(),
        across=(pl.col("split") != pl.col("split_of")).sum(),
    )
    by_kind = {row.pop("kind"): row for row in counts.iter_rows(named=True)}
    return {kind: by_kind[kind] for kind in COPIES if kind in by_kind}


def torn_drives(table: pl.DataFrame, folder: Path, scenes: int) -> int:
    """Drives of the world whose frames stand in more than one group, whatever the table was told of them."""
    world = render(WorldConfig(scenes=scenes, seed=7), folder, progress=False)
    drives = table.join(world.select("image_id", drive="sequence"), on="image_id")
    return drives.group_by("drive").agg(pl.col("group").n_unique()).filter(pl.col("group") > 1).height


def changed_rows(manifest: Manifest, file: Path, rows: int) -> tuple[int, int]:
    """Write files in which one row's split was changed; return how many, and how many of them `check` rejects."""
    tried = rejected = 0
    sample = np.random.default_rng(0).choice(manifest.kept.height, rows, replace=False)
    names = manifest.kept["image_id"]
    for name in (names[int(row)] for row in sample):
        for part in SPLITS:
            here = pl.col("image_id") == name
            frame = manifest.frame.with_columns(split=pl.when(here).then(pl.lit(part)).otherwise("split"))
            if frame["split"].equals(manifest.frame["split"], null_equal=True):
                continue
            write(Manifest(frame, manifest.history), file)
            tried += 1
            rejected += any(line.startswith("certificate: the hash") for line in check(read(file)))
    return tried, rejected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=480)
    parser.add_argument("--folder", type=Path, help="where the world is rendered [default: a temporary one]")
    parser.add_argument("--rows", type=int, default=20, help="rows whose split is changed, each in both ways")
    parser.add_argument("--tone", type=float, default=SplitConfig().near_duplicate_tone)
    args = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.folder or Path(temporary)).resolve()
        measured, copies = planted(folder, args.scenes)
        table = split(clean(measured), SplitConfig(near_duplicate_tone=args.tone))
        problems = check(table)
        kinds = found_of(table.frame, copies)
        torn = torn_drives(table.frame, folder, args.scenes)
        tried, rejected = changed_rows(table, Path(temporary) / "changed.parquet", args.rows)
    certificate = table.history[-1].params["certificate"]
    result = {
        "photos": len(table),
        "drives": copies.height,
        "drives_torn": torn,
        "copies": kinds,
        "problems": problems,
        "changed_files": tried,
        "rejected": rejected,
        "certificate": {name: certificate[name] for name in ("groups", "largest_group", "nearest_km")},
        "seconds": round(time.perf_counter() - started, 1),
    }
    print(json.dumps(result))
    missed = [kind for kind in MUST if kind in kinds and kinds[kind]["found"] < kinds[kind]["planted"]]
    if missed or torn or problems or rejected < tried:
        sys.exit(f"failed: missed {missed}, {torn} drives torn, problems {problems}, {rejected} of {tried} rejected")


if __name__ == "__main__":
    main()
