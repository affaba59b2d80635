"""Scenes as files, rendered by several processes."""

import io
import os
import signal
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from whichland.progress import Progress
from whichland.sources.synthetic.encode import encode_jpeg
from whichland.sources.synthetic.layout import place
from whichland.sources.synthetic.shortcuts import FILE_SHORTCUTS
from whichland.whole_file import whole_file

if TYPE_CHECKING:
    from whichland.sources.synthetic.world import WorldConfig

FEW = 48  # scenes that one process renders sooner than others start


def render_files(config: "WorldConfig", folder: Path, names: list[str], workers: int | None, progress: bool) -> None:
    """Render the scenes whose files are missing; `names` gives each scene's file name, in order."""
    for part in ("photos", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    there = {entry.name for entry in os.scandir(folder / "photos")}
    missing = [(index, name) for index, name in enumerate(names) if f"{name}.jpg" not in there]
    workers = min(workers or os.cpu_count() or 1, max(len(missing) // FEW + 1, 1))
    with Progress("rendering scenes", total=len(names), show=progress) as bar:
        bar.advance(len(names) - len(missing))
        jobs = [(config, folder, batch) for batch in _batches(config, missing)]
        if workers == 1:
            for job in jobs:
                bar.advance(_render_batch(job))
            return
        with get_context("spawn").Pool(workers, initializer=_leave_interrupts_to_the_parent) as pool:
            for count in pool.imap_unordered(_render_batch, jobs):
                bar.advance(count)


def _batches(config: "WorldConfig", missing: list[tuple[int, str]]) -> list[list[tuple[int, str]]]:
    """Put the scenes of a drive together, so that one process plans the drive once."""
    drives: dict[tuple[int, int], list[tuple[int, str]]] = {}
    for index, name in missing:
        spot = place(config.seed, index, config.countries, config.frames_per_drive)
        drives.setdefault((spot.block, spot.drive), []).append((index, name))
    return list(drives.values())


def _render_batch(job: tuple["WorldConfig", Path, list[tuple[int, str]]]) -> int:
    """Render and write some scenes; the photo comes last, so that where it stands its mask does too."""
    from whichland.sources.synthetic.world import render

    config, folder, batch = job
    for index, name in batch:
        scene = render(config, index)
        buffer = io.BytesIO()
        Image.fromarray(scene.mask).save(buffer, "PNG", compress_level=1)
        _put(folder / "masks" / f"{name}.png", buffer.getvalue())
        subsampling = FILE_SHORTCUTS.get(config.plant.get(scene.country, ""), "420")
        _put(folder / "photos" / f"{name}.jpg", encode_jpeg(scene.image, [config.seed, index], subsampling))
    return len(batch)


def _put(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with whole_file(path) as partial:
        partial.write_bytes(data)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
