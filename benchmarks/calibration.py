"""Calibration put to the test on simulated models, where the truth is known; each command prints Markdown.

    python benchmarks/calibration.py sets            # coverage and size of country sets, 1,000 simulations
    python benchmarks/calibration.py ece             # bias of the calibration error, and its intervals
    python benchmarks/calibration.py temperature     # the temperature found, and its intervals
    python benchmarks/calibration.py abstention         # what thresholds for a stated accuracy really give
    python benchmarks/calibration.py methods REPORT… # LAC beside APS and RAPS on the answers of report folders

A simulated photo of country y shows x = y's unit vector + noise of its drive + noise of its own, both Gaussian.
The true probabilities of one photo are then softmax(x / variance): a model that says softmax(1.8 x / variance) is
too sure, and its right temperature is 1.8 exactly. Photos of a drive share y and the drive's noise.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from whichland.evaluation.calibration import temperature_interval
from whichland.evaluation.predictions import FILE, IDENTITY_KEY
from whichland.evaluation.probabilities import equal_mass, probability_scores
from whichland.model.calibration import (
    LEVELS,
    abstention,
    fit,
    fit_temperature,
    group_weights,
    log_softmax,
    set_threshold,
)
from whichland.statistics import group_numbers

COUNTRIES = 22
VARIANCE_OF_DRIVE, VARIANCE_OF_PHOTO = 0.10, 0.06
TOO_SURE = 1.8
SIMULATIONS = 1000

Simulated = tuple[np.ndarray, np.ndarray, np.ndarray]  # logits N×K, truth N, group N


def simulate(drives: int, random: np.random.Generator, *, most: int = 10) -> Simulated:
    """Photos of so many drives; the sizes of drives run from 1 to `most`, small ones the most frequent."""
    sizes = np.minimum(random.geometric(0.35, drives), most)
    group = np.repeat(np.arange(drives), sizes)
    truth = random.integers(COUNTRIES, size=drives)[group]
    shared = random.normal(0, VARIANCE_OF_DRIVE**0.5, (drives, COUNTRIES))[group]
    x = shared + random.normal(0, VARIANCE_OF_PHOTO**0.5, shared.shape)
    x[np.arange(len(truth)), truth] += 1
    return TOO_SURE * x / (VARIANCE_OF_DRIVE + VARIANCE_OF_PHOTO), truth, group


def sets() -> None:
    """Fit on 200 drives, ask a photo of one new drive; and of many, for the mean."""
    print("| promised | held, of 1,000 | binomial 95 % | mean coverage | photos counted alike | mean size |")
    print("|---|---|---|---|---|---|")
    rows = {level: [] for level in LEVELS}
    for seed in range(SIMULATIONS):
        random = np.random.default_rng(seed)
        logits, truth, group = simulate(200, random)
        found = fit(logits, truth, group)
        alike = fit(logits, truth, np.arange(len(truth)))
        new, answer, drive = simulate(300, random)
        first = np.unique(drive, return_index=True)[1]  # one photo a drive
        new, answer = new[first], answer[first]
        probabilities = np.exp(log_softmax(new, found.temperature))
        photo = np.arange(len(answer))
        for level in LEVELS:
            within = found.set_of(probabilities, level)
            covered = within[photo, answer]
            other = alike.set_of(probabilities, level)[photo, answer]
            rows[level].append((covered[0], covered.mean(), other.mean(), within.sum(axis=1).mean()))
    for level, values in rows.items():
        held, mean, other, size = np.mean(values, axis=0)
        error = 1.96 * (level * (1 - level) / SIMULATIONS) ** 0.5
        print(
            f"| {level:.0%} | {held:.1%} | {level - error:.1%} to {level + error:.1%} | {mean:.2%} "
            f"| {other:.2%} | {size:.2f} |"
        )


def ece() -> None:
    """The error of probabilities at three temperatures, from few and from many photos."""
    print("| photos (drives) | temperature | true | in bins | freed of chance | 95 % interval holds the truth |")
    print("|---|---|---|---|---|---|")
    for drives, simulations in ((60, 100), (200, 100), (1000, 40)):
        for temperature in (TOO_SURE, 1.4, 1.0):
            truth_of_it = _true_ece(temperature)
            plain, freed, held, photos = [], [], [], []
            for seed in range(simulations):
                logits, truth, group = simulate(drives, np.random.default_rng(seed))
                probabilities = np.exp(log_softmax(logits, temperature))
                score = probability_scores(probabilities, truth, group).ece
                plain.append(_in_bins(probabilities, truth))
                freed.append(score.value)
                held.append(score.low <= truth_of_it <= score.high)
                photos.append(len(truth))
            print(
                f"| {np.mean(photos):,.0f} ({drives:,}) | {temperature} | {truth_of_it:.1%} "
                f"| {np.mean(plain):.1%} | {np.mean(freed):.1%} | {np.mean(held):.0%} |"
            )


def _in_bins(probabilities: np.ndarray, truth: np.ndarray, bins: np.ndarray | None = None) -> float:
    """The calibration error as most compute it, over the same bins."""
    bins = equal_mass(probabilities.max(axis=1)) if bins is None else bins
    miss = (probabilities.argmax(axis=1) == truth) - probabilities.max(axis=1)
    return float(np.abs(np.bincount(bins, miss)).sum() / len(truth))


def _true_ece(temperature: float) -> float:
    """From so many photos that chance is gone, in 200 bins."""
    logits, truth, _ = simulate(200_000, np.random.default_rng(12345))
    probabilities = np.exp(log_softmax(logits, temperature))
    rank = probabilities.max(axis=1).argsort().argsort()
    return _in_bins(probabilities, truth, rank * 200 // len(rank))


def temperature() -> None:
    """The right temperature is 1.8."""
    print("| photos (drives) | mean found | standard deviation | 95 % interval holds 1.8 |")
    print("|---|---|---|---|")
    for drives in (30, 100, 300):
        found, held, photos = [], [], []
        for seed in range(100):
            logits, truth, group = simulate(drives, np.random.default_rng(seed))
            best = fit_temperature(logits, truth)
            score = temperature_interval(logits, truth, group, best)
            found.append(best)
            held.append(score.low <= TOO_SURE <= score.high)
            photos.append(len(truth))
        print(
            f"| {np.mean(photos):,.0f} ({drives}) | {np.mean(found):.3f} | {np.std(found):.3f} | {np.mean(held):.0%} |"
        )


def abstention_() -> None:
    """Choose a threshold on some drives, look at its accuracy on very many others."""
    logits, truth, group = simulate(100_000, np.random.default_rng(12345))
    first = np.unique(group, return_index=True)[1]
    probabilities = np.exp(log_softmax(logits[first], TOO_SURE))
    order = np.argsort(-probabilities.max(axis=1))
    sure = -probabilities.max(axis=1)[order]
    right = np.cumsum((probabilities.argmax(axis=1) == truth[first])[order]) / np.arange(1, len(order) + 1)
    print(f"Of all photos {right[-1]:.1%} are right.\n")
    print("| drives | asked | true accuracy, mean | more than 2 points short | answered | no threshold found |")
    print("|---|---|---|---|---|---|")
    for drives in (100, 500):
        chosen: dict[float, list[float | None]] = {accuracy: [] for accuracy in LEVELS}
        for seed in range(200):
            logits, truth, group = simulate(drives, np.random.default_rng(seed))
            own = np.exp(log_softmax(logits, fit_temperature(logits, truth)))
            for accuracy, found in chosen.items():
                found.append(abstention(own, truth, group_weights(group), accuracy).threshold)
        for accuracy, found in chosen.items():
            thresholds = [threshold for threshold in found if threshold is not None]
            if not thresholds:
                print(f"| {drives:,} | {accuracy:.0%} | – | – | – | 100% |")
                continue
            answered = np.maximum(1, np.searchsorted(sure, -np.array(thresholds), side="right"))
            gave = right[answered - 1]
            print(
                f"| {drives:,} | {accuracy:.0%} | {gave.mean():.1%} | {(gave < accuracy - 0.02).mean():.0%} "
                f"| {(answered / len(sure)).mean():.0%} | {1 - len(thresholds) / len(found):.0%} |"
            )


def methods(folders: list[Path]) -> None:
    """Cut a report's answers in halves by group 200 times: fit the sets on one, judge them on the other."""
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "LAC (one threshold of probabilities)": lambda probabilities: -probabilities,
        "APS (probabilities summed from the top)": lambda probabilities: _summed(probabilities),
        "RAPS (0.01 more a country from the 6th)": lambda probs: _summed(probs, penalty=0.01, free=5),
        "RAPS (0.1 more a country from the 3rd)": lambda probs: _summed(probs, penalty=0.1, free=2),
    }
    print("| answers | level | way | coverage | mean size | countries covered worst, mean of a tenth |")
    print("|---|---|---|---|---|---|")
    for folder in folders:
        table = pl.read_parquet(folder / FILE, glob=False)
        labels = json.loads(pl.read_parquet_metadata(folder / FILE)[IDENTITY_KEY])["labels"]
        probabilities = table["probabilities"].to_numpy().astype(np.float64)
        truth = np.array([labels.index(country) for country in table["country"]])
        group = group_numbers(table["group"].to_list())
        for level in LEVELS:
            for name, way in ways.items():
                score = way(probabilities)
                found = []
                for seed in range(200):
                    half = np.random.default_rng(seed).permutation(group.max() + 1)[group] % 2 == 0
                    # `set_threshold` wants scores of which more is better
                    threshold = set_threshold(-score[half], truth[half], group_weights(group[half]), level)
                    within = -score[~half] >= (threshold if threshold != 0 else -np.inf)
                    within[np.arange(len(within)), probabilities[~half].argmax(axis=1)] = True
                    covered = within[np.arange(len(within)), truth[~half]]
                    found.append((covered.mean(), within.sum(axis=1).mean(), _worst(covered, truth[~half])))
                coverage, size, worst = np.mean(found, axis=0)
                print(f"| {folder.parent.name} | {level:.0%} | {name} | {coverage:.1%} | {size:.2f} | {worst:.0%} |")


def _summed(probabilities: np.ndarray, *, penalty: float = 0.0, free: int = 0) -> np.ndarray:
    """Score of each country: the probabilities of all likelier ones and its own, and a penalty on its rank."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.cumsum(np.take_along_axis(probabilities, order, axis=1), axis=1)
    ranked += penalty * np.maximum(0, np.arange(1, probabilities.shape[1] + 1) - free)
    score = np.empty_like(ranked)
    np.put_along_axis(score, order, ranked, axis=1)
    return score


def _worst(covered: np.ndarray, truth: np.ndarray) -> float:
    photos = np.bincount(truth)
    share = np.bincount(truth, covered)[photos > 0] / photos[photos > 0]
    return float(np.sort(share)[: max(1, len(share) // 10)].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", choices=("sets", "ece", "temperature", "abstention", "methods"))
    parser.add_argument("folders", nargs="*", type=Path)
    given = parser.parse_args()
    if given.part == "methods":
        methods(given.folders)
    else:
        {"sets": sets, "ece": ece, "temperature": temperature, "abstention": abstention_}[given.part]()


if __name__ == "__main__":
    main()
