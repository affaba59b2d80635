"""Which photos were taken near each other: points on a sphere, compared through cells of a cubic grid.

Points are handled as metres from the Earth's centre, so that neither the poles nor the antimeridian are special:
two points are within an arc of r metres when the chord between them is at most 2R·sin(r / 2R).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from whichland.curate.components import NO_PAIRS, Pairs, connected_components
from whichland.geo.distance import EARTH_RADIUS_KM

EARTH_RADIUS_M = 1000 * EARTH_RADIUS_KM
FINEST_CELL_M = 5.0  # three coordinates of cells this small still fit into 64 bits
TOGETHER = 4_000_000  # distances computed at once
CROWD = 4096  # cells whose points make more pairs than this are compared only when nothing else ties them

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def pairs_within(lat: Floats, lon: Floats, radius_m: float) -> Pairs:
    """Return pairs of rows at most `radius_m` apart, enough of them to tie what all such pairs would tie.

    Degrees in, shape (P, 2) out; rows without coordinates (NaN) are in no pair. Exact: the connected components
    are those of all pairs. Cells are so small that the points of one are all within the radius and need a chain,
    not each with each; so dense places cost what their cells cost. Radii from 9 m up.
    """
    placed = np.flatnonzero(np.isfinite(lat) & np.isfinite(lon))
    points = on_sphere(lat[placed], lon[placed])
    chord = 2 * EARTH_RADIUS_M * np.sin(radius_m / EARTH_RADIUS_M / 2)
    grid = Cells(points, chord / np.sqrt(3))
    chain = np.column_stack([grid.first_of_each, grid.order])
    found = [chain[chain[:, 0] != chain[:, 1]]]
    crowds = [NO_PAIRS]
    for pairs in grid.neighbours(2):
        a, b = grid.starts[pairs[:, 0]], grid.starts[pairs[:, 1]]
        near = _chords(points, grid.order[a], grid.order[b]) <= chord
        found.append(np.column_stack([grid.order[a[near]], grid.order[b[near]]]))
        pairs = pairs[~near]
        crowded = grid.sizes[pairs[:, 0]] * grid.sizes[pairs[:, 1]] > CROWD
        crowds.append(pairs[crowded])
        for left, right in grid.products(pairs[~crowded]):
            close = _chords(points, left, right) <= chord
            found.append(np.column_stack([left[close], right[close]]))
    found.append(_between_crowds(points, grid, np.concatenate(crowds), found, chord))
    tied: Pairs = placed[np.concatenate(found)]
    return tied


def nearest_km(lat: Floats, lon: Floats, here: NDArray[np.bool_], there: NDArray[np.bool_]) -> float | None:
    """Return the shortest great-circle distance from a point of one set to one of the other, kilometres.

    Rows without coordinates count for neither; None when a set is empty. Halving cells gives an upper bound, and
    only points in neighbouring cells of that size are compared.
    """
    placed = np.isfinite(lat) & np.isfinite(lon) & (here | there)
    points, mine = on_sphere(lat[placed], lon[placed]), here[placed]
    if mine.all() or not mine.any():
        return None
    bound = _bound(points, mine)
    if bound == 0:  # a town's worth of photos with the town's coordinates would be compared each with each
        return 0.0
    grid = Cells(points, max(bound, FINEST_CELL_M))
    least = bound
    counts = np.add.reduceat(mine[grid.order].astype(np.int64), grid.starts)
    both = (counts > 0) & (counts < grid.sizes)
    alone = np.flatnonzero(both)
    for pairs in (np.column_stack([alone, alone]), *grid.neighbours(1)):
        a, b = counts[pairs[:, 0]], counts[pairs[:, 1]]
        mixed = (a > 0) & (b < grid.sizes[pairs[:, 1]]) | (b > 0) & (a < grid.sizes[pairs[:, 0]])
        for left, right in grid.products(pairs[mixed]):
            across = mine[left] != mine[right]
            if across.any():
                least = min(least, float(_chords(points, left[across], right[across]).min()))
    return 2 * EARTH_RADIUS_M * float(np.arcsin(min(least / EARTH_RADIUS_M / 2, 1.0))) / 1000


def on_sphere(lat: Floats, lon: Floats) -> Floats:
    """Metres from the Earth's centre, shape (N, 3)."""
    phi, lam = np.radians(lat), np.radians(lon)
    return EARTH_RADIUS_M * np.column_stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])


class Cells:
    """Points sorted into the cells of a cubic grid. Raises no error: sides are chosen by the callers."""

    def __init__(self, points: Floats, side: float) -> None:
        self.across = np.uint64(2 * EARTH_RADIUS_M / side + 6)
        x, y, z = (((points + EARTH_RADIUS_M) / side).astype(np.uint64) + np.uint64(2)).T
        code = (x * self.across + y) * self.across + z
        self.order = np.argsort(code, kind="stable")
        sorted_code = code[self.order]
        new = np.diff(sorted_code, prepend=np.uint64(0)) != 0  # no code is 0: cells count from 2
        self.starts = np.flatnonzero(new)
        self.codes = sorted_code[self.starts]
        self.sizes = np.diff(np.append(self.starts, code.size))

    @property
    def first_of_each(self) -> Rows:
        """For each point, in the order of the cells, the first point of its cell."""
        return np.repeat(self.order[self.starts], self.sizes)

    def neighbours(self, reach: int) -> Iterator[Pairs]:
        """Yield pairs of occupied cells at most `reach` apart on every axis, each pair once."""
        for dx in range(reach + 1):
            for dy in range(-reach if dx else 0, reach + 1):
                # the cells of one column stand in a row, so that one search finds all of them
                shift = self.codes + np.uint64(dx) * self.across * self.across
                shift = shift + np.uint64(dy) * self.across if dy >= 0 else shift - np.uint64(-dy) * self.across
                low = shift + np.uint64(1) if dx == dy == 0 else shift - np.uint64(reach)
                begin = np.searchsorted(self.codes, low)
                end = np.searchsorted(self.codes, shift + np.uint64(reach), side="right")
                yield np.column_stack(_spread(begin, end - begin))

    def products(self, pairs: Pairs) -> Iterator[tuple[Rows, Rows]]:
        """Yield all (point of the one cell, point of the other), some millions at a time."""
        work = self.sizes[pairs[:, 0]] * self.sizes[pairs[:, 1]]
        for a, b in pairs[work > TOGETHER]:
            yield from _blocks(self.members(a), self.members(b))
        pairs = pairs[work <= TOGETHER]
        share = np.cumsum(work[work <= TOGETHER]) // TOGETHER
        for part in np.split(pairs, np.flatnonzero(np.diff(share)) + 1):
            yield self._product(part[:, 0], part[:, 1])

    def members(self, cell: int) -> Rows:
        """The points of a cell."""
        return self.order[self.starts[cell] : self.starts[cell] + self.sizes[cell]]

    def _product(self, a: Rows, b: Rows) -> tuple[Rows, Rows]:
        pair, left = _spread(self.starts[a], self.sizes[a])
        point, right = _spread(self.starts[b][pair], self.sizes[b][pair])
        return self.order[left[point]], self.order[right]


def _spread(starts: Rows, lengths: Rows) -> tuple[Rows, Rows]:
    """Return (i, v) for every v of the `lengths[i]` numbers from `starts[i]` on."""
    owner = np.repeat(np.arange(starts.size), lengths)
    offset = np.arange(owner.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return owner, starts[owner] + offset


def _chords(points: Floats, left: Rows, right: Rows) -> Floats:
    difference = points[left] - points[right]
    chords: Floats = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return chords


def _between_crowds(points: Floats, grid: Cells, crowds: Pairs, found: list[Pairs], chord: float) -> Pairs:
    """Tie crowded neighbouring cells that nothing else ties, where any of their points are near enough."""
    if not len(crowds):
        return NO_PAIRS
    label = connected_components(len(points), np.concatenate(found))[grid.order[grid.starts]]
    ties = [NO_PAIRS]
    for a, b in crowds[label[crowds[:, 0]] != label[crowds[:, 1]]]:
        for left, right in _blocks(*_in_reach(points, grid.members(a), grid.members(b), chord)):
            near = np.flatnonzero(_chords(points, left, right) <= chord)[:1]
            if near.size:
                ties.append(np.column_stack([left[near], right[near]]))
                break
    return np.concatenate(ties)


def _in_reach(points: Floats, left: Rows, right: Rows, chord: float) -> tuple[Rows, Rows]:
    """Leave out points that are too far from the box around the others; in turns, until none is left out."""
    while left.size and right.size:
        before = left.size + right.size
        left = left[_to_box(points[left], points[right]) <= chord]
        if left.size:
            right = right[_to_box(points[right], points[left]) <= chord]
        if left.size + right.size == before:
            break
    return left, right


def _to_box(points: Floats, others: Floats) -> Floats:
    """Distance of each point from the box around the others."""
    outside = np.maximum(others.min(axis=0) - points, points - others.max(axis=0)).clip(min=0)
    distance: Floats = np.sqrt((outside**2).sum(axis=1))
    return distance


def _blocks(left: Rows, right: Rows) -> Iterator[tuple[Rows, Rows]]:
    """All pairs of two sets of points, a bounded number at a time."""
    step = max(1, TOGETHER // max(right.size, 1))
    for start in range(0, left.size, step):
        block = left[start : start + step]
        yield np.repeat(block, right.size), np.tile(right, block.size)


def _bound(points: Floats, mine: NDArray[np.bool_]) -> float:
    """A chord that some pair across the two sets does not exceed, metres."""
    side, rows = EARTH_RADIUS_M, np.arange(len(points))
    least = 2 * EARTH_RADIUS_M
    while rows.size and side >= FINEST_CELL_M:
        grid = Cells(points[rows], side)
        counts = np.add.reduceat(mine[rows[grid.order]].astype(np.int64), grid.starts)
        mixed = (counts > 0) & (counts < grid.sizes)
        inside = np.repeat(mixed, grid.sizes)
        members = rows[grid.order[inside]]
        cell = np.repeat(np.flatnonzero(mixed), grid.sizes[mixed])
        if members.size:
            _, first_mine = np.unique(cell[mine[members]], return_index=True)
            _, first_other = np.unique(cell[~mine[members]], return_index=True)
            left, right = members[mine[members]][first_mine], members[~mine[members]][first_other]
            least = min(least, float(_chords(points, left, right).min()))
        rows, side = members, side / 2
    return least
