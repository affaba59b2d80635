"""Put groups into splits: each where its hash falls, and every country near the shares that were asked for."""

import hashlib
from math import ceil, floor

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whichland.curate.certificate import SPLITS

SLACK = 0.1  # a country's share of groups may differ from the one asked for by this part of it
TRAIN, VAL, TEST = range(len(SPLITS))

Parts = NDArray[np.int64]  # index into SPLITS


def position_of(group: str, seed: int) -> float:
    """Where the hash of (seed, name) falls in [0, 1): the test begins at 0, then comes val, then train."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{group}".encode()).digest()[:8], "big") / 2**64


def split_at(position: float, val: float, test: float) -> str:
    """The split that a position falls into."""
    if position < test:
        return "test"
    return "val" if position < test + val else "train"


def stratify(groups: pl.DataFrame, *, val: float, test: float) -> pl.Series:
    """Return the split of each group of a table with `country`, `position` and `earlier` (a split or null).

    A group that has an earlier split keeps it. Of the others, a country's smallest positions go to the test, the
    next to val: as many as fall there by themselves, unless that is less or more than the country's share allows
    (see `_allowed`). So the splits of a country with many groups are those of the hash alone, whatever other
    groups there are, and a country with few has photos to be judged by. A country's only group is for training.
    """
    rows = groups.with_row_index("_row").sort("country", "position", "_row")
    earlier = rows["earlier"].replace_strict(list(SPLITS), list(range(3)), default=-1, return_dtype=pl.Int64)
    fixed, position = earlier.to_numpy(), rows["position"].to_numpy()
    parts = fixed.copy()
    start = 0
    for size in rows.group_by("country", maintain_order=True).len()["len"]:
        here = slice(start, start + size)
        parts[here] = _of_country(position[here], fixed[here], val, test)
        start += size
    placed = pl.DataFrame({"_row": rows["_row"], "split": parts}).sort("_row")
    return placed["split"].replace_strict([0, 1, 2], list(SPLITS), return_dtype=pl.String)


def _of_country(position: NDArray[np.float64], fixed: Parts, val: float, test: float) -> Parts:
    """The splits of one country's groups, which come by position."""
    free, count = np.flatnonzero(fixed < 0), len(fixed)
    held = np.bincount(fixed[fixed >= 0], minlength=3)
    drawn = position[free]
    low, high = _allowed(test, count, least=2, room=count - (1 if count < 3 or val == 0 else 2))
    to_test = int(np.clip((drawn < test).sum(), low - held[TEST], max(high - held[TEST], 0)))
    to_test = min(max(to_test, 0), free.size)
    low, high = _allowed(val, count, least=3, room=count - 1 - held[TEST] - to_test)
    falls = ((drawn >= test) & (drawn < test + val)).sum()
    to_val = int(np.clip(falls, low - held[VAL], max(high - held[VAL], 0)))
    to_val = min(max(to_val, 0), free.size - to_test)
    parts = fixed.copy()
    parts[free] = TRAIN
    parts[free[:to_test]] = TEST
    parts[free[to_test : to_test + to_val]] = VAL
    return parts


def _allowed(share: float, count: int, *, least: int, room: int) -> tuple[int, int]:
    """Fewest and most of a country's `count` groups that a split may have.

    Within `SLACK` of the share, and at least one where the country has `least` groups; `room` is what the other
    splits leave: none, where earlier runs have given it all away.
    """
    if share == 0 or count < least:
        return 0, 0
    high = max(0, min(ceil(share * count * (1 + SLACK)), room))
    return min(max(1, floor(share * count * (1 - SLACK))), high), high
