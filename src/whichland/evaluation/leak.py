"""What a random split would have claimed: accuracy with photos of one group on both sides, minus accuracy without.

Both ways judge the same photos with the same probes on the same frozen features, by cross-validation with as
many photos of each country in every fold; they differ only in whether a group may be cut apart. So each photo is
answered twice, and the difference is paired. Photos of a group stand or fall together, so the interval comes from
groups; several ways to cut the folds are averaged.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from whichland.errors import UserError
from whichland.manifest import Manifest
from whichland.model.engines import unit_length
from whichland.model.features import BackboneConfig, Features, features
from whichland.progress import Progress
from whichland.statistics import Floats, Ints, Score, group_numbers, means

FOLDS = 5
SEEDS = 3
ENOUGH = pl.col("group").n_unique().over("country") >= FOLDS
BLOCK = 4096  # photos compared at once with all they may resemble
PENALTY = 1e-3  # scikit-learn's C, on standardised features


@dataclass(frozen=True, kw_only=True)
class Arms:
    """One probe's accuracy under both splits, and the difference with its 95 % interval."""

    random: float
    grouped: float
    leak: float
    low: float | None  # None: no interval, see `Score`
    high: float | None

    def __str__(self) -> str:
        score = Score(value=self.leak, low=self.low, high=self.high)
        return (
            f"random {self.random:.1%}, grouped {self.grouped:.1%}: a random split would have claimed"
            f" {self.leak * 100:+.1f} points ({score.within('+.1f', 100)})"
        )


@dataclass(frozen=True, kw_only=True)
class Leak:
    """The leak number of a manifest."""

    linear: Arms  # logistic regression
    nearest: Arms  # the most similar training photo, by cosine
    photos: int
    groups: int
    countries: int
    shared: float  # part of the photos that share their group with another
    folds: int
    seeds: int


def leak(
    manifest: Manifest, config: BackboneConfig | None = None, *, photos: int = 5000, cache: Path | None = None
) -> Leak:
    """Measure the leak of a split manifest, on at most about `photos` photos drawn by whole groups.

    Countries with fewer groups than folds are left out: they cannot be on both sides. Features are kept in the
    folder `cache`. Raises UserError when fewer than two countries are left.
    """
    config = config or BackboneConfig()
    manifest.require("group", "sha256", hint="run `whichland data split` first")
    rows = drawn(manifest.kept, photos).with_row_index("_row")
    if rows["country"].n_unique() > 1:
        vectors = features(rows["uri"].to_list(), rows["sha256"].to_list(), config, cache)
        rows = rows.filter(pl.Series(~np.isnan(vectors[:, 0]))).filter(ENOUGH)
    if rows["country"].n_unique() < 2:
        raise UserError(
            f"the leak cannot be measured: fewer than two countries have {FOLDS} groups or more that can be read"
        )
    vectors = vectors[rows["_row"].to_numpy()]
    country, group = (group_numbers(rows[name].to_list()) for name in ("country", "group"))
    linear, nearest = answers(vectors, country, group)
    return Leak(
        linear=_arms(linear, group),
        nearest=_arms(nearest, group),
        photos=rows.height,
        groups=int(group.max()) + 1,
        countries=int(country.max()) + 1,
        shared=float((np.bincount(group)[group] > 1).mean()),
        folds=FOLDS,
        seeds=SEEDS,
    )


def drawn(kept: pl.DataFrame, photos: int) -> pl.DataFrame:
    """About `photos` photos of countries with `FOLDS` groups or more: the same at every call.

    Whole groups, in the order of a hash of their names, so a larger draw holds a smaller one and its features
    serve again.
    """
    names = kept["group"].drop_nulls().unique()
    order = [hashlib.sha256(f"leak:{name}".encode()).hexdigest() for name in names]
    ordered = kept.drop_nulls(["group", "country"])
    ordered = ordered.with_columns(_order=pl.col("group").replace_strict(names, order)).sort("_order", "image_id")
    last = ordered["_order"][min(photos, ordered.height) - 1] if ordered.height else ""
    return ordered.filter(pl.col("_order") <= last).drop("_order").filter(ENOUGH)


def answers(vectors: Features, country: Ints, group: Ints) -> tuple[Floats, Floats]:
    """How often the linear and the nearest probe named each photo's country, each N×2: random, grouped folds."""
    standard = standardised(vectors)
    unit = unit_length(vectors)
    right = np.zeros((2, len(country), 2))
    with Progress("measuring the leak", total=SEEDS * FOLDS * 2, unit="probes") as shown:
        for seed in range(SEEDS):
            grouped = grouped_folds(country, group, seed)
            for arm, fold in enumerate((random_folds(country, grouped, seed), grouped)):
                for test in (fold == number for number in range(FOLDS)):
                    for probe, (method, seen) in enumerate(((_linear, standard), (_nearest, unit))):
                        named = method(seen[~test], country[~test], seen[test])
                        right[probe, test, arm] += (named == country[test]) / SEEDS
                    shown.advance()
    return right[0], right[1]


def grouped_folds(country: Ints, group: Ints, seed: int) -> Ints:
    """The fold of each photo; a group is in one. Larger groups first, each to its country's emptiest fold."""
    random = np.random.default_rng((seed, 0))
    numbers, first, size = np.unique(group, return_index=True, return_counts=True)
    filled = np.zeros((int(country.max()) + 1, FOLDS))
    fold_of = np.zeros(numbers.size, dtype=np.int64)
    for at in np.lexsort((random.random(numbers.size), -size)):
        row = filled[country[first[at]]]
        fold_of[at] = random.choice(np.flatnonzero(row == row.min()))
        row[fold_of[at]] += size[at]
    return fold_of[np.searchsorted(numbers, group)]


def random_folds(country: Ints, grouped: Ints, seed: int) -> Ints:
    """Folds as large as those given, country by country, but of photos at random."""
    random = np.random.default_rng((seed, 1))
    fold = np.empty_like(grouped)
    for number in range(int(country.max()) + 1):
        rows = np.flatnonzero(country == number)
        fold[rows] = random.permutation(grouped[rows])
    return fold


def standardised(vectors: Features) -> Features:
    """Each feature with mean 0 and deviation 1."""
    scaled: Features = (vectors - vectors.mean(axis=0)) / np.maximum(vectors.std(axis=0), 1e-6)
    return scaled


def fitted_probe(train: Features, labels: Ints) -> Any:
    """A logistic regression on standardised features, scikit-learn's."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=PENALTY, max_iter=200).fit(train, labels)


def _linear(train: Features, labels: Ints, test: Features) -> Ints:
    named: Ints = fitted_probe(train, labels).predict(test)
    return named


def _nearest(train: Features, labels: Ints, test: Features) -> Ints:
    blocks = np.split(test, range(BLOCK, len(test), BLOCK))
    return np.concatenate([labels[np.argmax(block @ train.T, axis=1)] for block in blocks])


def _arms(right: Floats, group: Ints) -> Arms:
    (leak,) = means(right @ (1.0, -1.0), group, "difference")
    random, grouped = right.mean(axis=0).tolist()
    return Arms(random=random, grouped=grouped, leak=leak.value, low=leak.low, high=leak.high)
