"""Can two ways of storing the same pictures still be told apart once they are harmonised?

    python benchmarks/harmonise.py FOLDER [--photos 1000] [--shrink 1 0.75 0.5]

Every photo of FOLDER is stored by three pipelines: A at quality 95 with full colours; B at quality 75, 4:2:0,
progressive, at the same size; C enlarged by a quarter, quality 60, progressive, with EXIF. A and B, A and C are
merged, harmonised at several scales, and the source probe is taken before and after. As both sources hold the same
pictures (and the copies of one are in one fold), whatever the probe tells is the pipeline and not the place.
Prints balanced accuracy with its 95 % interval; chance is 50 %.
"""

import argparse
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
from PIL import Image

from whichland.curate.geometry import HarmoniseConfig
from whichland.curate.measure import measure
from whichland.curate.merge import harmonise, merge
from whichland.evaluation.source_probe import source_probe
from whichland.manifest import Manifest
from whichland.sources.columns import complete

SIDE = 384  # of the pictures, before any pipeline; C stores them larger


def pipeline_a(picture: Image.Image, path: Path) -> None:
    picture.save(path, quality=95, subsampling=0)


def pipeline_b(picture: Image.Image, path: Path) -> None:
    picture.save(path, quality=75, progressive=True)


def pipeline_c(picture: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    larger = picture.resize((SIDE * 5 // 4, SIDE * 5 // 4), Image.Resampling.BICUBIC)
    larger.save(path, quality=60, progressive=True, exif=exif)


def stored(files: list[Path], name: str, store: Callable[[Image.Image, Path], None], folder: Path) -> Manifest:
    """Store all pictures by one pipeline; measured manifest, `sequence` ties the copies of a picture."""
    rows = []
    for number, file in enumerate(files):
        path = folder / f"{name}{number}.jpg"
        with Image.open(file) as picture:
            store(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS), path)
        rows.append((f"{name}/{number}", str(path), name, str(number)))
    frame = complete(pl.DataFrame(rows, schema=["image_id", "uri", "source", "sequence"], orient="row"))
    return measure(Manifest(frame.head(0)).with_step("ingest", frame), progress=False)


def show(pair: str, stage: str, table: Manifest) -> None:
    for reading in source_probe(table, progress=False).readings:
        share = f"{reading.balanced_accuracy:.3f} [{reading.low:.3f}, {reading.high:.3f}]"
        print(f"{pair:6} {stage:12} {reading.facts:42} {share}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--shrink", type=float, nargs="+", default=[1.0, 0.75, 0.5])
    arguments = parser.parse_args()
    files = sorted(arguments.folder.rglob("*.jpg"))
    random.Random(0).shuffle(files)
    files = files[: arguments.photos]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = stored(files, "a", pipeline_a, folder)
        for other, store in (("b", pipeline_b), ("c", pipeline_c)):
            both = merge([one, stored(files, other, store, folder)])
            show(f"a, {other}", "as stored", both)
            for scale in arguments.shrink:
                config = HarmoniseConfig(harmonise=True, shrink=scale)
                made = harmonise(both, config, folder / f"images-{other}-{scale}", progress=False)
                show(f"a, {other}", f"shrink {scale:g}", measure(made, progress=False))


if __name__ == "__main__":
    main()
