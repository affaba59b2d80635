"""Where wrong answers go: to which part of the world, to which side of the road, and how far.

What a model without an eye for the map would do is worked out beside it: its wrong answers keep their number by
country but are dealt out to the photos at random ("expected"). Neighbours look alike and mostly drive on the same
side, so fewer errors across sides than that need not mean that the side is seen; `within_continent` deals the
answers out within the continent that was guessed alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whichland.evaluation.metrics import Outcomes, worst_tenth
from whichland.geo.land import land_points
from whichland.geo.relations import kilometres, neighbours
from whichland.model.label_sources import countries
from whichland.statistics import Flags, Floats, Ints, Score, bootstrap, renumbered, shares

BOUNDS_KM = (1000, 2500, 5000, 10000)  # of the histogram of distances
BINS = ("neighbour on land", *(f"up to {bound:,} km" for bound in BOUNDS_KM), f"over {BOUNDS_KM[-1]:,} km")
QUANTILES = (0.25, 0.5, 0.75)
PLACES = 50  # that stand for a country when distances are measured

Key = tuple[str, str, str]
Shares = dict[Key, Score | None]
Levels = dict[str, Score | None]  # share of first guesses in the right country, region and continent


@dataclass(frozen=True, kw_only=True)
class Part:
    """A continent or region, and how its photos fared."""

    name: str
    photos: int
    countries: int  # that have photos
    right: Levels


@dataclass(frozen=True, kw_only=True)
class Side:
    """Wrong answers for photos from one side of the road, or from both."""

    drives_on: str  # left, right or both
    wrong: int
    across: Score  # share of them that name a country of the other side
    expected: float  # the same share, if they were dealt out at random
    within_continent: float  # …within the continent that was guessed


@dataclass(frozen=True, kw_only=True)
class Distances:
    """From the true country to the one guessed, over wrong answers."""

    shares: dict[str, Score]  # of wrong answers, by distance, neighbours on land first
    expected: dict[str, float]
    quantiles_km: dict[str, Score]  # "25%", "50%", "75%"
    expected_median_km: float


@dataclass(frozen=True, kw_only=True)
class Worst:
    """A country of the worst tenth."""

    code: str
    recall: Score | None
    photos: int


@dataclass(frozen=True, kw_only=True)
class Geography:
    """All of it."""

    right: Levels
    largest: dict[str, float]  # what naming the most photographed country, region, continent would score
    continents: list[Part]
    regions: list[Part]
    sides: list[Side]
    distances: Distances | None  # None when no answer is wrong
    worst: list[Worst]  # the tenth of countries, one at least, that are known worst


def geography(outcomes: Outcomes, labels: Sequence[str], group_N: Ints) -> Geography:
    """Judge the first guesses, of countries, by where on the globe they lie; intervals are over groups."""
    space = countries(labels)
    places = {
        "country": np.array(labels),
        "region": np.array([space.named(code, "region") for code in labels]),
        "continent": np.array([space.named(code, "continent") for code in labels]),
    }
    everyone_N = np.full(len(outcomes.truth), True)
    right = {level: place[outcomes.truth] == place[outcomes.guess] for level, place in places.items()}
    worst = [country.label for country in worst_tenth(outcomes)]
    asked = {("world", "", level): (right_N, everyone_N) for level, right_N in right.items()}
    for kind in ("continent", "region"):
        for name in np.unique(places[kind][outcomes.truth]):
            there_N = places[kind][outcomes.truth] == name
            asked |= {(kind, str(name), level): (right_N, there_N) for level, right_N in right.items()}
    asked |= {("worst", labels[at], ""): (right["country"], outcomes.truth == at) for at in worst}
    side_K = np.array(space.drives_on)
    across_N, wrong_N = side_K[outcomes.truth] != side_K[outcomes.guess], ~right["country"]
    for name, from_N in _sides_of(side_K[outcomes.truth]).items():
        asked["side", name, ""] = (across_N, wrong_N & from_N)
    bin_KK, km_KK = _bins(labels)
    for at, name in enumerate(BINS):
        asked["distance", name, ""] = (bin_KK[outcomes.truth, outcomes.guess] == at, wrong_N)
    hits, among = zip(*asked.values(), strict=True)
    found = dict(zip(asked, shares(hits, among, group_N), strict=True))
    return Geography(
        right={level: found["world", "", level] for level in places},
        largest={level: _largest(place[outcomes.truth]) for level, place in places.items()},
        continents=_parts("continent", places["continent"], outcomes, found),
        regions=_parts("region", places["region"], outcomes, found),
        sides=_sides(outcomes, side_K, places["continent"], found),
        distances=_distances(outcomes, bin_KK, km_KK, group_N, found) if wrong_N.any() else None,
        worst=[
            Worst(code=labels[at], recall=found["worst", labels[at], ""], photos=int((outcomes.truth == at).sum()))
            for at in worst
        ],
    )


def _largest(place_N: NDArray[np.str_]) -> float:
    return float(np.unique(place_N, return_counts=True)[1].max() / len(place_N))


def _parts(kind: str, place_K: NDArray[np.str_], outcomes: Outcomes, found: Shares) -> list[Part]:
    """One entry a continent or region with photos, the one with most photos first."""
    place_N = place_K[outcomes.truth]
    names, counts = np.unique(place_N, return_counts=True)
    return [
        Part(
            name=str(names[at]),
            photos=int(counts[at]),
            countries=len(np.unique(outcomes.truth[place_N == names[at]])),
            right={level: found[kind, str(names[at]), level] for level in ("country", "region", "continent")},
        )
        for at in np.argsort(-counts, kind="stable")
    ]


def dealt(outcomes: Outcomes, value_KK: Floats, alike_KK: Flags | None = None) -> Floats:
    """What to expect of a value of (truth, guess) if wrong answers were dealt out at random: one a wrong answer.

    A photo is dealt any of the wrong answers but those that name its own country; with `alike_KK`, of those alone
    whose country is alike to the one that was guessed.
    """
    wrong_N = outcomes.truth != outcomes.guess
    share_K = np.bincount(outcomes.guess[wrong_N], minlength=outcomes.labels).astype(float)
    other_KK = 1 - np.eye(outcomes.labels)
    dealt_KK = np.broadcast_to(share_K, other_KK.shape) * (1 if alike_KK is None else alike_KK)  # by guess
    total_KK = other_KK @ dealt_KK.T
    expected_KK = (other_KK * value_KK) @ dealt_KK.T / np.where(total_KK, total_KK, 1)
    expected_W: Floats = expected_KK[outcomes.truth[wrong_N], outcomes.guess[wrong_N]]
    return expected_W


def _sides_of(side_N: NDArray[np.str_]) -> dict[str, Flags]:
    return {"both": np.full(len(side_N), True), "left": side_N == "left", "right": side_N == "right"}


def _sides(outcomes: Outcomes, side_K: NDArray[np.str_], continent_K: NDArray[np.str_], found: Shares) -> list[Side]:
    """One entry for all wrong answers and one for those from each side, where there are any."""
    across_KK = (side_K[:, None] != side_K).astype(float)
    anywhere_W = dealt(outcomes, across_KK)
    nearby_W = dealt(outcomes, across_KK, continent_K[:, None] == continent_K)
    from_W = side_K[outcomes.truth[outcomes.truth != outcomes.guess]]
    sides = []
    for name, some_W in _sides_of(from_W).items():
        across = found["side", name, ""]
        if across is not None:
            sides.append(
                Side(
                    drives_on=name,
                    wrong=int(some_W.sum()),
                    across=across,
                    expected=float(anywhere_W[some_W].mean()),
                    within_continent=float(nearby_W[some_W].mean()),
                )
            )
    return sides


def _bins(labels: Sequence[str]) -> tuple[Ints, Floats]:
    """For the true and the guessed country the place in `BINS`, and the kilometres from one to the other: K×K."""
    km_KK = kilometres(land_points(labels, PLACES))
    bin_KK = 1 + np.searchsorted(BOUNDS_KM, km_KK, side="right")
    bin_KK[neighbours(labels)] = 0
    return bin_KK, km_KK


def _distances(outcomes: Outcomes, bin_KK: Ints, km_KK: Floats, group_N: Ints, found: Shares) -> Distances:
    wrong_N = outcomes.truth != outcomes.guess
    shares_B = {name: found["distance", name, ""] for name in BINS}
    expected = [dealt(outcomes, (bin_KK == at).astype(float)).mean() for at in range(len(BINS))]
    km_W = km_KK[outcomes.truth[wrong_N], outcomes.guess[wrong_N]]
    return Distances(
        shares={name: score for name, score in shares_B.items() if score is not None},
        expected=dict(zip(BINS, map(float, expected), strict=True)),
        quantiles_km=_quantiles(km_W, group_N[wrong_N]),
        expected_median_km=_expected_median(outcomes, km_KK),
    )


def _quantiles(km_W: Floats, group_W: Ints) -> dict[str, Score]:
    order = km_W.argsort()

    def statistic(weights_W: Floats) -> Floats:
        reached = np.cumsum(weights_W[order])
        reached_at: Floats = km_W[order[np.searchsorted(reached, np.array(QUANTILES) * reached[-1])]]
        return reached_at

    found = bootstrap(statistic, renumbered(group_W))
    return dict(zip(("25%", "50%", "75%"), found, strict=True))


def _expected_median(outcomes: Outcomes, km_KK: Floats) -> float:
    """The median of the distances, if wrong answers were dealt out at random: over the pairs of countries."""
    wrong_N = outcomes.truth != outcomes.guess
    truth_K, guess_K = (np.bincount(of[wrong_N], minlength=outcomes.labels) for of in (outcomes.truth, outcomes.guess))
    weight_KK = np.outer(truth_K, guess_K).astype(float)
    np.fill_diagonal(weight_KK, 0)
    weight_KK *= truth_K[:, None] / np.maximum(weight_KK.sum(axis=1, keepdims=True), 1)
    order = km_KK.ravel().argsort()
    reached = weight_KK.ravel()[order].cumsum()
    return float(km_KK.ravel()[order[np.searchsorted(reached, reached[-1] / 2)]])
