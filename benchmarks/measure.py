"""How fast images are measured, beside decoding them and doing nothing else.

    python benchmarks/measure.py [FOLDER] [--rounds 5]

For photos of two sizes made here, or those of FOLDER: each is decoded to RGB with `decode(short_side=256)` and
measured with `measure_image`, in turns within one process, so that a busy machine slows both alike. Prints images
a second of processor time on one core (the best round), and measuring as a share of bare decoding.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from whichland.curate.measure import SHORT_SIDE, measure_image
from whichland.images.decode import decode, read_bytes

SIZES = ((448, 448), (1024, 768), (1536, 662))
PER_SIZE = 40


def photo(seed: int, size: tuple[int, int]) -> Image.Image:
    """Make a picture with detail at all scales, as photos have."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((size[1], size[0], 3))
    for octave in range(1, 9):
        coarse = random.normal(0, 60 / octave, (2**octave, 2**octave, 3)).clip(-127, 127) + 128
        layer = Image.fromarray(coarse.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
        pixels += (np.asarray(layer, dtype=float) - 128) / 2
    return Image.fromarray((pixels + 128).clip(0, 255).astype(np.uint8))


def bare(path: str) -> None:
    decode(read_bytes(path), short_side=SHORT_SIDE)


def measured(path: str) -> None:
    measure_image(path)


def compare(name: str, paths: list[str], rounds: int) -> None:
    ways: tuple[Callable[[str], None], ...] = (bare, measured)
    best = [float("inf")] * len(ways)
    for _ in range(rounds):
        spent = [0.0] * len(ways)
        for path in paths:
            for at, way in enumerate(ways):
                start = time.process_time()
                way(path)
                spent[at] += time.process_time() - start
        best = [min(pair) for pair in zip(best, spent, strict=True)]
    decoding, measuring = (len(paths) / seconds for seconds in best)
    print(f"{name:24} decode {decoding:7.0f}/s   measure {measuring:7.0f}/s   {measuring / decoding:5.0%}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", nargs="?", type=Path, help="JPEG photos to use instead of made ones")
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    if given.folder:
        found = sorted(map(str, given.folder.rglob("*.jpg")))
        compare(given.folder.name, found[:: max(1, len(found) // 200)], given.rounds)
        return
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            paths = []
            for seed in range(PER_SIZE):
                path = Path(folder) / f"{size[0]}-{seed}.jpg"
                photo(seed, size).save(path, quality=87)
                paths.append(str(path))
            compare(f"{size[0]}×{size[1]}", paths, given.rounds)


if __name__ == "__main__":
    main()
