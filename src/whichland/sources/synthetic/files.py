"""A folder of scenes with its table, rendered by several processes.

frame = write(parse("synthetic:scenes=2400,seed=0"), Path("data/synthetic"))

The size, quality and tables of a JPEG are drawn before anything is known of the scene, so they reveal nothing of it.
"""

import io
import os
import signal
import struct
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg
from PIL import Image

from whichland.progress import Progress
from whichland.sources.synthetic.canvas import U8
from whichland.sources.synthetic.render import FILE_SHORTCUTS
from whichland.sources.synthetic.world import Facts, WorldConfig, describe, render, spot
from whichland.whole_file import whole_file
from whichland.workers import without_main

if TYPE_CHECKING:
    import polars as pl

ATTRIBUTION = "whichland's synthetic world"
FEW = 48  # scenes that one process renders sooner than others start
QUALITY = (68, 92)  # lowest and highest
BYTES_A_PIXEL = (0.52, 0.66)  # drawn size of the file; no scene needs so much at the highest quality
_LONGEST = 65_535 - 2  # bytes of comment in one segment

Batch = list[tuple[int, str]]  # number and file name of the scenes of one drive


def write(config: WorldConfig, folder: Path, workers: int | None = None, progress: bool = True) -> "pl.DataFrame":
    """Render all scenes into folder/photos and folder/masks and return their table.

    The table has the manifest's source columns and `mask_uri`. Files already there are kept, so an interrupted
    run resumes where it stopped. `workers` defaults to the number of cores.
    """
    import polars as pl

    folder = Path(folder).resolve()
    facts = pl.DataFrame(
        [describe(config, index) for index in range(config.scenes)], schema=Facts._fields, orient="row"
    )
    _render_files(config, folder, facts["name"].to_list(), workers, progress)
    return facts.select(
        pl.format("synthetic-{}/{}", pl.lit(config.seed), "name").alias("image_id"),
        pl.format("{}/photos/{}.jpg", pl.lit(str(folder)), "name").alias("uri"),
        pl.lit("synthetic").alias("source"),
        *("sequence", "lat", "lon"),
        pl.col("country").alias("label_country"),
        "captured_at",
        pl.lit(None, pl.String()).alias("creator"),
        pl.lit("CC0-1.0").alias("license"),
        pl.lit(ATTRIBUTION).alias("attribution"),
        pl.format("{}/masks/{}.png", pl.lit(str(folder)), "name").alias("mask_uri"),
    )


def _render_files(config: WorldConfig, folder: Path, names: list[str], workers: int | None, progress: bool) -> None:
    """Render the scenes whose files are missing; `names` gives each scene's file name, in order."""
    for part in ("photos", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    there = {entry.name for entry in os.scandir(folder / "photos")}
    drives: dict[tuple[int, int], Batch] = {}  # so that one process plans a drive once
    for index, name in enumerate(names):
        if f"{name}.jpg" not in there:
            found = spot(config, index)
            drives.setdefault((found.block, found.drive), []).append((index, name))
    missing = sum(map(len, drives.values()))
    workers = min(workers or os.cpu_count() or 1, missing // FEW + 1)
    jobs = [(config, folder, batch) for batch in drives.values()]
    with Progress("rendering scenes", total=len(names), show=progress, unit="scenes") as bar:
        bar.advance(len(names) - missing)
        if workers == 1:
            for job in jobs:
                bar.advance(_render_batch(job))
            return
        # interrupts are left to the parent
        with without_main():
            started = get_context("spawn").Pool(workers, signal.signal, (signal.SIGINT, signal.SIG_IGN))
        with started as pool:
            for count in pool.imap_unordered(_render_batch, jobs):
                bar.advance(count)


def _render_batch(job: tuple[WorldConfig, Path, Batch]) -> int:
    """Render and write some scenes; the photo is written last, so that its mask exists where it does."""
    config, folder, batch = job
    for index, name in batch:
        scene = render(config, index)
        mask = io.BytesIO()
        Image.fromarray(scene.mask).save(mask, "PNG", compress_level=1)
        subsampling = FILE_SHORTCUTS.get(config.plant.get(scene.country, ""), "420")
        photo = encode_jpeg(scene.image, [config.seed, index], subsampling)
        for path, data in ((f"masks/{name}.png", mask.getvalue()), (f"photos/{name}.jpg", photo)):
            with whole_file(folder / path) as partial:
                partial.write_bytes(data)
    return len(batch)


def encode_jpeg(picture: U8, key: Sequence[int], subsampling: str = "420") -> bytes:
    """Encode at a drawn quality and fill up with comment segments to a drawn number of bytes.

    Both draws depend on `key` alone; another `subsampling` of the colours than everywhere else is a shortcut,
    planted on purpose.
    """
    rng = np.random.Generator(np.random.PCG64([*key, 3]))
    quality = int(rng.integers(QUALITY[0], QUALITY[1] + 1))
    low, high = BYTES_A_PIXEL
    target = 2_000 + int(picture.shape[0] * picture.shape[1] * (low + (high - low) * rng.random()))
    while True:
        data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality, colorsubsampling=subsampling)
        missing = target - len(data)
        if missing >= 4:
            break
        quality -= 6
    comments = []  # segments of marker FFFE, length, zeros
    while missing:
        body = min(missing - 4, _LONGEST)
        if 0 < missing - 4 - body < 4:
            body -= 4  # leave room for one more whole segment
        comments.append(b"\xff\xfe" + struct.pack(">H", body + 2) + bytes(body))
        missing -= body + 4
    return data[:2] + b"".join(comments) + data[2:]
