"""Which drive and which of its frames a scene's number means, without looking at any other scene.

Scenes come in blocks. In a block every country has one drive of each length (2 to 6 frames for a mean of 4), in
an order of its own, so classes stay balanced however many scenes are asked for.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class Place:
    """Where a scene stands: its drive, the drive's country, and the frame's number within the drive."""

    country: str
    block: int
    drive: int  # within the block
    frame: int
    frames: int  # of the drive


@lru_cache(maxsize=64)
def _block(seed: int, block: int, countries: tuple[str, ...], mean: int) -> tuple[Place, ...]:
    """All scenes of a block, in order."""
    spread = min(2, mean - 1)
    lengths = range(mean - spread, mean + spread + 1)
    drives = [(country, length) for length in lengths for country in countries]
    order = np.random.Generator(np.random.PCG64([seed, 1_000_003, block])).permutation(len(drives))
    return tuple(
        Place(*(drives[chosen][0], block, number, frame, drives[chosen][1]))
        for number, chosen in enumerate(order.tolist())
        for frame in range(drives[chosen][1])
    )


def place(seed: int, index: int, countries: tuple[str, ...], mean: int) -> Place:
    """Find the drive and frame of scene `index`."""
    size = (2 * min(2, mean - 1) + 1) * mean * len(countries)
    block, within = divmod(index, size)
    return _block(seed, block, countries, mean)[within]
