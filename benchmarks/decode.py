"""How fast a JPEG becomes what a model sees: decoded, resized (bicubic, antialiased) and cropped, on one core.

    python benchmarks/decode.py [FOLDER] [--size 224] [--rounds 9] [--photos 60]

Photos of three shapes that are made here, or JPEGs of FOLDER, in memory. In turns within one process: Pillow, as timm's
transform for evaluation does it; torchvision's antialiased resize of tensors, behind Pillow's decoder; ours; and
simplejpeg decoding at full size and nothing else, which is the limit. Memory that is freed stays in the process, as in
`whichland predict`. Prints photos a second of processor time (the median of the rounds) and the ratio to Pillow, with
its least and most.
"""

import argparse
import io
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torchvision.transforms import v2

from whichland.allocator import keep_freed_memory
from whichland.images.photo import open_photo
from whichland.images.preprocess import Preprocess
from whichland.model.views import cut_views

SHAPES = ((448, 448), (1536, 662), (1024, 768))  # width, height
MADE = 10  # photos of a shape


def photo(size: tuple[int, int], seed: int) -> bytes:
    """Make a JPEG with detail at all scales, as photos have: noise of 1/f amplitude."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((size[1], size[0], 3))
    for octave in range(1, 9):
        coarse = rng.normal(0, 60 / octave, (2**octave, 2**octave, 3)).clip(-127, 127) + 128
        layer = Image.fromarray(coarse.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
        pixels += (np.asarray(layer, dtype=float) - 128) / 2
    buffer = io.BytesIO()
    Image.fromarray((pixels + 128).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=87)
    return buffer.getvalue()


def ways(size: int) -> dict[str, Callable[[bytes], object]]:
    """Each way from the bytes of a JPEG to size × size pixels, and the limit."""
    bicubic = v2.InterpolationMode.BICUBIC
    as_pillow = v2.Compose([v2.Resize(size, interpolation=bicubic), v2.CenterCrop(size)])
    as_tensor = v2.Compose([v2.Resize(size, interpolation=bicubic, antialias=True), v2.CenterCrop(size)])
    preprocess = Preprocess(size=(size, size), mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bicubic")

    return {
        "Pillow": lambda data: np.asarray(as_pillow(Image.open(io.BytesIO(data)).convert("RGB"))),
        "torchvision": lambda data: as_tensor(v2.functional.pil_to_tensor(Image.open(io.BytesIO(data)).convert("RGB"))),
        "whichland": lambda data: cut_views(open_photo(data), preprocess, views="one"),
        "simplejpeg, decoding alone": simplejpeg.decode_jpeg,
    }


def report(what: str, photos: list[bytes], size: int, rounds: int) -> None:
    """Measure the ways on some photos and print a table."""
    seconds: dict[str, list[float]] = {name: [] for name in ways(size)}
    for turn in range(rounds + 1):
        for name, way in ways(size).items():
            begun = time.process_time()
            for data in photos:
                way(data)
            if turn:  # the first warms up
                seconds[name].append((time.process_time() - begun) / len(photos))
    mean_kb = statistics.mean(map(len, photos)) / 1000
    print(f"{what} to {size} px: {len(photos)} photos of {mean_kb:.0f} kB, {rounds} rounds in turns")
    print(f"{'way':28}{'photos/s a core':>16}{'ratio':>8}{'least':>7}{'most':>7}")
    for name, taken in seconds.items():
        ratios = sorted(base / own for base, own in zip(seconds["Pillow"], taken, strict=True))
        rate = 1 / statistics.median(taken)
        print(f"{name:28}{rate:16.0f}{statistics.median(ratios):8.2f}{ratios[0]:7.2f}{ratios[-1]:7.2f}")


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--photos", type=int, default=60, help="of the folder")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    if given.folder:
        found = sorted(given.folder.rglob("*.jpg"))
        chosen = random.Random(0).sample(found, min(given.photos, len(found)))
        report(str(given.folder.name), [path.read_bytes() for path in chosen], given.size, given.rounds)
        return
    for width, height in SHAPES:
        photos = [photo((width, height), seed) for seed in range(MADE)]
        report(f"{width}×{height}", photos, given.size, given.rounds)


if __name__ == "__main__":
    main()
