"""Which rows belong together: photos taken near each other, photos that look alike, and what such pairs tie.

Points are handled as metres from the Earth's centre, so that neither the poles nor the antimeridian are special:
two points are within an arc of r metres when the chord between them is at most 2R·sin(r / 2R).
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from whichland.geo.distance import EARTH_RADIUS_KM, unit
from whichland.progress import Progress
from whichland.workers import cores

Floats = NDArray[np.float64]
Hashes = NDArray[np.uint64]
Rows = NDArray[np.int64]
Pairs = NDArray[np.int64]  # (P, 2), row numbers
Steps = Sequence[tuple[int, float]]  # of bits and tone
NO_PAIRS: Pairs = np.empty((0, 2), dtype=np.int64)

BLOCK = 16  # rows whose hashes are compared at once with all that their tones allow
WINDOWS_AT_ONCE = 256  # that a thread compares
STRIPES = 4  # stripes of the first tone within the widest difference: finer wastes fewer comparisons
FEATURES_AT_ONCE = 512  # rows compared with all others at once
BANDS_AT_ONCE = 4  # threads: each holds some copies of all hashes
MANY_COMPARISONS = 10**10  # about ten seconds; from there on progress is shown

EARTH_RADIUS_M = 1000 * EARTH_RADIUS_KM
TOGETHER = 4_000_000  # distances computed at once
CROWD = 4096  # cells whose points make more pairs than this are compared only when nothing else ties them


def connected_components(count: int, pairs: Pairs) -> NDArray[np.int64]:
    """Return for each of `count` rows the smallest row it is connected to, shape (count,)."""
    from scipy.sparse import coo_array, csgraph

    graph = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, component = csgraph.connected_components(graph, directed=False)
    _, first = np.unique(component, return_index=True)
    label: NDArray[np.int64] = first[component]
    return label


def spanning_pairs(count: int, pairs: Pairs) -> Pairs:
    """Return fewer pairs with the same components: each row with the smallest of its component."""
    label = connected_components(count, pairs)
    rows = np.flatnonzero(label != np.arange(count))
    return np.column_stack([label[rows], rows])


def near_duplicate_pairs(
    phash: Hashes, max_distance: int, tones: Floats | None = None, max_tone: float = 1.0, closer: Steps = ()
) -> Pairs:
    """Return the pairs that `near_duplicate_batches` finds, each once, sorted, the smaller row first, shape (P, 2)."""
    found = [NO_PAIRS, *near_duplicate_batches(phash, max_distance, tones, max_tone, closer)]
    pairs: Pairs = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
    return pairs


def near_duplicate_batches(
    phash: Hashes, max_distance: int, tones: Floats | None = None, max_tone: float = 1.0, closer: Steps = ()
) -> Iterator[Pairs]:
    """Yield the pairs of rows whose hashes differ in at most `max_distance` bits, in no order, some more than once.

    With `tones` (say, brightness and contrast) each of a pair's tones must also differ by at most `max_tone`:
    that separates two scenes that are merely laid out alike (sky above, road below). The closer the hashes, the more
    the tones may differ: `closer` has further pairs of bits and tone, of which one must leave no tone out (1), as a
    photo that was made lighter keeps its layout.

    Exact, with one abridgement: rows of equal hash and tones are interchangeable. They are linked to the first
    of them, and only that one is paired with others, so a thousand blank images make a thousand pairs, not
    half a million. With `closer` that holds of equal hashes. The connected components are those of all pairs.

    Method: rows are sorted into stripes of the first tone and by the second within a stripe, and every hash is
    compared with all those that the tones allow. At the distances asked for here that is faster than banding:
    13 bands of 5 bits leave two fifths of all pairs to compare, each fetched from elsewhere, and the tones of
    real photos leave one in a hundred, side by side in memory. The fewer bits of `closer` are sought in bands.
    """
    tones = np.zeros((phash.size, 1)) if tones is None else np.ascontiguousarray(tones, dtype=np.float64)
    order = np.lexsort((*tones.T, phash))  # stable: of equal rows the first comes first
    equal = (phash[order][1:] == phash[order][:-1]) & np.all(tones[order][1:] == tones[order][:-1], axis=1)
    new = np.concatenate([[True], ~equal])[: phash.size]
    first = order[new][np.cumsum(new) - 1]
    yield np.column_stack([first, order])[first != order]
    distinct = order[new]
    for pairs in _alike(phash[distinct], tones[distinct], max_distance, max_tone):
        yield distinct[pairs]
    if closer:
        hashes, tones = phash[distinct], tones[distinct]
        groups = Groups(hashes)
        yield distinct[groups.chain()]
        limit = np.array([max((tone for most, tone in closer if bits <= most), default=-1.0) for bits in range(65)])
        for found in _in_bands(groups.keys, max(bits for bits, _ in closer)):
            for pairs in groups.products(found):
                apart = np.abs(tones[pairs[:, 0]] - tones[pairs[:, 1]]).max(axis=1)
                yield distinct[pairs[apart <= limit[np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]])]]]


def _in_bands(hashes: Hashes, bits: int) -> Iterator[Pairs]:
    """Yield the pairs of different hashes at most `bits` apart, each once: of bits + k bands they have k in common.

    Exact (Norouzi, Punjani and Fleet, Fast Search in Hamming Space with Multi-Index Hashing, 2012).
    """
    common = 2 if bits <= 6 else 3
    edges = [64 * number // (bits + common) for number in range(bits + common + 1)]
    bands = [np.uint64((1 << end) - (1 << begin)) for begin, end in pairwise(edges)]

    def agreeing(chosen: tuple[np.uint64, ...]) -> list[Pairs]:
        """The pairs that have these bands in common, and no set of bands that came before."""
        mask, found = np.bitwise_or.reduce(chosen), []
        earlier = [band for band in bands if band < chosen[-1] and band not in chosen]
        order = np.argsort(hashes & mask)
        ordered = hashes[order]
        key, at, step = ordered & mask, np.arange(hashes.size), 0
        while at.size:  # each with the next, then with the one after that, as far as the bands agree
            step += 1
            at = at[: np.searchsorted(at, key.size - step)]
            at = at[key[at] == key[at + step]]
            near = at[np.bitwise_count(ordered[at] ^ ordered[at + step]) <= bits]
            for band in earlier:
                near = near[(ordered[near] ^ ordered[near + step]) & band != 0]
            if near.size:
                found.append(order[np.column_stack([near, near + step])])
        return found

    with ThreadPoolExecutor(min(cores(), BANDS_AT_ONCE)) as pool:  # NumPy lets go of the interpreter while it sorts
        for found in pool.map(agreeing, combinations(bands, common)):
            yield from found


def similar_batches(features: NDArray[np.float32], cosine: float) -> Iterator[Pairs]:
    """Yield the pairs of rows whose features, N×F, have at least this cosine. Rows of NaN are in none; quadratic."""
    with np.errstate(invalid="ignore"):
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    rows = np.flatnonzero(np.isfinite(unit).all(axis=1))
    unit = unit[rows]
    with Progress("comparing features", total=rows.size, show=rows.size**2 * features.shape[1] > 10**13) as shown:
        for start in range(0, rows.size, FEATURES_AT_ONCE):
            left, right = np.nonzero(unit[start : start + FEATURES_AT_ONCE] @ unit[start:].T >= cosine)
            yield rows[start + np.column_stack([left, right])[left < right]]
            shown.advance(min(FEATURES_AT_ONCE, rows.size - start))


def _alike(hashes: Hashes, tones: Floats, max_distance: int, max_tone: float) -> Iterator[Pairs]:
    """Yield pairs of positions, found stripe by stripe."""
    width = max_tone / STRIPES * (1 + 1e-9)  # a little wider: rounding must not put two tones a stripe too far
    stripe = np.floor(tones[:, 0] / width).astype(np.int64)
    order = np.lexsort((tones[:, -1], stripe))
    hashes, tones = hashes[order], tones[order]
    # one number that sorts like (stripe, last tone): a stripe is further from the next than any tone reaches
    reach = 4 * (1 + max_tone + float(np.abs(tones).max(initial=0)))
    key = stripe[order] * reach + tones[:, -1]
    wide = max_tone + 4 * float(np.spacing(np.abs(key).max(initial=0)))  # the sum has lost the last digits
    starts = np.arange(0, hashes.size, BLOCK)
    ends = np.minimum(starts + BLOCK, hashes.size)
    windows = []
    for stripes in reach * np.arange(STRIPES + 1):
        low = np.maximum(np.searchsorted(key, key[starts] + stripes - wide), starts)
        high = np.searchsorted(key, key[ends - 1] + stripes + wide, side="right")
        windows.append(np.column_stack([starts, ends, low, high])[high > low])
    work = sum(int((each[:, 1] - each[:, 0]) @ (each[:, 3] - each[:, 2])) for each in windows)

    def compare(some: NDArray[np.int64]) -> tuple[int, list[Pairs]]:
        """How many comparisons some windows took, and the pairs in them."""
        found, done = [], 0
        for start, end, low, high in some.tolist():
            done += (end - start) * (high - low)
            close = np.bitwise_count(hashes[start:end, None] ^ hashes[None, low:high]) <= max_distance
            if close.any():
                left, right = np.nonzero(close)
                left, right = left + start, right + low
                alike = np.all(np.abs(tones[left] - tones[right]) <= max_tone, axis=1) & (left < right)
                found.append(order[np.column_stack([left[alike], right[alike]])])
        return done, found

    everything = np.concatenate(windows)
    tasks = [everything[at : at + WINDOWS_AT_ONCE] for at in range(0, len(everything), WINDOWS_AT_ONCE)]
    with (
        Progress("seeking near-duplicates", total=work, show=work > MANY_COMPARISONS, unit="comparisons") as shown,
        ThreadPoolExecutor(cores()) as pool,  # NumPy lets go of the interpreter while it compares
    ):
        for done, found in pool.map(compare, tasks):
            yield from found
            shown.advance(done)


def pairs_within(lat: Floats, lon: Floats, radius_m: float) -> Pairs:
    """Return pairs of rows at most `radius_m` apart, enough of them to tie what all such pairs would tie.

    Degrees in, shape (P, 2) out; rows without coordinates (NaN) are in no pair. Exact: the connected components
    are those of all pairs. Cells are so small that the points of one are all within the radius and need a chain,
    not each with each; so dense places cost what their cells cost. Radii from 9 m up.
    """
    placed = np.flatnonzero(np.isfinite(lat) & np.isfinite(lon))
    points = np.asarray(EARTH_RADIUS_M * unit(lat[placed], lon[placed]), np.float64)
    chord = 2 * EARTH_RADIUS_M * np.sin(radius_m / EARTH_RADIUS_M / 2)
    grid = Cells(points, chord / np.sqrt(3))
    first = grid.order[grid.starts]
    found, crowds = [grid.chain()], [NO_PAIRS]
    for cells in grid.neighbours(2):
        cells = cells[cells[:, 0] != cells[:, 1]]
        near = _chords(points, *first[cells].T) <= chord
        found.append(first[cells[near]])
        cells = cells[~near]
        crowded = grid.sizes[cells].prod(axis=1) > CROWD
        crowds.append(cells[crowded])
        found += [pairs[_chords(points, *pairs.T) <= chord] for pairs in grid.products(cells[~crowded])]
    found.append(_between_crowds(points, grid, np.concatenate(crowds), found, chord))
    rows: Pairs = placed[np.concatenate(found)]
    return rows


def _between_crowds(points: Floats, grid: "Cells", crowds: Pairs, found: list[Pairs], chord: float) -> Pairs:
    """Tie crowded neighbouring cells that nothing else ties, where any of their points are near enough."""
    from scipy.spatial import KDTree

    label = connected_components(len(points), np.concatenate(found))[grid.order[grid.starts]]
    ties = [NO_PAIRS]
    for cells in crowds[label[crowds[:, 0]] != label[crowds[:, 1]]]:
        members = (grid.members(cell) for cell in cells)
        near, other = (rows[np.unique(points[rows], axis=0, return_index=True)[1]] for rows in members)
        apart, at = KDTree(points[near]).query(points[other], distance_upper_bound=1.001 * chord)
        closest = apart.argmin()
        if apart[closest] <= chord:
            ties.append(np.array([[near[at[closest]], other[closest]]]))
    return np.concatenate(ties)


def nearest_km(lat: Floats, lon: Floats, here: NDArray[np.bool_], there: NDArray[np.bool_]) -> float | None:
    """Return the shortest great-circle distance from a point of one set to one of the other, kilometres.

    Rows without coordinates count for neither; None when a set is empty.
    """
    from scipy.spatial import KDTree

    places, placed = lat + 1j * lon, np.isfinite(lat) & np.isfinite(lon)
    # each place once: a town's worth of photos may have the town's coordinates
    some, others = (np.unique(places[rows & placed]) for rows in (here, there))
    if not len(some) or not len(others):
        return None
    apart, _ = KDTree(unit(others.real, others.imag)).query(unit(some.real, some.imag))
    return 2 * EARTH_RADIUS_KM * float(np.arcsin(min(apart.min() / 2, 1.0)))


class Groups:
    """Rows by a key: `keys` in order, and where the rows of each stand in `order`, which sorts all."""

    def __init__(self, key: NDArray[np.uint64]) -> None:
        self.order = np.argsort(key, kind="stable")
        self.keys, self.starts, self.sizes = np.unique(key[self.order], return_index=True, return_counts=True)

    def chain(self) -> Pairs:
        """Each row with the first of its group."""
        pairs: Pairs = np.column_stack([np.repeat(self.order[self.starts], self.sizes), self.order])
        others: Pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        return others

    def products(self, groups: Pairs) -> Iterator[Pairs]:
        """Yield all pairs of a row of the one group and a row of the other, some millions at a time."""
        work = self.sizes[groups].prod(axis=1)
        for a, b in groups[work > TOGETHER]:
            yield from _blocks(self.members(a), self.members(b))
        groups, work = groups[work <= TOGETHER], work[work <= TOGETHER]
        for part in np.split(groups, np.flatnonzero(np.diff(np.cumsum(work) // TOGETHER)) + 1):
            a, b = part.T
            pair, left = _spread(self.starts[a], self.sizes[a])
            row, right = _spread(self.starts[b][pair], self.sizes[b][pair])
            yield np.column_stack([self.order[left[row]], self.order[right]])

    def members(self, group: int) -> Rows:
        """The rows of a group."""
        return self.order[self.starts[group] : self.starts[group] + self.sizes[group]]


class Cells(Groups):
    """Points by the cells of a cubic grid. Raises no error: sides are chosen by the callers."""

    def __init__(self, points: Floats, side: float) -> None:
        self.across = np.uint64(2 * EARTH_RADIUS_M / side + 6)
        x, y, z = (((points + EARTH_RADIUS_M) / side).astype(np.uint64) + np.uint64(2)).T
        super().__init__((x * self.across + y) * self.across + z)

    def neighbours(self, reach: int) -> Iterator[Pairs]:
        """Yield pairs of occupied cells at most `reach` apart on every axis, each once, also each with itself."""
        for dx in range(reach + 1):
            for dy in range(-reach if dx else 0, reach + 1):
                # the cells of one column stand in a row, so that one search finds all of them
                shift = self.keys + np.uint64(dx) * self.across * self.across
                shift = shift + np.uint64(dy) * self.across if dy >= 0 else shift - np.uint64(-dy) * self.across
                begin = np.searchsorted(self.keys, shift if dx == dy == 0 else shift - np.uint64(reach))
                end = np.searchsorted(self.keys, shift + np.uint64(reach), side="right")
                yield np.column_stack(_spread(begin, end - begin))


def _spread(starts: Rows, lengths: Rows) -> tuple[Rows, Rows]:
    """Return (i, v) for every v of the `lengths[i]` numbers from `starts[i]` on."""
    owner = np.repeat(np.arange(starts.size), lengths)
    offset = np.arange(owner.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return owner, starts[owner] + offset


def _chords(points: Floats, left: Rows, right: Rows) -> Floats:
    difference = points[left] - points[right]
    chords: Floats = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return chords


def _blocks(left: Rows, right: Rows) -> Iterator[Pairs]:
    """All pairs of two sets of points, a bounded number at a time."""
    step = max(1, TOGETHER // max(right.size, 1))
    for start in range(0, left.size, step):
        block = left[start : start + step]
        yield np.column_stack([np.repeat(block, right.size), np.tile(right, block.size)])
