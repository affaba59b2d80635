"""Intervals: right coverage when photos hang together, repeatable, and fast enough."""

import numpy as np
import pytest

from whichland.evaluation.metrics import Outcomes, scores
from whichland.statistics import group_numbers, holm, interval, replicate


def test_a_photo_without_a_group_is_its_own_group() -> None:
    numbers = group_numbers(["a", None, "b", "a", None, "1"])
    assert numbers.tolist() == [0, 1, 2, 0, 3, 4]


def test_whole_groups_are_drawn_and_as_many_as_there_are() -> None:
    groups = np.array([0, 0, 1, 2, 2, 2])
    weights = replicate(lambda weights_N: weights_N, groups, replicates=50, seed=1)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 3:] == weights[:, 3:4]).all()
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    hits = np.random.default_rng(0).uniform(size=200)

    def bounds(seed: int) -> tuple[float, ...]:
        drawn = replicate(lambda w: np.array([w @ hits / w.sum()]), np.arange(200), replicates=100, seed=seed)
        return tuple(np.concatenate(interval(drawn)))

    assert bounds(0) == bounds(0) != bounds(1)


def coverage(by_group: bool, simulations: int = 300) -> float:
    """How often the 95 % interval of top-1 holds the true value; 60 drives of 8 frames that fare alike."""
    truth, held = 0.6, 0
    for simulation in range(simulations):
        random = np.random.default_rng(simulation)
        skill = random.beta(1.5, 1.0, size=60)  # mean 0.6: whole drives are easy or hard
        groups = np.repeat(np.arange(60), 8)
        hits = (random.uniform(size=480) < skill[groups]).astype(float)
        drawn = replicate(
            lambda w, hits=hits: np.array([w @ hits / w.sum()]),
            groups if by_group else np.arange(480),
            replicates=300,
            seed=simulation,
        )
        low, high = interval(drawn)
        held += bool(low[0] <= truth <= high[0])
    return held / simulations


def test_coverage_is_near_nominal_over_groups_and_falls_short_over_photos() -> None:
    assert 0.91 <= coverage(by_group=True) <= 0.98
    assert coverage(by_group=False) < 0.80


def test_coverage_of_balanced_accuracy_holds_up_where_countries_have_one_group() -> None:
    sizes = np.array([1] * 7 + [3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 25, 30, 35, 40])  # groups of a country
    truth = np.repeat(np.arange(22), sizes)
    recall_K = np.random.default_rng(99).uniform(0.2, 0.9, 22)
    held = 0
    for simulation in range(200):
        random = np.random.default_rng(simulation)
        hit = random.uniform(size=len(truth)) < recall_K[truth]
        guess = np.where(hit, truth, (truth + 1) % 22)
        outcomes = Outcomes(truth=truth, guess=guess, in_top5=hit, labels=22)
        drawn = replicate(lambda w, o=outcomes: scores(o, w), np.arange(len(truth)), replicates=200)
        low, high = interval(drawn)
        held += bool(low[3] <= recall_K.mean() <= high[3])
    assert held / 200 > 0.8  # keeping a missing country's own score instead would hold it 0.6 of the time


def test_two_thousand_replicates_of_a_small_test() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(22, size=600)
    outcomes = Outcomes.from_probabilities(truth, random.uniform(size=(600, 22)))
    drawn = replicate(lambda w: scores(outcomes, w), np.arange(600))
    assert drawn.shape == (2000, 4)
    assert np.isfinite(drawn).all()


def test_holm_of_a_known_table() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("p", "rejected"),
    [([0.01, 0.04, 0.03, 0.005], [True, False, False, True]), ([0.02, 0.02], [True, True]), ([0.06], [False])],
)
def test_holm_steps_down(p: list[float], rejected: list[bool]) -> None:
    assert [adjusted <= 0.05 for adjusted in holm(p)] == rejected
