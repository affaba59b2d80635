"""Find images that are the same, or nearly: pairs of perceptual hashes a few bits apart."""

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Pairs = NDArray[np.int64]  # (P, 2), row numbers, the smaller first

Rows = NDArray[np.int64]

CROWDED = 512  # a bucket larger than this is split by the bits that are still free
NO_PAIRS: Pairs = np.empty((0, 2), dtype=np.int64)


def near_duplicate_pairs(phash: Hashes, max_distance: int) -> Pairs:
    """Return the pairs of rows whose hashes differ in at most `max_distance` bits, sorted, shape (P, 2).

    Exact. Rows with one and the same hash stand for each other: they are linked to their first row only, and
    only that first row is paired with other hashes, so a thousand blank images make a thousand pairs, not half
    a million. The connected components are those of all pairs.

    Method: cut the 64 bits into `max_distance + 1` bands; two hashes within the distance agree on at least one
    band entirely (pigeonhole), so only hashes that share a band are compared. Where too many share one, its
    remaining bits are cut again.
    """
    hashes, first, inverse = np.unique(phash, return_index=True, return_inverse=True)
    rows = np.arange(phash.size)
    repeats = np.column_stack([first[inverse], rows])[first[inverse] != rows]
    near = first[_near(hashes, np.arange(hashes.size), list(range(64)), max_distance)]
    return _sorted(np.concatenate([repeats, near]), phash.size)


def _near(hashes: Hashes, rows: Rows, free_bits: list[int], max_distance: int) -> Pairs:
    """Pairs among `rows`, which agree on every bit that is not in `free_bits`."""
    if len(free_bits) <= max_distance:
        return _compared(hashes, rows, np.array([0]), np.array([rows.size]), max_distance)
    found = [NO_PAIRS]
    for band in np.array_split(np.array(free_bits, dtype=np.uint64), max_distance + 1):
        keys = hashes[rows] & np.bitwise_or.reduce(np.uint64(1) << band)
        order = np.argsort(keys, kind="stable")
        _, starts, sizes = np.unique(keys[order], return_index=True, return_counts=True)
        crowded, members = sizes > CROWDED, rows[order]
        found.append(_compared(hashes, members, starts[~crowded], sizes[~crowded], max_distance))
        rest = sorted(set(free_bits) - set(band.tolist()))
        for start, size in zip(starts[crowded], sizes[crowded], strict=True):
            found.append(_near(hashes, members[start : start + size], rest, max_distance))
    return _sorted(np.concatenate(found), hashes.size)


def _compared(hashes: Hashes, members: Rows, starts: Rows, sizes: Rows, max_distance: int) -> Pairs:
    """Compare everyone with everyone inside buckets, each the run of `sizes` members from `starts`."""
    ends = np.repeat(starts + sizes, sizes)
    position = np.arange(ends.size) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(starts, sizes)
    found, step = [NO_PAIRS], 1
    while position.size:
        inside = position + step < ends
        position, ends = position[inside], ends[inside]
        left, right = members[position], members[position + step]
        close = np.bitwise_count(hashes[left] ^ hashes[right]) <= max_distance
        found.append(np.column_stack([left[close], right[close]]))
        step += 1
    return np.concatenate(found)


def _sorted(pairs: Pairs, rows: int) -> Pairs:
    """Each pair once, the smaller row first, in order."""
    low, high = pairs.min(axis=1, initial=rows), pairs.max(axis=1, initial=-1)
    return np.column_stack(np.divmod(np.unique(low * rows + high), max(rows, 1)))
