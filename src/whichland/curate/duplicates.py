"""Find images that are the same scene, or nearly: perceptual hashes a few bits apart, tones alike."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from whichland.curate.components import NO_PAIRS, Pairs
from whichland.progress import Progress

Hashes = NDArray[np.uint64]
Rows = NDArray[np.int64]
Tones = NDArray[np.float64]  # (N, T)

BLOCK = 16  # rows compared at once with all that their tones allow
STRIPES = 4  # stripes of the first tone within the widest difference: finer wastes fewer comparisons
MANY_COMPARISONS = 10**10  # about ten seconds; from there on progress is shown


def near_duplicate_pairs(phash: Hashes, max_distance: int, tones: Tones | None = None, max_tone: float = 1.0) -> Pairs:
    """Return the pairs of rows whose hashes differ in at most `max_distance` bits, sorted, shape (P, 2).

    The smaller row comes first. See `near_duplicate_batches`, of which this is the whole.
    """
    found = [NO_PAIRS, *near_duplicate_batches(phash, max_distance, tones, max_tone)]
    pairs = np.sort(np.concatenate(found), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def near_duplicate_batches(
    phash: Hashes, max_distance: int, tones: Tones | None = None, max_tone: float = 1.0
) -> Iterator[Pairs]:
    """Yield the pairs of rows whose hashes differ in at most `max_distance` bits, each pair once, in no order.

    With `tones` (say, brightness and contrast) each of a pair's tones must also differ by at most `max_tone`:
    that tells one scene from two that are merely laid out alike (sky above, road below).

    Exact, with one abridgement: rows of equal hash and tones stand for each other. They are linked to the first
    of them, and only that one is paired with others, so a thousand blank images make a thousand pairs, not
    half a million. The connected components are those of all pairs.

    Method: rows are sorted into stripes of the first tone and by the second within a stripe, and every hash is
    compared with all those that the tones allow. At the distances asked for here that is faster than banding:
    13 bands of 5 bits leave two fifths of all pairs to compare, each fetched from elsewhere, and the tones of
    real photos leave one in a hundred, side by side in memory.
    """
    count = phash.size
    tones = np.zeros((count, 1)) if tones is None else np.ascontiguousarray(tones, dtype=np.float64)
    order = np.lexsort((*tones.T, phash))  # stable: of equal rows the first comes first
    equal = (phash[order][1:] == phash[order][:-1]) & np.all(tones[order][1:] == tones[order][:-1], axis=1)
    starts = np.flatnonzero(np.concatenate([[True], ~equal])) if count else np.empty(0, dtype=np.int64)
    first = np.repeat(order[starts], np.diff(np.append(starts, count)))
    yield np.column_stack([first, order])[first != order]
    distinct = order[starts]
    for pairs in _alike(phash[distinct], tones[distinct], max_distance, max_tone):
        yield distinct[pairs]


def _alike(hashes: Hashes, tones: Tones, max_distance: int, max_tone: float) -> Iterator[Pairs]:
    """Yield pairs of positions, found stripe by stripe."""
    width = max_tone / STRIPES * (1 + 1e-9)  # a little wider: rounding must not put two tones a stripe too far
    stripe = np.floor(tones[:, 0] / width).astype(np.int64)
    order = np.lexsort((tones[:, -1], stripe))
    hashes, tones, stripe = hashes[order], tones[order], stripe[order]
    windows = _windows(stripe, tones[:, -1], max_tone)
    work = sum(int((end - start) @ (high - low)) for start, end, low, high in windows)
    with Progress("seeking near-duplicates", total=work, show=work > MANY_COMPARISONS) as shown:
        for window in windows:
            for start, end, a, b in np.column_stack(window).tolist():
                close = np.bitwise_count(hashes[start:end, None] ^ hashes[None, a:b]) <= max_distance
                if close.any():
                    left, right = np.nonzero(close)
                    left, right = left + start, right + a
                    alike = np.all(np.abs(tones[left] - tones[right]) <= max_tone, axis=1) & (left < right)
                    yield order[np.column_stack([left[alike], right[alike]])]
                shown.advance((end - start) * (b - a))


def _windows(stripe: Rows, last: NDArray[np.float64], max_tone: float) -> list[tuple[Rows, Rows, Rows, Rows]]:
    """Blocks of rows and the runs they are to be compared with: arrays of start, end, low, high, all positions.

    One tuple for each distance in stripes. Rows come sorted by stripe, then by `last`.
    """
    begins = np.flatnonzero(np.diff(stripe, prepend=-1)) if stripe.size else np.empty(0, dtype=np.int64)
    ends = np.append(begins[1:], stripe.size)[: begins.size]
    blocks = -(-(ends - begins) // BLOCK)
    inside = np.arange(blocks.sum()) - np.repeat(np.cumsum(blocks) - blocks, blocks)
    start = np.repeat(begins, blocks) + inside * BLOCK
    end = np.minimum(start + BLOCK, np.repeat(ends, blocks))
    # one number that sorts like (stripe, last): a stripe is further from the next than any tone reaches
    reach = 4 * (1 + max_tone + float(np.abs(last).max(initial=0)))
    key = stripe * reach + last
    wide = max_tone + 4 * float(np.spacing(np.abs(key).max(initial=0)))  # the sum has lost the last digits
    found = []
    for apart in range(STRIPES + 1):
        middle = (stripe[start] + apart) * reach
        low = np.searchsorted(key, middle + last[start] - wide)
        high = np.searchsorted(key, middle + last[end - 1] + wide, side="right")
        low = np.maximum(low, start)
        some = high > low
        found.append((start[some], end[some], low[some], high[some]))
    return found
