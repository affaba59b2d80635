"""Models that answered the same photos: groups left out for intervals, swaps for tests, photos needed.

Photos of one group (a drive, a panorama) are not independent, so whole groups are left out and whole groups change
sides. All of it needs the answers counted by group and country alone, which makes it a product of matrices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import NormalDist

import numpy as np

from whichland.statistics import FEWEST, Flags, Floats, Ints, blocks_of

SCORES = ("top1", "macro_f1")
BLOCK = 250  # swaps held in memory at once
ENOUGH = 50  # swaps as extreme as what was seen, after which drawing more would not change the verdict


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The answers of M models to the same photos, counted by G groups and K countries.

    A model may have been trained several times: its counts are sums over its runs, its scores those of all their
    answers taken together.
    """

    names: tuple[str, ...]
    runs: Ints  # M
    photos: Floats  # G×K
    hits: Floats  # M×G×K
    guessed: Floats  # M×G×K
    photo_hits: Ints  # M×N

    @property
    def group_of(self) -> Ints:
        """The group of each photo, groups in order."""
        return np.repeat(np.arange(len(self.photos)), self.photos.sum(axis=1).astype(np.int64))

    def only(self, models: Ints) -> "Tally":
        """Some of the models, in that order."""
        names = tuple(self.names[at] for at in models)
        of_M = {name: getattr(self, name)[models] for name in ("runs", "hits", "guessed", "photo_hits")}
        return replace(self, names=names, **of_M)


def tally(guesses: Mapping[str, Sequence[Ints]], truth_N: Ints, group_N: Ints, labels: int) -> Tally:
    """Count answers: for each model's name the guesses of its runs, each over the same N photos."""
    groups = int(group_N.max()) + 1

    def count(label_N: Ints, of_N: Floats) -> Floats:
        flat = np.bincount(group_N * labels + label_N, of_N, groups * labels)
        return np.asarray(flat.reshape(groups, labels), np.float64)

    ones = np.ones(len(truth_N))
    return Tally(
        names=tuple(guesses),
        runs=np.array([len(runs) for runs in guesses.values()], np.int64),
        photos=count(truth_N, ones),
        hits=np.stack([sum(count(truth_N, ones * (g == truth_N)) for g in r) for r in guesses.values()]),
        guessed=np.stack([sum(count(g, ones) for g in r) for r in guesses.values()]),
        photo_hits=np.stack([sum((g == truth_N).astype(np.int64) for g in r) for r in guesses.values()]),
    )


def scores(answers: Tally, times_RG: Floats | None = None) -> Floats:
    """Top-1 and macro-F1 of every model when group g counts times_RG[r, g] times: R×M×2, in order of `SCORES`."""
    times_RG = np.ones((1, len(answers.photos))) if times_RG is None else times_RG
    photos_RK = times_RG @ answers.photos
    found = [
        _scored(photos_RK, times_RG @ hits / runs, times_RG @ guessed / runs)
        for hits, guessed, runs in zip(answers.hits, answers.guessed, answers.runs, strict=True)
    ]
    return np.stack(found, axis=1)


def _scored(photos_RK: Floats, hits_RK: Floats, guessed_RK: Floats) -> Floats:
    """Top-1 and macro-F1, the latter over the countries that have photos: R×2."""
    present = photos_RK > 0
    f1_RK = 2 * hits_RK / np.maximum(photos_RK + guessed_RK, 1)  # hits are none where photos are
    macro_f1 = (f1_RK * present).sum(axis=1) / present.sum(axis=1)
    return np.stack([hits_RK.sum(axis=1) / photos_RK.sum(axis=1), macro_f1], axis=1)


def leave_out(answers: Tally) -> Floats:
    """How far every model's scores move when each block of groups is left out: B×M×2."""
    block_G = blocks_of(len(answers.photos))
    kept_BG = (block_G != np.arange(block_G.max() + 1)[:, None]).astype(float)
    if len(kept_BG) < FEWEST:
        return np.zeros((len(kept_BG), len(answers.names), len(SCORES)))
    return scores(answers, kept_BG) - scores(answers)


def group_difference(answers: Tally, first: int, second: int) -> Ints:
    """By how many photos `first` is ahead of `second` in each group; runs count alike, in whole numbers."""
    return _difference(answers.hits.sum(axis=2).astype(np.int64), answers.runs, first, second)


def photo_difference(answers: Tally, first: int, second: int) -> Ints:
    """The same for each photo on its own."""
    return _difference(answers.photo_hits, answers.runs, first, second)


def _difference(hits: Ints, runs_M: Ints, first: int, second: int) -> Ints:
    ahead = hits[first] * runs_M[second] - hits[second] * runs_M[first]
    return np.asarray(ahead // max(1, int(np.gcd.reduce(ahead))), np.int64)


def sign_flip_p(difference: Ints) -> float:
    """Two-sided p of the sum of whole numbers, had each as well been its negative: exact.

    If two models are equally good, what one is ahead in a group the other might as well have been. With one photo
    a group this is McNemar's exact test (McNemar 1947); with several it is the paired permutation test with the
    group as its unit (Fisher 1935), which stays valid where McNemar's, which takes photos for independent, is not.
    """
    from scipy.stats import binom

    sizes, counts = np.unique(np.abs(difference[difference != 0]), return_counts=True)
    law = np.ones(1)  # of the sum of those that are positive
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        one = np.zeros(size * count + 1)
        one[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        law = np.convolve(law, one)
    seen = (len(law) - 1 + abs(int(difference.sum()))) // 2
    return min(1.0, 2 * float(law[seen:].sum()))


def swap_p(answers: Tally, first: int, second: int, *, swaps: int, seed: int = 0) -> float:
    """Two-sided p of the difference in macro-F1, had the two models swapped their answers in any of the groups.

    From up to `swaps` random swaps; drawing ends early once `ENOUGH` were as extreme (Besag and Clifford 1991).
    """
    mean = [(answers.hits[at] / answers.runs[at], answers.guessed[at] / answers.runs[at]) for at in (first, second)]
    (hits_A, guessed_A), (hits_B, guessed_B) = mean
    more_hits, more_guessed = hits_B - hits_A, guessed_B - guessed_A
    differ = np.flatnonzero(np.abs(more_hits).sum(axis=1) + np.abs(more_guessed).sum(axis=1))
    more_hits, more_guessed = more_hits[differ], more_guessed[differ]
    photos_K = answers.photos.sum(axis=0)[None]

    def apart(swapped_RG: Floats) -> Floats:
        to_hits, to_guessed = swapped_RG @ more_hits, swapped_RG @ more_guessed
        one = _scored(photos_K, hits_A.sum(axis=0) + to_hits, guessed_A.sum(axis=0) + to_guessed)
        two = _scored(photos_K, hits_B.sum(axis=0) - to_hits, guessed_B.sum(axis=0) - to_guessed)
        return np.asarray(np.abs(one[:, 1] - two[:, 1]), np.float64)

    random = np.random.default_rng(seed)
    seen = apart(np.zeros((1, len(differ))))[0] - 1e-12
    extreme, drawn = 0, 0
    while drawn < swaps:
        block = min(BLOCK, swaps - drawn)
        hit = np.cumsum(apart(random.integers(0, 2, (block, len(differ))).astype(np.float64)) >= seen)
        if extreme + hit[-1] >= ENOUGH:
            return ENOUGH / (drawn + int(np.searchsorted(hit, ENOUGH - extreme)) + 1)
        extreme, drawn = extreme + int(hit[-1]), drawn + block
    return (extreme + 1) / (drawn + 1)


def tie_groups(score_M: Sequence[float], apart_MM: Flags) -> list[str]:
    """Letters for each model: two models share one just when no difference between them was shown; the best has an "a".

    The letters are the largest sets of models of which no two differ demonstrably, a compact letter display by
    insertion and absorption (Piepho 2004); they take the place of ranks, which chance would decide.
    """
    order = sorted(range(len(score_M)), key=lambda at: -score_M[at])
    sets = [frozenset(range(len(order)))]  # of ranks
    for a, b in np.argwhere(np.triu(apart_MM[np.ix_(order, order)])).tolist():
        split = {part for old in sets for part in ([old - {a}, old - {b}] if {a, b} <= old else [old])}
        sets = [part for part in split if not any(part < other for other in split)]
    sets.sort(key=sorted)
    return [
        " ".join(_letter(number) for number, tied in enumerate(sets) if order.index(model) in tied)
        for model in range(len(order))
    ]


def _letter(number: int) -> str:
    """a, b, … z, a2, b2, …"""
    return chr(ord("a") + number % 26) + (str(number // 26 + 1) if number >= 26 else "")


def photos_needed(
    variance: float, photos: int, *, difference: float = 0.05, level: float = 0.05, power: float = 0.8
) -> int:
    """Test photos with which a true difference in top-1 would be found with probability `power`.

    `variance` is that of the difference as measured on `photos` photos, so that grouping is in it: more photos
    are taken to come in groups of the same sizes. A difference d cannot be without d of the photos being answered
    differently, which bounds the variance a photo from below.
    """
    each = max(variance * photos, difference - difference**2)
    z = NormalDist().inv_cdf(1 - level / 2) + NormalDist().inv_cdf(power)
    return ceil(z**2 * each / difference**2)
