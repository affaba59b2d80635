"""Calibration: the temperature, and the thresholds of prediction sets and of abstention, from validation photos.

A bundle keeps them in whichland.json, so that every answer can use them:

    "temperature": 1.31,
    "calibration": {"sets": {"0.9": 0.043, …}, "abstain": {"0.9": {"threshold": 0.62, …}, …}, …}

Photos of one drive fare alike, so a group counts once, however many photos it has: its photos share a weight of 1.

Sources: temperature scaling, Guo et al. 2017 (arXiv 1706.04599). Sets of all countries above one threshold (LAC),
Sadinle, Lei & Wasserman 2019 (arXiv 1609.00451), with the threshold of split conformal prediction for groups, Lee,
Barber & Willett 2023 (arXiv 2306.06342). Thresholds of abstention by fixed-sequence testing, Angelopoulos, Bates,
Candès, Jordan & Lei 2021 (arXiv 2110.01052).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEVELS = (0.8, 0.9, 0.95)
COLDEST, HOTTEST = 0.1, 10.0
ROUNDING = 1e-9
SLACK = 1e-4  # of a threshold: thresholds are fitted in float64, answers come in float32
CUTS = 20  # shares of the photos at which answering is tested
RISK = 0.1  # chance, over the draw of the validation photos, that a threshold breaks its promise
Share = Annotated[float, Field(ge=0, le=1)]
NOTHING = float(np.finfo(np.float32).tiny)  # probabilities below it are a model's rounding


@dataclass(frozen=True, kw_only=True)
class Abstention:
    """Above which probabilities of the first guess to answer, and what that gave on the validation photos."""

    threshold: Share | None  # None: no threshold keeps the promise
    answered: Share  # of the photos
    right: Share  # of the answered ones


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a bundle knows of its own probabilities; shares are of 1."""

    temperature: float
    photos: int  # of validation
    groups: int
    sets: dict[Share, Share]  # coverage → the probability from which on a label is in the set
    abstain: dict[Share, Abstention]  # accuracy of what is answered → when to answer
    split: str | None = field(default=None, compare=False)  # that it was fitted on
    manifest_sha256: str | None = field(default=None, compare=False)

    @property
    def facts(self) -> dict[str, Any]:
        """As whichland.json holds it, under "calibration"; the temperature is an entry of its own."""
        kept = {key: value for key, value in asdict(self).items() if key != "temperature" and value is not None}
        return kept | {name: {f"{share:g}": of for share, of in kept[name].items()} for name in ("sets", "abstain")}

    def set_of(self, probs_NK: NDArray[np.floating[Any]], level: float) -> NDArray[np.bool_]:
        """Which countries stand in each photo's set: N×K. The first guess always does, so no set is empty."""
        within = reaches(probs_NK, self.sets[level])
        within[np.arange(len(probs_NK)), probs_NK.argmax(axis=1)] = True
        return within


def reaches(probs: NDArray[np.floating[Any]], threshold: float) -> NDArray[np.bool_]:
    """Which probabilities are at least the threshold, rounding apart: a tie at the threshold reaches it."""
    return probs >= threshold * (1 - SLACK)


def fit(
    logits_NK: NDArray[np.floating[Any]],
    truth_N: Ints,
    groups_N: Sequence[str | None] | Ints,
    *,
    levels: Sequence[float] = LEVELS,
    accuracies: Sequence[float] = LEVELS,
) -> Calibration:
    """Fit temperature and thresholds on validation photos.

    `logits_NK` are the model's before any temperature (or logarithms of its probabilities at temperature 1),
    `truth_N` the index of each photo's country, `groups_N` each photo's group (None: one of its own).
    """
    weights_N, temperature = group_weights(groups_N), fit_temperature(logits_NK, truth_N)
    probs_NK = np.exp(log_softmax(logits_NK, temperature))
    return Calibration(
        temperature=temperature,
        photos=len(truth_N),
        groups=round(float(weights_N.sum())),
        sets={level: set_threshold(probs_NK, truth_N, weights_N, level) for level in levels},
        abstain={share: abstention(probs_NK, truth_N, weights_N, share) for share in accuracies},
    )


def group_weights(groups_N: Sequence[str | None] | Ints) -> Floats:
    """One over the size of each photo's group."""
    sizes = Counter(groups_N)
    return np.array([1.0 if group is None else 1 / sizes[group] for group in groups_N])


def log_softmax(logits_NK: NDArray[np.floating[Any]], temperature: float = 1.0) -> Floats:
    """Logarithm of the softmax of logits over the temperature, N×K. Logarithms of probabilities are logits too."""
    scaled = np.asarray(logits_NK, np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    shifted: Floats = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return shifted


def fit_temperature(logits_NK: NDArray[np.floating[Any]], truth_N: Ints) -> float:
    """The temperature with the least negative log-likelihood, between `COLDEST` and `HOTTEST`.

    Its logarithm has a standard normal prior, which hundreds of photos outweigh: a few that are all right by luck
    would else make the model sure of everything.
    """
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(30):  # to 4e-9
        middle = (low + high) / 2
        temperature = float(np.exp(middle))
        falls = slope(logits_NK, truth_N, temperature)[0].sum() / temperature > middle
        low, high = (middle, high) if falls else (low, middle)
    return float(np.exp((low + high) / 2))


def slope(logits_NK: NDArray[np.floating[Any]], truth_N: Ints, temperature: float) -> tuple[Floats, Floats]:
    """First and second derivative of each photo's loss by 1/temperature, N each."""
    z_NK = np.asarray(logits_NK, np.float64)
    probs_NK = np.exp(log_softmax(z_NK, temperature))
    mean_N = (probs_NK * z_NK).sum(axis=1)
    spread_N = (probs_NK * z_NK**2).sum(axis=1) - mean_N**2
    return mean_N - z_NK[np.arange(len(truth_N)), truth_N], spread_N


def set_threshold(probs_NK: Floats, truth_N: Ints, weights_N: Floats, level: float) -> float:
    """The probabilities from which on countries form a set that holds the truth with probability `level`.

    That is for a photo of a group not seen here, averaged over what groups might have been seen. An unseen group
    counts as one that no threshold above 0 would have served; where groups are so few that this alone breaks the
    promise, the threshold is 0 and the set holds all countries.
    """
    own_N = probs_NK[np.arange(len(truth_N)), truth_N]
    order = np.argsort(-own_N, kind="stable")
    covered = np.cumsum(weights_N[order]) / (weights_N.sum() + 1)
    enough = np.flatnonzero(covered >= level - ROUNDING)
    return float(own_N[order[enough[0]]]) if len(enough) else 0.0


def abstention(probs_NK: Floats, truth_N: Ints, weights_N: Floats, accuracy: float) -> Abstention:
    """Answer above the least probabilities of the first guess for which validation shows `accuracy` of the answers.

    Answering is tested at shares of the photos, the surest first: is a share of wrong answers above 1 - `accuracy`
    refuted at `RISK`, by the exact binomial bound over groups? The first share is one at which this could be shown
    were few wrong; the last before one fails is taken. As the order is fixed beforehand, the chance of any wrong step
    is `RISK` for all together; the largest of all passing shares would be a choice of luck.
    """
    from scipy.special import betaincinv

    sure_N, wrong_N = probs_NK.max(axis=1), probs_NK.argmax(axis=1) != truth_N
    order = np.argsort(-sure_N, kind="stable")
    answered, wrong = np.cumsum(weights_N[order]), np.cumsum((weights_N * wrong_N)[order])
    ends = np.flatnonzero(np.append(np.diff(sure_N[order]) != 0, True))  # equal probabilities are answered together
    fewest = 2 * np.log(RISK) / np.log(accuracy)  # twice what would do were none wrong
    best = None
    for groups in answered[-1] * np.arange(1, CUTS + 1) / CUTS:
        if groups < min(fewest, answered[-1]) - ROUNDING:
            continue
        at = ends[np.searchsorted(answered[ends], groups - ROUNDING)]
        right = max(answered[at] - wrong[at], 0.0)
        if right <= 0 or betaincinv(wrong[at] + 1, right, 1 - RISK) > 1 - accuracy + ROUNDING:
            break
        best = at
    if best is None:
        return Abstention(threshold=None, answered=0.0, right=0.0)
    return Abstention(
        threshold=float(sure_N[order[best]]),
        answered=float(answered[best] / answered[-1]),  # sums of one order: at most 1
        right=float(1 - wrong[best] / answered[best]),
    )
