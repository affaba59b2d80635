"""Photos that a tiny model learns in seconds: noise, with a tint for each of three countries."""

from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from whichland.manifest import Manifest, write

COLOURS = {"FR": (200, 60, 60), "JP": (60, 200, 60), "NA": (60, 60, 200)}


def tinted(folder: Path, count: int = 40) -> Path:
    """Write `count` photos and their manifest, every eighth for validation; return the manifest's path."""
    generator = np.random.default_rng(0)
    rows = []
    for i in range(count):
        code = list(COLOURS)[i % 3]
        pixels = np.array(COLOURS[code]) + generator.integers(-50, 50, (72, 96, 3))
        path = folder / f"{i:03d}.jpg"
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=90)
        split = "val" if i % 8 == 7 else "train"
        rows.append(
            {"image_id": f"t/{i:03d}", "uri": str(path), "source": "t", "country": code, "split": split}
        )
    frame = pl.DataFrame(rows).with_columns(drop_reason=pl.lit(None, dtype=pl.String))
    return write(Manifest(frame), folder / "m.parquet")
