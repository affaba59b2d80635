"""Photos decoded once: uint8 pixels at the size that training and validation need, memory-mapped.

Two kinds: photos scaled down to a short side, of which random crops are cut, and the very crops that the model
sees at test time. Both are named after the photos' bytes and the size, so neither can be stale.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from whichland.images.augment import resize
from whichland.images.decode import image_size, load, read_bytes
from whichland.images.preprocess import Pixels, Preprocess
from whichland.training.data import Loader, Photos
from whichland.training.packs import ALONE, Packs, Share, announce, build, photo_digests

VERSION = 1  # of what follows: a cache of another version is not used
PROBED = 64  # photos whose size is read for an estimate of the disk space


def decode_once(
    loader: Loader,
    validation: Photos,
    preprocess: Preprocess,
    accelerator: Accelerator,
    folder: Path,
    say: Callable[[str], None],
) -> tuple[Loader, Packs]:
    """Return the loader with its photos decoded, and the validation photos' crops, which lie in `folder`."""
    share, workers = Share.of(accelerator), loader.workers
    photos = scaled_photos(
        folder, loader.photos.uris, loader.augment.most_needed, say=say, share=share, workers=workers
    )
    crops = validation_crops(folder, validation.uris, preprocess, say=say, share=share, workers=workers)
    return replace(loader, pixels=photos), crops


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
    recipe = f"short side {short_side} v{VERSION}"
    return _decoded(folder, uris, recipe, lambda uri: _scaled(uri, short_side), share, workers)


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

    def crop(uri: str) -> Pixels:
        return preprocess.crop(load(uri, short_side=preprocess.short_side))

    return _decoded(folder, uris, f"crop {geometry} v{VERSION}", crop, share, workers)


def _decoded(
    folder: Path, uris: Sequence[str], recipe: str, decode: Callable[[str], Pixels], share: Share, workers: int
) -> Packs:
    keys = [f"{digest} {recipe}" for digest in photo_digests(uris, share=share, workers=workers)]

    def make(numbers: range) -> Iterator[Pixels]:
        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(decode, uris[numbers.start : numbers.stop])

    return build(folder, keys, make, description="decoding", share=share)


def _scaled(uri: str, short_side: int) -> Pixels:
    image = load(uri, short_side=short_side)
    height, width = image.shape[:2]
    scale = short_side / min(height, width)
    if scale >= 1:
        return image
    small = resize(torch.from_numpy(image), (round(height * scale), round(width * scale)))
    return small.contiguous().numpy()
