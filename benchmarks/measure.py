"""How fast images are measured, beside decoding them and doing nothing else.

    python benchmarks/measure.py [FOLDER] [--rounds 5]

For photos of three sizes made here, or those of FOLDER: each is decoded to RGB as a whole, decoded at the DCT
scale that training loads it at (short side 256), decoded at the one that measuring uses, and measured with
`measure_image`, in turns batch by batch within one process, so that a busy machine slows all alike. Prints
images a second of processor time on one core (the best round), and measuring as a share of each decode. Then all
photos go through all cores twenty times over, decoded as a whole and measured in turns, by the same pool of
processes: images a second of wall time.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from whichland.curate.measure import BATCH, SHORT_SIDE, measure_batch, measure_image
from whichland.images.decode import decode, read_bytes
from whichland.workers import cores, map_batches

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


def whole(path: str) -> None:
    decode(read_bytes(path))


def for_training(path: str) -> None:
    decode(read_bytes(path), short_side=256)


def same_scale(path: str) -> None:
    decode(read_bytes(path), short_side=SHORT_SIDE)


def measured(path: str) -> None:
    measure_image(path)


def decode_batch(paths: list[str]) -> int:
    for path in paths:
        whole(path)
    return len(paths)


WAYS: dict[str, Callable[[str], None]] = {
    "whole": whole,
    "for training": for_training,
    "same scale": same_scale,
    "measure": measured,
}


def compare(name: str, paths: list[str], rounds: int) -> None:
    """One core: processor time of each way, in turns batch by batch."""
    best = dict.fromkeys(WAYS, float("inf"))
    for _ in range(rounds):
        spent = dict.fromkeys(WAYS, 0.0)
        for at in range(0, len(paths), BATCH):
            for way, function in WAYS.items():
                start = time.process_time()
                for path in paths[at : at + BATCH]:
                    function(path)
                spent[way] += time.process_time() - start
        best = {way: min(best[way], spent[way]) for way in WAYS}
    rate = {way: len(paths) / seconds for way, seconds in best.items()}
    for way in WAYS:
        share = rate["measure"] / rate[way]
        print(
            f"{name:20} {way:14} {rate[way]:7.0f}/s" + ("" if way == "measure" else f"   measure: {share:4.0%} of it")
        )


def on_all_cores(name: str, paths: list[str], rounds: int) -> None:
    """Wall time of whole batches through the pool, decoding and measuring in turns."""
    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)] * 20
    best = dict.fromkeys(("decode", "measure"), float("inf"))
    for _ in range(rounds):
        for way, function in {"decode": decode_batch, "measure": measure_batch}.items():
            start = time.perf_counter()
            for _ in map_batches(function, batches, workers=cores()):
                pass
            best[way] = min(best[way], time.perf_counter() - start)
    decoding, measuring = (20 * len(paths) / best[way] for way in ("decode", "measure"))
    share = measuring / decoding
    print(f"{name:20} on {cores()} cores: decode {decoding:.0f}/s, measure {measuring:.0f}/s, {share:.0%}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", nargs="?", type=Path, help="JPEG photos to use instead of made ones")
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    if given.folder:
        found = sorted(map(str, given.folder.rglob("*.jpg")))
        some = found[:: max(1, len(found) // 200)]
        compare(given.folder.name, some, given.rounds)
        on_all_cores(given.folder.name, some, 2)
        return
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            paths = []
            for seed in range(PER_SIZE):
                path = Path(folder) / f"{size[0]}-{seed}.jpg"
                photo(seed, size).save(path, quality=87)
                paths.append(str(path))
            compare(f"{size[0]}×{size[1]}", paths, given.rounds)
            on_all_cores(f"{size[0]}×{size[1]}", paths, 2)


if __name__ == "__main__":
    main()
