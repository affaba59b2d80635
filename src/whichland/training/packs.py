"""Arrays of many photos on disk: made once in chunks, verified by hash, memory-mapped, read by number.

A chunk is two files: `NAME.bin`, the arrays one after another, and `NAME.json`, which holds their shapes and the
SHA-256 of the first. NAME is a hash of what the arrays were made from, so a photo that changed has no chunk yet,
and what an interrupted build has finished is found again.

Decoded photos are kept so, in two kinds: scaled down to a short side, for random crops to be cut from, and the very
crops that the model sees at test time. Their names come from the photos' bytes and the size: neither can be stale.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from accelerate import Accelerator
from numpy.typing import NDArray

from whichland.errors import UserError
from whichland.images.augment import resize
from whichland.images.decode import image_size, load, read_bytes
from whichland.images.preprocess import Pixels, Preprocess
from whichland.model.views import middle_of
from whichland.printed import size_said
from whichland.progress import Progress
from whichland.training.data import Loader, Photos
from whichland.whole_file import sweep, whole_file

CHUNK = 256  # arrays; what an interruption may lose, and what a changed photo makes anew
VERSION = 2  # of decoded photos: a cache of another version is not used
PROBED = 64  # photos whose size is read for an estimate of the disk space

Array = NDArray[Any]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Share:
    """Which of the processes of a job this one is, with how many threads it works, how they wait for each other."""

    rank: int = 0
    world: int = 1
    wait: Callable[[], None] = lambda: None
    stopped: Callable[[], bool] = lambda: False  # asked between chunks
    threads: int = 2

    @classmethod
    def of(cls, accelerator: Accelerator, threads: int, stopped: Callable[[], bool] = lambda: False) -> "Share":
        """This process's share of the job that the accelerator knows."""
        rank, world = accelerator.process_index, accelerator.num_processes
        return cls(rank, world, accelerator.wait_for_everyone, stopped, threads)


ALONE = Share()


class Packs(list[Array]):
    """Arrays by number, views of memory-mapped files; what is written to them stays in this process's memory."""

    def take(self, numbers: Iterable[int]) -> Array:
        """Stack the arrays of these numbers, which have one shape."""
        return np.stack([self[number] for number in numbers])


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
    texts = ["\n".join(keys[chunk.start : chunk.stop]) for chunk in chunks]
    names = [hashlib.sha256(text.encode()).hexdigest()[:24] for text in texts]
    todo = [at for at in range(share.rank, len(chunks), share.world) if not _sound(folder, names[at])]
    with Progress(description, sum(len(chunks[at]) for at in todo), show=share.rank == 0) as shown:
        for at in todo:
            _write(folder, names[at], make(chunks[at]))
            shown.advance(len(chunks[at]))
            if share.stopped():
                raise KeyboardInterrupt
    share.wait()
    packs = Packs()
    for name in names:
        index = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        data = np.asarray(np.memmap(folder / f"{name}.bin", dtype=np.dtype(index["dtype"]), mode="c"))
        parts = np.split(data, np.cumsum([int(np.prod(shape)) for shape in index["shapes"]])[:-1])
        packs += [part.reshape(shape) for part, shape in zip(parts, index["shapes"], strict=True)]
    return packs


def photo_digests(uris: Sequence[str], share: Share = ALONE) -> list[str]:
    """SHA-256 of each photo's bytes; each process reads its share of them."""
    with ThreadPoolExecutor(share.threads) as pool:
        digests = pool.map(lambda uri: hashlib.sha256(read_bytes(uri)).hexdigest(), uris[share.rank :: share.world])
        parts = [list(digests)] * share.world
    if share.world > 1:
        dist.all_gather_object(parts, parts[0])
    return [parts[number % share.world][number // share.world] for number in range(len(uris))]


def announce(what: str, folder: Path, size: int, say: Say) -> None:
    """Say what a cache takes before it is made. Raises UserError when the disk has less than that."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}); give --cache another folder") from None
    say(f"cache of {what}: {size_said(size)} in {folder}")
    held = sum(file.stat().st_size for file in folder.glob("*.bin"))
    free = shutil.disk_usage(folder).free
    if size > free + held:
        raise UserError(
            f"{folder}: the cache needs {size_said(size)} and the disk has {size_said(free)} left; "
            "make room, or give --cache another folder"
        )


def _sound(folder: Path, name: str) -> bool:
    """Whether a chunk is there and holds what was written."""
    try:
        expected = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["sha256"]
        with (folder / f"{name}.bin").open("rb") as stream:
            return bool(hashlib.file_digest(stream, "sha256").hexdigest() == expected)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def _write(folder: Path, name: str, arrays: Iterable[Array]) -> None:
    """Write a chunk: the data, then the index that makes it count."""
    digest, shapes, dtype = hashlib.sha256(), [], ""
    try:
        with whole_file(folder / f"{name}.bin") as partial, partial.open("wb") as stream:
            for array in arrays:
                raw = np.ascontiguousarray(array).data
                digest.update(raw)
                stream.write(raw)
                shapes.append(list(array.shape))
                dtype = str(array.dtype)
            stream.flush()
            os.fsync(stream.fileno())
        with whole_file(folder / f"{name}.json") as partial:
            index = {"dtype": dtype, "shapes": shapes, "sha256": digest.hexdigest()}
            partial.write_text(json.dumps(index), encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}); make room, or give --cache another folder"
        ) from None


def decode_once(
    loader: Loader, validation: Photos, preprocess: Preprocess, accelerator: Accelerator, folder: Path, say: Say
) -> tuple[Loader, Packs]:
    """Return the loader with its photos decoded, and the validation photos' crops, which lie in `folder`."""
    share = Share.of(accelerator, loader.workers)
    photos = scaled_photos(folder, loader.photos.uris, loader.augment.most_needed, say=say, share=share)
    return replace(loader, pixels=photos), validation_crops(folder, validation.uris, preprocess, say=say, share=share)


def scaled_photos(folder: Path, uris: Sequence[str], short_side: int, *, say: Say, share: Share = ALONE) -> Packs:
    """Photos scaled down to `short_side` pixels (smaller ones as they are): uint8 H×W×3, each of its shape."""
    sizes = [image_size(read_bytes(uri)) for uri in uris[:: -(-len(uris) // PROBED)]]
    each = float(np.mean([w * h * 3 * min(1.0, short_side / min(w, h)) ** 2 for w, h in sizes]))
    announce(f"photos at short side {short_side}", folder, int(each * len(uris)), say)

    def scaled(uri: str) -> Pixels:
        image = load(uri, short_side=short_side)
        height, width = image.shape[:2]
        scale = short_side / min(height, width)
        if scale >= 1:
            return image
        small = resize(torch.from_numpy(image), (round(height * scale), round(width * scale)))
        return small.contiguous().numpy()

    return _decoded(folder, uris, f"short side {short_side} v{VERSION}", scaled, share)


def validation_crops(
    folder: Path, uris: Sequence[str], preprocess: Preprocess, *, say: Say, share: Share = ALONE
) -> Packs:
    """The crops that the model sees at test time, exactly: uint8 H×W×3."""
    rows, columns = preprocess.size
    announce(f"validation crops of {rows}×{columns}", folder, rows * columns * 3 * len(uris), say)
    geometry = (preprocess.size, preprocess.interpolation, preprocess.crop_pct, preprocess.crop_mode)

    return _decoded(folder, uris, f"crop {geometry} v{VERSION}", partial(middle_of, preprocess=preprocess), share)


def _decoded(folder: Path, uris: Sequence[str], recipe: str, decode: Callable[[str], Pixels], share: Share) -> Packs:
    keys = [f"{digest} {recipe}" for digest in photo_digests(uris, share)]

    def make(numbers: range) -> Iterator[Pixels]:
        with ThreadPoolExecutor(share.threads) as pool:
            yield from pool.map(decode, uris[numbers.start : numbers.stop])

    return build(folder, keys, make, description="decoding", share=share)
