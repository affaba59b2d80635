"""A mean with its interval, from a bootstrap over groups: photos of one drive are not independent."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

REPLICATES = 2000
TAIL = 0.025


def mean_interval(
    values_N: NDArray[np.floating], groups: Sequence[object] | None = None, *, seed: int = 0
) -> tuple[float, float, float]:
    """The mean of N values, and the bounds of its 95 % percentile interval when groups are drawn anew.

    Without `groups`, or for a group that is None, each value stands for itself. One group alone has no interval:
    its bounds are those of the unknown, not-a-number.
    """
    numbers: dict[object, int] = {}
    named = [None] * len(values_N) if groups is None else groups
    keys = (("alone", at) if group is None else group for at, group in enumerate(named))
    group_N = np.array([numbers.setdefault(key, len(numbers)) for key in keys])
    count = len(numbers)
    mean = float(np.mean(values_N))
    if count < 2:
        return mean, float("nan"), float("nan")
    sums_G = np.bincount(group_N, weights=values_N, minlength=count)
    sizes_G = np.bincount(group_N, minlength=count)
    times_RG = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=REPLICATES)
    drawn_R = (times_RG @ sums_G) / (times_RG @ sizes_G)
    low, high = np.quantile(drawn_R, (TAIL, 1 - TAIL))
    return mean, float(low), float(high)
