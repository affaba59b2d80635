"""Which drive and which of its frames a scene's number means, without looking at any other scene.

Scenes come in blocks of several rounds. Each round has one drive of every country, in an order of its own, and
over a block every country has one drive of each length (2 to 6 frames for a mean of 4); so classes stay balanced
however many scenes are asked for.
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
    lengths = range(mean - min(2, mean - 1), mean + min(2, mean - 1) + 1)
    rng = np.random.Generator(np.random.PCG64([seed, 1_000_003, block]))
    shuffled = {country: [lengths[i] for i in rng.permutation(len(lengths)).tolist()] for country in countries}
    drives = [
        (countries[chosen], shuffled[countries[chosen]][turn])
        for turn in range(len(lengths))
        for chosen in rng.permutation(len(countries)).tolist()
    ]
    return tuple(
        Place(country, block, number, frame, length)
        for number, (country, length) in enumerate(drives)
        for frame in range(length)
    )


def place(seed: int, index: int, countries: tuple[str, ...], mean: int) -> Place:
    """Find the drive and frame of scene `index`."""
    size = (2 * min(2, mean - 1) + 1) * mean * len(countries)
    block, within = divmod(index, size)
    return _block(seed, block, countries, mean)[within]
