"""Does `whichland compare` err as rarely as it says? Simulated models whose true scores are known.

    OMP_NUM_THREADS=1 python benchmarks/comparison.py [--simulations 1000]

A photo is answered rightly when a sum of normal numbers lies below a threshold: one shared by the photos of a
group and all models (an easy drive), one by a group and one model, one by a photo and all models, one of the
answer's own. So answers are correlated within groups and between models, and every model's accuracy is exact by
construction. A wrong answer falls on the other countries with fixed probabilities. A simulation is a test of 40
groups of 1 to 8 photos a country (900 photos of five countries in all), or of 200 single photos, as a small test
split is.

Prints, for models of equal accuracy: how often any pair is called different (family-wise error, to be at most
5 %), after Holm and, beside it, what McNemar's test of single photos and unadjusted tests would do; how often the
95 % intervals of differences hold the truth (93 to 97 %), for equal and for unequal models; and how often a true
difference is found.
"""

import argparse
import time
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from statistics import NormalDist

import numpy as np

from whichland.evaluation.paired import (
    group_difference,
    leave_out,
    photo_difference,
    photos_needed,
    scores,
    sign_flip_p,
    swap_p,
    tally,
)
from whichland.statistics import Floats, Ints, holm, scored
from whichland.statistics import errors as standard_errors

COUNTRIES = 5
SHARED = (0.3, 0.15, 0.25)  # of the variance: group and all models, group and model, photo and all models
LEVEL = 0.05


@dataclass(frozen=True)
class World:
    """What a test is like: groups of a country by size."""

    name: str
    groups: int  # of a country, on average
    most: int  # photos of a group


WORLDS = (World("40 groups of 1–8 photos a country", 40, 8), World("40 photos a country, no groups", 40, 1))


def answers(world: World, accuracy_MK: Floats, random: np.random.Generator) -> tuple[dict[str, list[Ints]], Ints, Ints]:
    """Guesses by model, truth and groups of one simulated test."""
    models = len(accuracy_MK)
    size_G = random.integers(1, world.most + 1, world.groups * COUNTRIES)
    truth_G = random.integers(COUNTRIES, size=len(size_G))  # a split draws groups, not so many of a country
    group_N = np.repeat(np.arange(len(size_G)), size_G)
    truth_N = truth_G[group_N]
    drive, own_drive, photo = (sqrt(share) for share in SHARED)
    rest = sqrt(1 - sum(SHARED))
    easy_N = drive * random.normal(size=len(size_G))[group_N] + photo * random.normal(size=len(group_N))
    guesses = {}
    for model in range(models):
        noise_N = own_drive * random.normal(size=len(size_G))[group_N] + rest * random.normal(size=len(group_N))
        below_K = np.array([NormalDist().inv_cdf(p) for p in accuracy_MK[model]])
        right_N = easy_N + noise_N < below_K[truth_N]
        # wrong answers prefer the next country: two to one against each of the others
        off_N = random.choice(np.arange(1, COUNTRIES), len(truth_N), p=np.array([2, 1, 1, 1]) / 5)
        guesses[f"m{model}"] = [np.where(right_N, truth_N, (truth_N + off_N) % COUNTRIES)]
    return guesses, truth_N, group_N


def true_scores(accuracy_MK: Floats) -> Floats:
    """Top-1 and macro-F1 of the models over endless photos, as many of each country: M×2."""
    found = []
    for accuracy_K in accuracy_MK:
        confusion = np.diag(accuracy_K)
        for truth in range(COUNTRIES):
            for off, share in enumerate((2, 1, 1, 1), 1):
                confusion[truth, (truth + off) % COUNTRIES] += (1 - accuracy_K[truth]) * share / 5
        f1_K = 2 * accuracy_K / (1 + confusion.sum(axis=0))
        found.append([accuracy_K.mean(), f1_K.mean()])
    return np.array(found)


def errors(world: World, simulations: int, models: int) -> None:
    """Family-wise error among models of equal accuracy."""
    pairs = list(combinations(range(models), 2))
    wrong = dict.fromkeys(("group test and Holm", "macro-F1 and Holm", "McNemar and Holm", "group test alone"), 0)
    for seed in range(simulations):
        random = np.random.default_rng((1, seed))
        counted = tally(*answers(world, np.full((models, COUNTRIES), 0.7), random), COUNTRIES)
        by_group = [sign_flip_p(group_difference(counted, a, b)) for a, b in pairs]
        by_photo = [sign_flip_p(photo_difference(counted, a, b)) for a, b in pairs]
        swapped = [swap_p(counted, a, b, swaps=2000, seed=seed) for a, b in pairs]
        wrong["group test and Holm"] += min(holm(by_group)) <= LEVEL
        wrong["macro-F1 and Holm"] += min(holm(swapped)) <= LEVEL
        wrong["McNemar and Holm"] += min(holm(by_photo)) <= LEVEL
        wrong["group test alone"] += min(by_group) <= LEVEL
    print(f"\n{world.name}: {models} models right on 70 % each, {len(pairs)} pairs; any pair called different in")
    for name, count in wrong.items():
        print(f"  {name:<22}{share(count, simulations)}")


def coverage(world: World, simulations: int, accuracy_MK: Floats, named: str) -> None:
    """How often the intervals of the difference of two models hold the true one, and how often p finds it."""
    truth = true_scores(accuracy_MK)
    true = truth[0] - truth[1]
    held, found, needed = np.zeros(2), 0, []
    for seed in range(simulations):
        random = np.random.default_rng((2, seed))
        counted = tally(*answers(world, accuracy_MK, random), COUNTRIES)
        apart, alone = -np.diff(leave_out(counted), axis=1)[:, 0], scores(counted)[0]
        judged = scored(alone[0] - alone[1], apart, counted.group_of, "difference")
        held += [score.ends[0] <= at <= score.ends[1] for score, at in zip(judged, true, strict=True)]
        found += sign_flip_p(group_difference(counted, 0, 1)) <= LEVEL
        needed.append(photos_needed(float(standard_errors(apart)[0][0]) ** 2, int(counted.photos.sum())))
    print(
        f"  {named:<34}{true[0]:>7.1%}{true[1]:>9.1%}   top-1 {held[0] / simulations:.1%}   "
        f"macro-F1 {held[1] / simulations:.1%}   p ≤ 5 % in {found / simulations:.1%}   "
        f"needed for 5 points: {int(np.median(needed)):,}"
    )


def share(count: int, of: int) -> str:
    """A share with its Wilson interval."""
    z, p = 1.96, count / of
    middle, half = (p + z * z / (2 * of)), z * sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    scale = 1 + z * z / of
    return f"{p:6.1%}  [{(middle - half) / scale:.1%}, {(middle + half) / scale:.1%}]"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--models", type=int, default=5)
    given = parser.parse_args()
    begun = time.perf_counter()
    equal, tilted = np.full(COUNTRIES, 0.7), np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    cases = {
        "equal": np.stack([equal, equal]),
        "equal top-1, other countries": np.stack([tilted, tilted[::-1]]),
        "five points apart": np.stack([equal + 0.05, equal]),
        "fifteen points apart": np.stack([equal + 0.15, equal]),
    }
    for world in WORLDS:
        errors(world, given.simulations, given.models)
        print("  intervals of the difference of two models (true top-1, true macro-F1) hold it in")
        for named, accuracy_MK in cases.items():
            coverage(world, given.simulations, accuracy_MK, named)
    print(f"\n{given.simulations:,} simulations each, {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
