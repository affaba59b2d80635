"""Connected components over pairs of rows."""

import numpy as np
from numpy.typing import NDArray

Pairs = NDArray[np.int64]  # (P, 2), row numbers
NO_PAIRS: Pairs = np.empty((0, 2), dtype=np.int64)


def connected_components(count: int, pairs: Pairs) -> NDArray[np.int64]:
    """Return for each of `count` rows the smallest row it is connected to, shape (count,).

    The smaller label wins along all pairs at once and pointers are followed to their end, until nothing changes.
    """
    label = np.arange(count)
    left, right = pairs[:, 0], pairs[:, 1]
    while True:
        low = np.minimum(label[left], label[right])
        hooked = label.copy()
        np.minimum.at(hooked, label[left], low)
        np.minimum.at(hooked, label[right], low)
        while not np.array_equal(hooked, hooked[hooked]):
            hooked = hooked[hooked]
        if np.array_equal(hooked, label):
            return label
        label = hooked


def spanning_pairs(count: int, pairs: Pairs) -> Pairs:
    """Return fewer pairs with the same components: each row with the smallest of its component."""
    label = connected_components(count, pairs)
    rows = np.flatnonzero(label != np.arange(count))
    return np.column_stack([label[rows], rows])
