"""Find images that are the same scene, or nearly: perceptual hashes a few bits apart, tones alike."""

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Rows = NDArray[np.int64]
Pairs = NDArray[np.int64]  # (P, 2), row numbers, the smaller first
Tones = NDArray[np.float64]  # (N, T)

BLOCK = (
    512  # so many rows or fewer are compared each with each; a larger bucket is cut by the bits still free
)
NO_PAIRS: Pairs = np.empty((0, 2), dtype=np.int64)


def near_duplicate_pairs(
    phash: Hashes, max_distance: int, tones: Tones | None = None, max_tone: float = 1.0
) -> Pairs:
    """Return the pairs of rows whose hashes differ in at most `max_distance` bits, sorted, shape (P, 2).

    With `tones` (say, brightness and contrast) each of a pair's tones must also differ by at most `max_tone`:
    that tells one scene from two that are merely laid out alike (sky above, road below).

    Exact, with one abridgement: rows of equal hash and tones stand for each other. They are linked to the first
    of them, and only that one is paired with others, so a thousand blank images make a thousand pairs, not
    half a million. The connected components are those of all pairs.

    Method: the 64 bits are cut into `max_distance + 1` bands; two hashes within the distance agree on at least
    one band entirely (pigeonhole), so only hashes that share a band are compared. Where too many share one,
    its remaining bits are cut again. Tones narrow the search to windows of the first tone.
    """
    count = phash.size
    tones = np.zeros((count, 1)) if tones is None else np.ascontiguousarray(tones, dtype=np.float64)
    order = np.lexsort((*tones.T, phash))  # stable: of equal rows the first comes first
    equal = (phash[order][1:] == phash[order][:-1]) & np.all(tones[order][1:] == tones[order][:-1], axis=1)
    starts = np.flatnonzero(np.concatenate([[True], ~equal])) if count else np.empty(0, dtype=np.int64)
    first = np.repeat(order[starts], np.diff(np.append(starts, count)))
    repeats = np.column_stack([first, order])[first != order]
    distinct = order[starts]
    found = [NO_PAIRS, repeats]
    for window in _windows(tones[distinct, 0], max_tone):
        pairs = _near(phash, distinct[window], list(range(64)), max_distance)
        alike = np.all(np.abs(tones[pairs[:, 0]] - tones[pairs[:, 1]]) <= max_tone, axis=1)
        found.append(pairs[alike])
    return _sorted(np.concatenate(found), count)


def _windows(tone: NDArray[np.float64], width: float) -> list[Rows]:
    """Overlapping sets of rows such that any two tones at most `width` apart are together in one."""
    order = np.argsort(tone, kind="stable")
    cell = np.floor(tone[order] / width)
    cells = np.unique(cell)
    begin, end = np.searchsorted(cell, cells), np.searchsorted(cell, cells + 1, side="right")
    return [order[a:b] for a, b in zip(begin, end, strict=True)]


def _near(hashes: Hashes, rows: Rows, free_bits: list[int], max_distance: int) -> Pairs:
    """Pairs among `rows`, which agree on every bit that is not in `free_bits`."""
    if rows.size <= BLOCK or len(free_bits) <= max_distance:
        return _all_pairs(hashes, rows, max_distance)
    bands = np.array_split(np.array(free_bits, dtype=np.uint64), max_distance + 1)
    masks = [np.bitwise_or.reduce(np.uint64(1) << band) for band in bands]
    sizes = [np.unique(hashes[rows] & mask, return_counts=True)[1] for mask in masks]
    if sum(int(np.square(size).sum()) for size in sizes) >= rows.size**2:
        return _all_pairs(hashes, rows, max_distance)  # they are all alike: cutting only adds comparisons
    found = [NO_PAIRS]
    for band, mask, size in zip(bands, masks, sizes, strict=True):
        members = rows[np.argsort(hashes[rows] & mask, kind="stable")]
        starts, crowded = np.cumsum(size) - size, size > BLOCK
        found.append(_within_buckets(hashes, members, starts[~crowded], size[~crowded], max_distance))
        rest = sorted(set(free_bits) - set(band.tolist()))
        for start, end in zip(starts[crowded], (starts + size)[crowded], strict=True):
            found.append(_near(hashes, members[start:end], rest, max_distance))
    return _sorted(np.concatenate(found), hashes.size)


def _all_pairs(hashes: Hashes, rows: Rows, max_distance: int) -> Pairs:
    """Compare everyone with everyone, a block of rows at a time."""
    found = [NO_PAIRS]
    for start in range(0, rows.size, BLOCK):
        block, rest = hashes[rows[start : start + BLOCK]], hashes[rows[start:]]
        left, right = np.nonzero(np.bitwise_count(block[:, None] ^ rest[None, :]) <= max_distance)
        later = right > left
        found.append(np.column_stack([rows[start + left[later]], rows[start + right[later]]]))
    return np.concatenate(found)


def _within_buckets(hashes: Hashes, members: Rows, starts: Rows, sizes: Rows, max_distance: int) -> Pairs:
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
    codes = np.sort(low * rows + high)  # np.unique hashes whole numbers, which is 50 times slower here
    return np.column_stack(np.divmod(codes[np.diff(codes, prepend=-1) > 0], max(rows, 1)))
