"""Small manifests and photos for the tests of the curate steps."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from whichland.manifest import SCHEMA, Manifest

STEPS = ("sources", "geo", "measure")


def photo(seed: int, *, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A picture with structure at every scale, another for every seed."""
    random = np.random.default_rng(seed)
    picture = np.zeros((size[1], size[0], 3))
    for cells in (3, 8, 24, 80):
        noise = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        picture += np.asarray(noise.resize(size, Image.Resampling.BICUBIC), dtype=float) / 4
    return Image.fromarray(picture.round().astype(np.uint8))


def save(picture: Image.Image, path: Path, quality: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=quality)
    return path


def measured(
    count: int,
    *,
    countries: Sequence[str | None] = ("FR", "JP", "NA"),
    sequences: Sequence[str | None] = (None,),
    seed: int = 0,
    **columns: Sequence[object],
) -> Manifest:
    """A manifest as `measure` leaves it, of photos that do not exist; list-likes are repeated along the rows."""
    random = np.random.default_rng(seed)
    names = [f"made/{seed}-{row:05}" for row in range(count)]
    values: dict[str, Sequence[object]] = {
        "image_id": names,
        "uri": [f"/nowhere/{name}.jpg" for name in names],
        "source": ["made"],
        "sequence": sequences,
        "label_country": countries,
        "country": countries,
        "width": [640],
        "height": [480],
        "bytes": [50_000],
        "sha256": [hashlib.sha256(name.encode()).hexdigest() for name in names],
        "phash": random.integers(0, 2**64, count, dtype=np.uint64).tolist(),
        "brightness": random.uniform(0.3, 0.7, count).tolist(),
        "contrast": random.uniform(0.1, 0.3, count).tolist(),
        "sharpness": [1000.0],
        "unreadable": [None],
        **columns,
    }
    frame = pl.DataFrame(
        [
            pl.Series(
                column.name,
                [values.get(column.name, [None])[row % len(values.get(column.name, [None]))] for row in range(count)],
                dtype=column.dtype,
            )
            for column in SCHEMA
            if column.writer in STEPS
        ]
    )
    return Manifest(frame.head(0)).with_step("ingest", frame).with_step("measure", frame, measured=count, waiting=0)
