"""Photos decoded once: uint8 pixels at the size that training and validation need, memory-mapped.

Two kinds: photos scaled down to a short side, of which random crops are cut, and the very crops that the model
sees at test time. Both are named after the photos' bytes and the size, so neither can be stale.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from accelerate import Accelerator

from whichland.errors import UserError
from whichland.images.augment import resize
from whichland.images.decode import image_size, load, read_bytes
from whichland.images.preprocess import Pixels, Preprocess
from whichland.training.data import Loader, Photos
from whichland.training.evaluation import own_share
from whichland.training.packs import ALONE, Packs, Share, build

VERSION = 1  # of what follows: a cache of another version is not used
PROBED = 64  # photos whose size is looked at for an estimate of the disk space


def decode_once(
    loader: Loader,
    validation: Photos,
    preprocess: Preprocess,
    accelerator: Accelerator,
    folder: Path,
    say: Callable[[str], None],
) -> tuple[Loader, Packs]:
    """Return the loader with its photos decoded, and the validation photos' crops, which lie in `folder`."""
    share = shared(loader, accelerator)
    photos = scaled_photos(
        folder, loader.photos.uris, loader.augment.most_needed, say=say, share=share, workers=loader.workers
    )
    own = own_share(validation, loader, accelerator)
    crops = validation_crops(folder, own.uris, preprocess, say=say, share=share, workers=loader.workers)
    crops.every = accelerator.num_processes if loader.own_of else 1
    return replace(loader, pixels=photos), crops


def shared(loader: Loader, accelerator: Accelerator, stopped: Callable[[], bool] = lambda: False) -> Share:
    """How the processes share the making of a cache; with photos of their own each makes it alone of its own."""
    if loader.own_of:
        return Share(wait=accelerator.wait_for_everyone, stopped=stopped)
    return Share(accelerator.process_index, accelerator.num_processes, accelerator.wait_for_everyone, stopped)


def photo_digests(uris: Sequence[str], *, share: Share = ALONE, workers: int = 2) -> list[str]:
    """SHA-256 of each photo's bytes; each process reads its share of them."""
    with ThreadPoolExecutor(workers) as pool:
        mine = list(pool.map(_digest, uris[share.rank :: share.world]))
    if share.world == 1:
        return mine
    parts: list[list[str]] = [[] for _ in range(share.world)]
    dist.all_gather_object(parts, mine)
    return [parts[number % share.world][number // share.world] for number in range(len(uris))]


def scaled_photos(
    folder: Path,
    uris: Sequence[str],
    short_side: int,
    *,
    say: Callable[[str], None],
    share: Share = ALONE,
    workers: int = 2,
) -> Packs:
    """Photos scaled down to `short_side` pixels (smaller ones as they are): uint8 H×W×3, each of its shape."""
    sizes = [image_size(read_bytes(uri)) for uri in uris[:: -(-len(uris) // PROBED)]]
    scales = [min(1.0, short_side / min(size)) for size in sizes]
    each = float(np.mean([w * h * 3 * scale**2 for (w, h), scale in zip(sizes, scales, strict=True)]))
    announce(f"photos at short side {short_side}", folder, int(each * len(uris)), say)
    keys = [
        f"{digest} short side {short_side} v{VERSION}" for digest in photo_digests(uris, share=share, workers=workers)
    ]

    def make(numbers: range) -> Iterator[Pixels]:
        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(lambda number: _scaled(uris[number], short_side), numbers)

    return build(folder, keys, make, description="decoding", share=share)


def validation_crops(
    folder: Path,
    uris: Sequence[str],
    preprocess: Preprocess,
    *,
    say: Callable[[str], None],
    share: Share = ALONE,
    workers: int = 2,
) -> Packs:
    """The crops that the model sees at test time, exactly: uint8 H×W×3."""
    rows, columns = preprocess.size
    announce(f"validation crops of {rows}×{columns}", folder, rows * columns * 3 * len(uris), say)
    geometry = (preprocess.size, preprocess.interpolation, preprocess.crop_pct, preprocess.crop_mode)
    keys = [f"{digest} crop {geometry} v{VERSION}" for digest in photo_digests(uris, share=share, workers=workers)]

    def crop(number: int) -> Pixels:
        return preprocess.crop(load(uris[number], short_side=preprocess.short_side))

    def make(numbers: range) -> Iterator[Pixels]:
        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(crop, numbers)

    return build(folder, keys, make, description="decoding", share=share)


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


def _scaled(uri: str, short_side: int) -> Pixels:
    image = load(uri, short_side=short_side)
    height, width = image.shape[:2]
    scale = short_side / min(height, width)
    if scale >= 1:
        return image
    small = resize(torch.from_numpy(image), (round(height * scale), round(width * scale)))
    return small.contiguous().numpy()
