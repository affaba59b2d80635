"""Where wrong answers go: to which part of the world, to which side of the road, and how far.

What a model without an eye for the map would do stands beside it: its wrong answers are dealt out anew to the photos
that got one ("expected"). Neighbours look alike and mostly drive on the same side, so fewer errors across sides than
that need not mean that the side is seen; `within_continent` deals the answers out within the continent that was
guessed alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whichland.evaluation.metrics import Outcomes, worst_tenth
from whichland.geo.land import kilometres, land_points, neighbours
from whichland.model.label_sources import countries
from whichland.statistics import Floats, Ints, Score, judged_quantiles, renumbered, shares, weighted_quantiles

BOUNDS_KM = (1000, 2500, 5000, 10000)  # of the histogram of distances
BINS = ("neighbour on land", *(f"up to {bound:,} km" for bound in BOUNDS_KM), f"over {BOUNDS_KM[-1]:,} km")
QUANTILES = (0.25, 0.5, 0.75)
PLACES = 50  # that stand for a country when distances are measured
SETTLING = 20  # dealings before the first that counts
DEALINGS = (200, 5000)  # the fewest and the most: of few answers many, so that what is expected is exact to a hundredth
ANSWERS = 200_000  # dealt in all, between those bounds

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
    space, truth_N, guess_N = countries(labels), outcomes.truth, outcomes.guess
    place_K = {
        "country": np.array(labels),
        **{level: np.array([space.named(code, level) for code in labels]) for level in ("region", "continent")},
    }
    right = {level: of_K[truth_N] == of_K[guess_N] for level, of_K in place_K.items()}
    everyone_N, wrong_N = np.full(len(truth_N), True), ~right["country"]
    worst = [country.label for country in worst_tenth(outcomes)]
    asked = {("world", "", level): (right_N, everyone_N) for level, right_N in right.items()}
    for kind in ("continent", "region"):
        for name in np.unique(place_K[kind][truth_N]):
            there_N = place_K[kind][truth_N] == name
            asked |= {(kind, str(name), level): (right_N, there_N) for level, right_N in right.items()}
    asked |= {("worst", labels[at], ""): (right["country"], truth_N == at) for at in worst}
    side_K = np.array(space.drives_on)
    from_K = {"both": np.full(len(labels), True), "left": side_K == "left", "right": side_K == "right"}
    across_KK = side_K[:, None] != side_K
    for side, of_K in from_K.items():
        asked["side", side, ""] = across_KK[truth_N, guess_N], wrong_N & of_K[truth_N]
    km_KK = kilometres(land_points(labels, PLACES))
    bin_KK = 1 + np.searchsorted(BOUNDS_KM, km_KK, side="right")
    bin_KK[neighbours(labels)] = 0
    for at, name in enumerate(BINS):
        asked["distance", name, ""] = bin_KK[truth_N, guess_N] == at, wrong_N
    hits, among = zip(*asked.values(), strict=True)
    found = dict(zip(asked, shares(hits, among, group_N), strict=True))
    anywhere_KK = dealt(outcomes)
    nearby_KK = dealt(outcomes, np.unique(place_K["continent"], return_inverse=True)[1])
    return Geography(
        right={level: found["world", "", level] for level in place_K},
        largest={
            level: float(np.unique(of_K[truth_N], return_counts=True)[1].max() / len(truth_N))
            for level, of_K in place_K.items()
        },
        continents=_parts("continent", place_K["continent"], outcomes, found),
        regions=_parts("region", place_K["region"], outcomes, found),
        sides=[
            Side(
                drives_on=side,
                wrong=int((wrong_N & of_K[truth_N]).sum()),
                across=across,
                expected=float(np.average(across_KK[of_K], weights=anywhere_KK[of_K])),
                within_continent=float(np.average(across_KK[of_K], weights=nearby_KK[of_K])),
            )
            for side, of_K in from_K.items()
            if (across := found["side", side, ""])
        ],
        distances=_distances(outcomes, km_KK, bin_KK, anywhere_KK, group_N, found) if wrong_N.any() else None,
        worst=[
            Worst(code=labels[at], recall=found["worst", labels[at], ""], photos=int((truth_N == at).sum()))
            for at in worst
        ],
    )


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


def dealt(outcomes: Outcomes, alike_K: Ints | None = None) -> Floats:
    """How many wrong answers each pair of truth and guess would get by chance: K×K, the mean of many dealings.

    A dealing gives every photo that was answered wrongly one of the wrong answers, each answer once, and none that
    is right; all such dealings are equally likely. With `alike_K`, a number for each label, a photo gets an answer
    whose label has the number of the one that it had got. Each dealing comes from the one before: photos, by twos
    and then by threes, pass on their answers wherever that is allowed, which reaches every dealing (Aoki & Takemura
    2005) and is as likely one way as the other.
    """
    wrong_N = outcomes.truth != outcomes.guess
    truth_W, guess_W = outcomes.truth[wrong_N], outcomes.guess[wrong_N].copy()
    pairs, random = np.zeros(outcomes.labels**2), np.random.default_rng(0)
    dealings = int(np.clip(ANSWERS // max(len(truth_W), 1), *DEALINGS))
    for dealing in range(-SETTLING, dealings):
        for hands in (2, 3):
            from_HC = random.permutation(len(truth_W))[: len(truth_W) // hands * hands].reshape(hands, -1)
            passed_HC = guess_W[from_HC[[-1, *range(hands - 1)]]]
            allowed_HC = passed_HC != truth_W[from_HC]
            if alike_K is not None:
                allowed_HC &= alike_K[passed_HC] == alike_K[guess_W[from_HC]]
            passed_C = allowed_HC.all(axis=0)
            guess_W[from_HC[:, passed_C]] = passed_HC[:, passed_C]
        if dealing >= 0:
            pairs += np.bincount(truth_W * outcomes.labels + guess_W, minlength=len(pairs))
    return pairs.reshape(outcomes.labels, -1) / dealings


def _distances(
    outcomes: Outcomes, km_KK: Floats, bin_KK: Ints, dealt_KK: Floats, group_N: Ints, found: Shares
) -> Distances:
    wrong_N = outcomes.truth != outcomes.guess
    km_W = km_KK[outcomes.truth, outcomes.guess][wrong_N]
    order_W, order_Q = km_W.argsort(), km_KK.ravel().argsort()
    quantiles = judged_quantiles(
        lambda of_W: weighted_quantiles(km_W[order_W], of_W[order_W], QUANTILES), renumbered(group_N[wrong_N]), least=0
    )
    return Distances(
        shares={name: score for name in BINS if (score := found["distance", name, ""])},
        expected={name: float(np.average(bin_KK == at, weights=dealt_KK)) for at, name in enumerate(BINS)},
        quantiles_km={f"{part:.0%}": score for part, score in zip(QUANTILES, quantiles, strict=True)},
        expected_median_km=float(weighted_quantiles(km_KK.ravel()[order_Q], dealt_KK.ravel()[order_Q], (0.5,))[0]),
    )
