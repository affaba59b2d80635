"""How fast a JPEG becomes an array: plain Pillow, Pillow's draft, and `whichland.images.decode`.

    python benchmarks/decode.py [--rounds 15]

One generated 800×800 photo-like JPEG, in memory; the ways take turns within one process, so that a busy machine
slows all of them alike. Prints images a second on one core (median over the rounds) and the ratio to Pillow.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from whichland.images.decode import decode

SIDE = 224
PER_ROUND = 20


def photo(size: int = 800) -> bytes:
    """Make a JPEG with detail at all scales, as photos have: noise of 1/f amplitude."""
    rng = np.random.default_rng(0)
    pixels = np.zeros((size, size, 3))
    for octave in range(1, 9):
        coarse = rng.normal(0, 60 / octave, (2**octave, 2**octave, 3)).clip(-127, 127) + 128
        layer = Image.fromarray(coarse.astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
        pixels += (np.asarray(layer, dtype=float) - 128) / 2
    buffer = io.BytesIO()
    Image.fromarray((pixels + 128).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=87)
    return buffer.getvalue()


def pillow(data: bytes) -> np.ndarray:
    """Decode as most data sets do."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def pillow_draft(data: bytes) -> np.ndarray:
    """Decode with Pillow at the smallest scale that keeps `SIDE`."""
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (SIDE, SIDE))
    return np.asarray(image.convert("RGB"))


WAYS: dict[str, Callable[[bytes], np.ndarray]] = {
    "Pillow": pillow,
    "Pillow, draft": pillow_draft,
    "whichland": decode,
    f"whichland, short_side={SIDE}": lambda data: decode(data, short_side=SIDE),
}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    data = photo()
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, way in WAYS.items():
            start = time.perf_counter()
            for _ in range(PER_ROUND):
                way(data)
            seconds[name].append((time.perf_counter() - start) / PER_ROUND)
    print(f"800×800 JPEG of {len(data):,} bytes, {rounds} rounds of {PER_ROUND}")
    print(f"{'way':28} {'size':>9} {'images/s':>9} {'ratio':>6}")
    base = statistics.median(seconds["Pillow"])
    for name, way in WAYS.items():
        height, width, _ = way(data).shape
        median = statistics.median(seconds[name])
        print(f"{name:28} {f'{width}×{height}':>9} {1 / median:9.0f} {base / median:6.2f}")


if __name__ == "__main__":
    main()
