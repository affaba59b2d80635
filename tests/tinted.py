"""Photos that a tiny model learns in seconds: noise, with a tint for each of three countries."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from whichland.manifest import Manifest, write

COLOURS = {"FR": (200, 60, 60), "JP": (60, 200, 60), "NA": (60, 60, 200)}


def every_eighth(number: int) -> str:
    """The split of a photo: every eighth is for validation."""
    return "val" if number % 8 == 7 else "train"


def tinted(
    folder: Path,
    count: int = 40,
    *,
    colours: Mapping[str, tuple[int, int, int]] = COLOURS,
    size: tuple[int, int] = (72, 96),
    split: Callable[[int], str] = every_eighth,
) -> Path:
    """Write `count` photos of `size` (height, width) and their manifest; return the manifest's path."""
    generator = np.random.default_rng(0)
    rows = []
    for i in range(count):
        code = list(colours)[i % len(colours)]
        pixels = np.array(colours[code]) + generator.integers(-50, 50, (*size, 3))
        path = folder / f"{i:03d}.jpg"
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=90)
        rows.append({"image_id": f"t/{i:03d}", "uri": str(path), "country": code, "split": split(i)})
    frame = pl.DataFrame(rows).with_columns(source=pl.lit("t"), drop_reason=pl.lit(None, dtype=pl.String))
    return write(Manifest(frame), folder / "m.parquet")
