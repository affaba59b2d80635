"""A score as a power law of the number of photos, a - b n^-c, with a band from redraws of the test.

The form is that of Hestness et al. 2017 (arXiv 1712.00409) for errors, with a the score of endless photos. Three
sizes are three parameters: that the curve meets its points then says nothing, only the band does.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whichland.statistics import interval

Floats = NDArray[np.float64]

POWERS = np.geomspace(0.05, 3.0, 80)
BEYOND = 4.0  # times the most photos seen, to where the curve is drawn
STEPS = 60


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """A fitted curve over S numbers of photos."""

    a: float
    b: float
    c: float
    photos: Floats  # S
    score: Floats  # S
    low: Floats  # S
    high: Floats  # S
    last: float  # the most photos that were learnt from; the rest is a guess ahead


def fit(photos_P: Floats, score_P: Floats, drawn_RP: Floats) -> LearningCurve | None:
    """Fit the scores at P numbers of photos, and each of R redraws of them; None for fewer than three numbers."""
    if len(np.unique(photos_P)) < 3:
        return None
    along = np.geomspace(photos_P.min(), photos_P.max() * BEYOND, STEPS)
    a, b, c = parameters(photos_P, np.concatenate([score_P[None], drawn_RP]))
    curves = a[:, None] - b[:, None] * along ** -c[:, None]
    low, high = interval(curves[1:])
    return LearningCurve(
        a=float(a[0]),
        b=float(b[0]),
        c=float(c[0]),
        photos=along,
        score=curves[0],
        low=np.minimum(low, curves[0]),
        high=np.maximum(high, curves[0]),
        last=float(photos_P.max()),
    )


def parameters(photos_P: Floats, scores_RP: Floats) -> tuple[Floats, Floats, Floats]:
    """Least squares with a ≤ 1, b ≥ 0 and c one of `POWERS`, for each row of scores: a, b, c of length R."""
    best = np.full(len(scores_RP), np.inf)
    found = np.zeros((3, len(scores_RP)))
    mean_R = scores_RP.mean(axis=1)
    for c in POWERS:
        x_P = photos_P**-c
        apart_P = x_P - x_P.mean()
        b_R = np.maximum(-(scores_RP @ apart_P) / (apart_P @ apart_P), 0.0)
        a_R = mean_R + b_R * x_P.mean()
        over = a_R > 1  # the best under a = 1
        b_R = np.where(over, np.maximum((1 - scores_RP) @ x_P / (x_P @ x_P), 0.0), b_R)
        a_R = np.where(over, 1.0, a_R)
        error_R = ((scores_RP - a_R[:, None] + b_R[:, None] * x_P) ** 2).sum(axis=1)
        better = error_R < best - 1e-12
        best = np.where(better, error_R, best)
        found[:, better] = np.stack([a_R, b_R, np.full_like(a_R, c)])[:, better]
    return found[0], found[1], found[2]
