"""Arrays of many photos on disk: made once in chunks, verified by hash, memory-mapped, read by number.

A chunk is two files: `NAME.bin`, the arrays one after another, and `NAME.json`, which holds their shapes and the
SHA-256 of the first. NAME is a hash of what the arrays were made from, so a photo that changed has no chunk yet,
and what an interrupted build has finished is found again.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist
from accelerate import Accelerator
from numpy.typing import NDArray

from whichland.errors import UserError
from whichland.images.decode import read_bytes
from whichland.progress import Progress
from whichland.whole_file import sweep, whole_file

CHUNK = 256  # arrays; what an interruption may lose, and what a changed photo makes anew

Array = NDArray[Any]


@dataclass(frozen=True)
class Share:
    """Which of the processes of a job this one is, and how they wait for each other."""

    rank: int = 0
    world: int = 1
    wait: Callable[[], None] = lambda: None
    stopped: Callable[[], bool] = lambda: False  # asked between chunks

    @classmethod
    def of(cls, accelerator: Accelerator, stopped: Callable[[], bool] = lambda: False) -> "Share":
        """This process's share of the job that the accelerator knows."""
        return cls(accelerator.process_index, accelerator.num_processes, accelerator.wait_for_everyone, stopped)


ALONE = Share()


class Packs(Sequence[Array]):
    """Arrays by number, views of memory-mapped files; what is written to them stays in this process's memory."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._chunks: list[tuple[Array, list[int], list[list[int]]]] = []
        self._length = 0
        for name in names:
            index = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            shapes, dtype = index["shapes"], np.dtype(index["dtype"])
            sizes = [int(np.prod(shape)) for shape in shapes]
            data = np.memmap(folder / f"{name}.bin", dtype=dtype, mode="c")
            self._chunks.append((np.asarray(data), [0, *np.cumsum(sizes).tolist()], shapes))
            self._length += len(shapes)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: Any) -> Any:
        data, starts, shapes = self._chunks[number // CHUNK]
        at = number % CHUNK
        return data[starts[at] : starts[at + 1]].reshape(shapes[at])

    def take(self, numbers: Iterable[int]) -> Array:
        """Stack the arrays of these numbers, which have one shape."""
        return np.stack([self[number] for number in numbers])

    @property
    def bytes(self) -> int:
        """What the arrays take on disk."""
        return sum(data.nbytes for data, _, _ in self._chunks)


def build(
    folder: Path,
    keys: Sequence[str],
    make: Callable[[range], Iterable[Array]],
    *,
    description: str,
    share: Share = ALONE,
) -> Packs:
    """Return the arrays of `keys`, making with `make(numbers)` those that are not in the folder yet.

    A key names all that its array depends on. Each process makes and verifies every W-th chunk. Raises UserError
    when the disk is full, and KeyboardInterrupt when `share.stopped()`; what is made by then is kept, and what a
    killed process left half-written goes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    chunks = [range(start, min(start + CHUNK, len(keys))) for start in range(0, len(keys), CHUNK)]
    names = [_name(keys[chunk.start : chunk.stop]) for chunk in chunks]
    mine = list(range(share.rank, len(chunks), share.world))
    todo = [number for number in mine if not _sound(folder, names[number])]
    with Progress(description, sum(len(chunks[number]) for number in todo), show=share.rank == 0) as shown:
        for number in todo:
            _write(folder, names[number], make(chunks[number]))
            shown.advance(len(chunks[number]))
            if share.stopped():
                raise KeyboardInterrupt
    share.wait()
    return Packs(folder, names)


def photo_digests(uris: Sequence[str], *, share: Share = ALONE, workers: int = 2) -> list[str]:
    """SHA-256 of each photo's bytes; each process reads its share of them."""
    with ThreadPoolExecutor(workers) as pool:
        mine = list(pool.map(_digest, uris[share.rank :: share.world]))
    if share.world == 1:
        return mine
    parts: list[list[str]] = [[] for _ in range(share.world)]
    dist.all_gather_object(parts, mine)
    return [parts[number % share.world][number // share.world] for number in range(len(uris))]


def announce(what: str, folder: Path, size: int, say: Callable[[str], None]) -> None:
    """Say what a cache takes before it is made. Raises UserError when the disk has less than that."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}); give --cache another folder") from None
    say(f"cache of {what}: {size_text(size)} in {folder}")
    held = sum(file.stat().st_size for file in folder.glob("*.bin"))
    free = shutil.disk_usage(folder).free
    if size > free + held:
        raise UserError(
            f"{folder}: the cache needs {size_text(size)} and the disk has {size_text(free)} left; "
            "make room, or give --cache another folder"
        )


def size_text(size: int) -> str:
    """Bytes for people: MB, from a thousand of them GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _digest(uri: str) -> str:
    return hashlib.sha256(read_bytes(uri)).hexdigest()


def _name(keys: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:24]


def _sound(folder: Path, name: str) -> bool:
    """Tell whether a chunk is there and holds what was written."""
    index, data = folder / f"{name}.json", folder / f"{name}.bin"
    if not index.exists() or not data.exists():
        return False
    try:
        expected = json.loads(index.read_text(encoding="utf-8"))["sha256"]
    except (ValueError, KeyError, TypeError):
        return False
    with data.open("rb") as stream:
        return bool(hashlib.file_digest(stream, "sha256").hexdigest() == expected)


def _write(folder: Path, name: str, arrays: Iterable[Array]) -> None:
    """Write a chunk: the data, then the index that makes it count."""
    digest, shapes, dtype = hashlib.sha256(), [], ""
    data, index = folder / f"{name}.bin", folder / f"{name}.json"
    try:
        with whole_file(data) as partial, partial.open("wb") as stream:
            for array in arrays:
                raw = np.ascontiguousarray(array).data
                digest.update(raw)
                stream.write(raw)
                shapes.append(list(array.shape))
                dtype = str(array.dtype)
            stream.flush()
            os.fsync(stream.fileno())
        text = json.dumps({"dtype": dtype, "shapes": shapes, "sha256": digest.hexdigest()})
        with whole_file(index) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}); make room, or give --cache another folder"
        ) from None
