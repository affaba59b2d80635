"""What combining the views of a panorama does to probabilities: single views beside three ways to combine them.

    .venv/bin/python benchmarks/views.py MANIFEST --source pano --bundle runs/NAME/bundle --cache probabilities.npz

All kept views of `--source` whose country the model knows are judged, so the model must not have learnt from them.
The panoramas are halved at random, 200 times over: temperature and sets are fitted on the single views of one
half, as `whichland calibrate` fits them, and everything is measured on the other half. Printed are means over the
halvings and, in brackets, the 5th and 95th percentile.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whichland.manifest import read
from whichland.model.calibration import NOTHING, fit, log_softmax
from whichland.model.model import load as open_model
from whichland.model.views import combined

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
HALVINGS = 200
LEVELS = (0.8, 0.9, 0.95)


def probabilities_of(bundle: Path, rows: pl.DataFrame, cache: Path | None) -> Floats:
    """The model's probabilities for each view, from the cache where they are there."""
    if cache is not None and cache.is_file():
        return np.load(cache)["probabilities"]
    probabilities = np.stack(
        [answer.probabilities for answer in open_model(bundle).predict(rows["uri"], progress=True)]
    )
    if cache is not None:
        np.savez(cache, probabilities=probabilities)
    return probabilities


def product(probs_NK: Floats, panorama_N: Ints) -> Floats:
    """The probabilities as if the views were independent: their product, scaled."""
    sum_PK = np.zeros((panorama_N.max() + 1, probs_NK.shape[1]))
    np.add.at(sum_PK, panorama_N, np.log(np.maximum(probs_NK, NOTHING)))
    return np.exp(log_softmax(sum_PK))


def logarithms(probs_NK: Floats, panorama_N: Ints) -> Floats:
    """The mean of the logarithms, scaled: the rule of `predict`."""
    return np.stack([combined(probs_NK[panorama_N == at]) for at in range(panorama_N.max() + 1)])


def average(probs_NK: Floats, panorama_N: Ints) -> Floats:
    """The mean of the probabilities themselves."""
    sum_PK = np.zeros((panorama_N.max() + 1, probs_NK.shape[1]))
    np.add.at(sum_PK, panorama_N, probs_NK)
    return sum_PK / np.bincount(panorama_N)[:, None]


WAYS: dict[str, Callable[[Floats, Ints], Floats]] = {
    "one view": lambda probs_NK, panorama_N: probs_NK,
    "mean of logarithms": logarithms,
    "mean of probabilities": average,
    "product": product,
}


def judged(probs_NK: Floats, truth_N: Ints, sets: Callable[[Floats, float], NDArray[np.bool_]]) -> list[float]:
    """Top-1, probability of the first guess minus top-1, log-loss; of each level coverage and size."""
    at = np.arange(len(truth_N))
    right = (probs_NK.argmax(axis=1) == truth_N).mean()
    found = [right, probs_NK.max(axis=1).mean() - right]
    found.append(-np.log(np.maximum(probs_NK[at, truth_N], NOTHING)).mean())
    for level in LEVELS:
        within_NK = sets(probs_NK, level)
        found += [within_NK[at, truth_N].mean(), within_NK.sum(axis=1).mean()]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--source", required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    given = parser.parse_args()
    labels = open_model(given.bundle).labels
    rows = read(given.manifest).kept.filter(pl.col("source") == given.source)
    rows = rows.filter(pl.col("country").is_in(list(labels)), pl.col("panorama").is_not_null())
    probs_NK = probabilities_of(given.bundle, rows, given.cache)
    truth_N = np.array([labels.index(code) for code in rows["country"]])
    panorama_N = rows["panorama"].rank("dense").to_numpy().astype(int) - 1
    print(f"{rows.height} views of {panorama_N.max() + 1} panoramas, {rows['country'].n_unique()} countries")
    random = np.random.default_rng(0)
    found: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for _ in range(HALVINGS):
        first_P = random.permutation(panorama_N.max() + 1) < (panorama_N.max() + 1) // 2
        seen_N = first_P[panorama_N]
        calibration = fit(np.log(np.maximum(probs_NK[seen_N], NOTHING)), truth_N[seen_N], panorama_N[seen_N])
        rest = np.flatnonzero(~seen_N)
        own_NK = np.exp(log_softmax(np.log(np.maximum(probs_NK[rest], NOTHING)), calibration.temperature))
        _, first, number_N = np.unique(panorama_N[rest], return_index=True, return_inverse=True)
        for way, combine in WAYS.items():
            truth = truth_N[rest] if way == "one view" else truth_N[rest][first]
            found[way].append(judged(combine(own_NK, number_N), truth, calibration.set_of))
    columns = [
        "top-1",
        "sure − right",
        "log-loss",
        *(f"{name} {level:.0%}" for level in LEVELS for name in ("in", "size")),
    ]
    print(" | ".join(["", *columns]))
    for way, values in found.items():
        low, high = np.percentile(values, (5, 95), axis=0)
        means = np.mean(values, axis=0)
        cells = [f"{mean:.2f} [{a:.2f}, {b:.2f}]" for mean, a, b in zip(means, low, high, strict=True)]
        print(" | ".join([way, *cells]))


if __name__ == "__main__":
    main()
