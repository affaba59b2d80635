"""How far two ways of running one network agree: on the first guess, and in the probabilities."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whichland.model.engines import Logits
from whichland.model.model import softmax


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What a network kept of another's answers to the same photos."""

    photos: int
    same: float  # share of photos with the same first guess
    low: float  # its 95 % interval (Wilson 1927)
    high: float
    moved: float  # share of the probabilities that went to other countries (total variation), mean over the photos
    most_moved: float  # the same, of the photo where it is largest
    right: float | None = None  # share of photos with the right first guess, where the countries are known
    right_before: float | None = None

    def __str__(self) -> str:
        text = (
            f"same first guess on {self.same:.1%} [{self.low:.1%}, {self.high:.1%}] of {self.photos} photos, "
            f"{self.moved:.1%} of the probabilities moved ({self.most_moved:.1%} at most)"
        )
        if self.right is None or self.right_before is None:
            return text
        return f"{text}, {self.right:.1%} right (before: {self.right_before:.1%})"


def agreement(
    before_NK: Logits, after_NK: Logits, temperature: float, truth_N: NDArray[np.int64] | None = None
) -> Agreement:
    """Hold one network's logits against another's, at the bundle's temperature."""
    from scipy.stats import binomtest

    first_N, other_N = before_NK.argmax(axis=1), after_NK.argmax(axis=1)
    moved_N = np.abs(softmax(before_NK, temperature) - softmax(after_NK, temperature)).sum(axis=1) / 2
    interval = binomtest(int((first_N == other_N).sum()), len(first_N)).proportion_ci(method="wilson")
    return Agreement(
        photos=len(first_N),
        same=float((first_N == other_N).mean()),
        low=float(interval.low),
        high=float(interval.high),
        moved=float(moved_N.mean()),
        most_moved=float(moved_N.max()),
        right=None if truth_N is None else float((other_N == truth_N).mean()),
        right_before=None if truth_N is None else float((first_N == truth_N).mean()),
    )
