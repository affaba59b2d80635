"""How often do 95 % intervals hold the truth, and how long are they? Ways to make them from few groups, simulated.

    OMP_NUM_THREADS=1 python benchmarks/intervals.py [--simulations 1000]

A group has a share of its own that its photos are answered rightly, drawn around the accuracy from a beta law whose
variance is ρ of the most there could be; `uneven` groups have sizes from a lognormal law (median 3, a tenth above
12). So the truth is exact by construction. Prints a row a world and number of groups: "coverage / mean length" of

- percentile: of 1,000 redraws of the groups, which is what whichland did before;
- BCa: the same, corrected for bias and skewness (Efron 1987);
- Student: the score, plus and minus its jackknife error times Student's quantile, groups - 1 degrees of freedom;
- Clopper-Pearson: exact on the effective number of photos (Korn & Graubard 1998);
- Wilson: on the effective number, Student's quantile with groups - 1 degrees of freedom;
- chosen: what `whichland.statistics` does: Wilson's with degrees of freedom from the kurtosis of the jackknife.

Then the same for macro-F1 of five countries, a difference of two models in top-1 and the calibration error, the
percentile of redraws beside what is chosen. It takes about five minutes on one core.
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import beta, norm, t

from whichland.evaluation.metrics import Outcomes, scores
from whichland.evaluation.probabilities import calibration_error, probability_scores
from whichland.statistics import Floats, Ints, Score, interval, judged, means, redraws, share

GROUPS = (5, 10, 20, 50, 200)
WORLDS = (("single photos", 1, 0.0), ("8 photos a group, ρ 0.3", 8, 0.3), ("uneven groups, ρ 0.3", 0, 0.3))
ACCURACIES = (0.5, 0.8, 0.95, 0.98)
REDRAWN = 1000
COUNTRIES = 5


def photos_of(groups: int, size: int, random: np.random.Generator) -> Ints:
    """The group of each photo; `size` 0: uneven."""
    each = np.full(groups, size) if size else np.maximum(1, random.lognormal(1.2, 1, groups).astype(int))
    return np.repeat(np.arange(groups), each)


def right(group_N: Ints, accuracy: Floats | float, rho: float, random: np.random.Generator) -> Floats:
    """Whether each photo is answered rightly; `accuracy` of each group, or of all."""
    groups = int(group_N[-1]) + 1
    accuracy_G = np.broadcast_to(accuracy, groups)
    own_G = random.beta(accuracy_G * (1 / rho - 1), (1 - accuracy_G) * (1 / rho - 1)) if rho else accuracy_G
    return (random.random(len(group_N)) < own_G[group_N]).astype(float)


def others(hits_G: Floats, photos_G: Floats) -> Iterator[tuple[str, float, float]]:
    """The intervals of a share that were not chosen."""
    groups, photos = len(photos_G), photos_G.sum()
    value = hits_G.sum() / photos
    left_G = (hits_G.sum() - hits_G) / (photos - photos_G)
    error = np.sqrt((groups - 1) / groups * ((left_G - value) ** 2).sum())
    times_RG = redraws(groups, REDRAWN, 0)
    drawn_R = np.sort(times_RG @ hits_G / (times_RG @ photos_G))
    yield "percentile", *np.quantile(drawn_R, (0.025, 0.975))
    bias = norm.ppf(np.clip(((drawn_R < value).mean() + (drawn_R <= value).mean()) / 2, 1e-3, 1 - 1e-3))
    pull_G = left_G.mean() - left_G
    skew = (pull_G**3).sum() / (6 * max((pull_G**2).sum() ** 1.5, 1e-12))
    ends = [norm.cdf(bias + (bias + z) / (1 - skew * (bias + z))) for z in norm.ppf((0.025, 0.975))]
    yield "BCa", *np.quantile(drawn_R, ends)
    quantile = t.ppf(0.975, groups - 1)
    yield "Student", value - quantile * error, value + quantile * error
    inside = 0 < value < 1 and error > 0
    effective = min(value * (1 - value) / error**2, photos) if inside else photos**2 / (photos_G**2).sum()
    fewer = effective * ((norm.ppf(0.975) / quantile) ** 2 if inside else 1)
    low = beta.ppf(0.025, value * fewer, (1 - value) * fewer + 1) if value > 0 else 0.0
    high = beta.ppf(0.975, value * fewer + 1, (1 - value) * fewer) if value < 1 else 1.0
    yield "Clopper-Pearson", low, high
    middle = (value + quantile**2 / 2 / effective) / (1 + quantile**2 / effective)
    spread = np.sqrt(value * (1 - value) / effective + quantile**2 / 4 / effective**2)
    reach = quantile * spread / (1 + quantile**2 / effective)
    yield "Wilson", middle - reach, middle + reach


def of_share(simulations: int) -> None:
    """Print the table of shares."""
    for world, size, rho in WORLDS:
        for accuracy in ACCURACIES:
            for groups in GROUPS:
                held: dict[str, list[tuple[bool, float]]] = {}
                for seed in range(simulations):
                    random = np.random.default_rng((seed, groups))
                    group_N = photos_of(groups, size, random)
                    hit_N = right(group_N, accuracy, rho, random)
                    found = list(others(np.bincount(group_N, hit_N), np.bincount(group_N).astype(float)))
                    found.append(("chosen", *share(hit_N > 0, group_N).ends))
                    for name, low, high in found:
                        inside = low - 1e-9 <= accuracy <= high + 1e-9
                        held.setdefault(name, []).append((inside, min(high, 1) - max(low, 0)))
                show(f"{world}, {accuracy:.0%}, {groups} groups", held)


def show(title: str, held: dict[str, list[tuple[bool, float]]]) -> None:
    """Print a row: coverage / mean length of each way."""
    both = {name: np.mean(of, axis=0) for name, of in held.items()}
    cells = [f"{name} {inside:.3f} / {length:.3f}" for name, (inside, length) in both.items()]
    print(f"{title:<42}", "  ".join(cells), flush=True)


Made = tuple[Score, float, Callable[[Floats], Floats], Ints]
"""The chosen interval, the truth, and the statistic to redraw with its groups."""


def macro_f1(group_N: Ints, rho: float, random: np.random.Generator) -> Made:
    """Five countries known in 60 to 100 % of cases; wrong answers fall on the others alike."""
    country_G = random.integers(COUNTRIES, size=int(group_N[-1]) + 1)
    recall_K = np.linspace(0.62, 0.98, COUNTRIES)
    truth_N = country_G[group_N]
    hit_N = right(group_N, recall_K[country_G], rho, random) > 0
    guess_N = np.where(hit_N, truth_N, (truth_N + random.integers(1, COUNTRIES, len(truth_N))) % COUNTRIES)
    outcomes = Outcomes(truth=truth_N, guess=guess_N, in_top5=hit_N, labels=COUNTRIES)
    missed_K = (1 - recall_K) / (COUNTRIES - 1)
    truth = float((2 * recall_K / (1 + recall_K + missed_K.sum() - missed_K)).mean())
    return (
        judged(lambda w: scores(outcomes, w)[2:3], group_N, "share")[0],
        truth,
        lambda w: scores(outcomes, w)[2:3],
        group_N,
    )


def difference(group_N: Ints, rho: float, random: np.random.Generator) -> Made:
    """Two models, ten points apart."""
    apart_N = right(group_N, 0.85, rho, random) - right(group_N, 0.75, rho, random)
    (score,) = means(apart_N, group_N, "difference")
    return score, 0.1, lambda w: np.array([w @ apart_N / w.sum()]), group_N


def calibration(sure: float) -> Callable[[Ints, float, np.random.Generator], Made]:
    """Probabilities of two labels from 0.5 to 1, of which a share `sure` too much."""

    def made(group_N: Ints, rho: float, random: np.random.Generator) -> Made:
        true_G = random.uniform(0.5, 1 - sure, int(group_N[-1]) + 1)
        said_N = np.clip(true_G[group_N] + sure, 0.501, 0.999)
        hit_N = right(group_N, true_G, rho, random) > 0
        probs_N2 = np.stack([said_N, 1 - said_N], axis=1)
        error = calibration_error(said_N, hit_N, group_N)
        score = probability_scores(probs_N2, np.where(hit_N, 0, 1), group_N).ece
        return score, sure, lambda w: np.array([error(w)[0]]), group_N

    return made


def of_others(simulations: int) -> None:
    """Print the table of what is no share."""
    made = {
        "macro-F1": macro_f1, "difference in top-1": difference,
        "calibration error, truth 0": calibration(0.0), "calibration error, truth 0.1": calibration(0.1),
    }  # fmt: skip
    for name, make in made.items():
        for world, size, rho in WORLDS:
            for groups in GROUPS:
                held: dict[str, list[tuple[bool, float]]] = {}
                for seed in range(simulations):
                    random = np.random.default_rng((seed, groups))
                    score, truth, statistic, group_N = make(photos_of(groups, size, random), rho, random)
                    times_RG = redraws(groups, 200, seed)
                    low, high = interval(np.stack([statistic(times_G[group_N]) for times_G in times_RG]))
                    for way, ends in (("percentile", (float(low[0]), float(high[0]))), ("chosen", score.ends)):
                        inside = ends[0] - 1e-9 <= truth <= ends[1] + 1e-9
                        held.setdefault(way, []).append((inside, ends[1] - ends[0]))
                show(f"{name}: {world}, {groups} groups", held)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1000)
    wanted = parser.parse_args().simulations
    of_share(wanted)
    of_others(max(wanted // 4, 1))
