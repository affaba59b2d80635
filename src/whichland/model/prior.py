"""What a model takes for granted: how common each country was among the photos it learnt from.

A photo from elsewhere need not follow those shares. Dividing the odds by them, and multiplying by the shares that
are expected there, gives the odds under the latter, as long as each country's photos look the same in both places
(Saerens, Latinne & Decaestecker 2002, doi:10.1162/089976602753284446).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichland.errors import UserError

KEY = "prior"  # in a bundle's whichland.json: a share a label, in their order


def shares(targets_N: NDArray[np.int64], weights_N: NDArray[np.floating[Any]], labels: int) -> list[float]:
    """Share of each label among weighted photos."""
    counts = np.bincount(targets_N, weights_N, labels)
    return [float(share) for share in counts / counts.sum()]


def evened(odds_NK: NDArray[np.floating[Any]], info: Mapping[str, Any]) -> NDArray[np.float32]:
    """Odds as if every country were equally common, N×K; `info` is the bundle's.

    Raises UserError where the bundle does not say what it was trained on.
    """
    prior = info.get(KEY)
    if prior is None:
        raise UserError("this bundle does not say how common each country was in training; train it anew")
    ratios = odds_NK / np.asarray(prior, np.float64)
    return np.asarray(ratios / ratios.sum(axis=1, keepdims=True), np.float32)
