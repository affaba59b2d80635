"""Intervals: right coverage when photos hang together and groups are few, repeatable, and fast enough."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from whichland.evaluation.metrics import Outcomes, scores
from whichland.evaluation.probabilities import probability_scores
from whichland.statistics import (
    BLOCKS,
    FEWEST,
    Score,
    errors,
    group_numbers,
    holm,
    interval,
    judged,
    judged_quantiles,
    mean_interval,
    means,
    moved,
    replicate,
    share,
    shares,
    weighted_quantiles,
)


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


@pytest.mark.parametrize("groups", range(1, FEWEST))
def test_a_few_groups_have_no_interval_and_it_is_said_in_one_way(groups: int) -> None:
    group = np.arange(300) % groups
    hits = np.arange(300) % 3 > 0
    outcomes = Outcomes(truth=np.zeros(300, int), guess=np.where(hits, 0, 1), in_top5=hits, labels=6)
    found = [
        share(hits, group),
        *judged(lambda w: scores(outcomes, w), group, "share"),
        *means(hits - 0.5, group, "difference"),
        *judged_quantiles(lambda w: weighted_quantiles(np.arange(300.0), w, (0.5,)), group),
    ]
    said = f"no interval: {groups} group{'s' if groups > 1 else ''} only"
    assert {(score.low, score.high, score.within(), score.within("+.3f", 100)) for score in found} == {
        (None, None, said, said)
    }
    assert str(found[0]) == f"66.7% ({said})"
    assert not found[0].above(0) | found[0].below(1)
    assert np.isnan(mean_interval(hits.astype(float), group.astype(str).tolist())[1:]).all()


@pytest.mark.parametrize("photos", [5, 10, 20, 50])
@pytest.mark.parametrize("accuracy", [0.5, 0.7, 0.9, 0.95, 0.98])
def test_the_interval_of_single_photos_holds_the_truth_by_the_exact_law(photos: int, accuracy: float) -> None:
    """The chance of every number of hits, from the binomial law, summed where the interval holds the truth."""
    held = 0.0
    for hits in range(photos + 1):
        found = share(np.arange(photos) < hits, np.arange(photos))
        assert found.low is not None
        assert found.high is not None
        held += binom.pmf(hits, photos, accuracy) * (found.low <= accuracy <= found.high)
    assert held >= 0.93


@pytest.mark.parametrize("photos", [5, 10, 50, 1000])
def test_where_all_fared_alike_the_interval_is_no_shorter_than_the_exact_one(photos: int) -> None:
    exact = binomtest(photos, photos).proportion_ci(method="exact")
    right = share(np.full(photos, True), np.arange(photos))
    wrong = share(np.full(photos, False), np.arange(photos))
    assert right.low is not None
    assert exact.low - 0.1 < right.low <= exact.low
    assert (right.high, wrong.low) == (1, 0)
    assert wrong.high == pytest.approx(1 - right.low)
    drives = share(np.full(photos * 8, True), np.repeat(np.arange(photos), 8))
    assert drives.low == right.low, "eight photos of one drive are no eight proofs"


@pytest.mark.parametrize("groups", [5, 10, 20, 50])
@pytest.mark.parametrize("accuracy", [0.7, 0.95])
def test_few_uneven_groups_hold_the_truth_as_often_as_they_say(groups: int, accuracy: float) -> None:
    """Groups of 1 to some dozens of photos that fare alike: percentiles of redraws held 43 to 90 % here."""
    held = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        group = np.repeat(np.arange(groups), np.maximum(1, random.lognormal(1.2, 1, groups)).astype(int))
        own = random.beta(accuracy * (1 / 0.3 - 1), (1 - accuracy) * (1 / 0.3 - 1), groups)
        found = share(random.random(len(group)) < own[group], group)
        held += found.ends[0] <= accuracy <= found.ends[1]
    assert held / 300 > 0.905  # 93 % in truth would fall below in one case of forty


def test_over_photos_in_place_of_groups_it_would_hold_it_far_less_often() -> None:
    held = np.zeros(2)
    for seed in range(600):
        random = np.random.default_rng(seed)
        group = np.repeat(np.arange(60), 8)
        hits = random.random(480) < random.beta(1.5, 1.0, 60)[group]  # mean 0.6: whole drives are easy or hard
        for at, of in enumerate((group, np.arange(480))):
            found = share(hits, of)
            held[at] += found.ends[0] <= 0.6 <= found.ends[1]
    assert 0.92 <= held[0] / 600 <= 0.97
    assert held[1] / 600 < 0.8


def test_balanced_accuracy_and_macro_f1_of_countries_with_one_group_hold_the_truth() -> None:
    sizes = np.array([1] * 7 + [3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 25, 30, 35, 40])  # groups of a country
    truth = np.repeat(np.arange(22), sizes)
    recall_K = np.random.default_rng(99).uniform(0.2, 0.9, 22)
    held = 0
    for simulation in range(200):
        random = np.random.default_rng(simulation)
        hit = random.uniform(size=len(truth)) < recall_K[truth]
        guess = np.where(hit, truth, (truth + 1) % 22)
        outcomes = Outcomes(truth=truth, guess=guess, in_top5=hit, labels=22)
        found = judged(lambda w, o=outcomes: scores(o, w), np.arange(len(truth)), "share")[3]
        held += found.ends[0] <= recall_K.mean() <= found.ends[1]
    assert held / 200 > 0.88  # percentiles of redraws: 0.8


def test_models_that_answer_alike_may_still_differ() -> None:
    (found,) = means(np.zeros(100), np.arange(100), "difference")
    exact = binomtest(0, 100).proportion_ci(method="exact").high
    assert found.high == pytest.approx(-(found.low or 0))
    assert exact <= (found.high or 0) < exact + 0.01


def test_of_equal_numbers_nothing_is_known() -> None:
    (found,) = means(np.full(100, 7.0), np.arange(100))
    assert (found.low, found.within()) == (None, "no interval: all groups alike")


def test_the_error_of_a_mean_is_the_textbooks_in_one_way_or_the_other() -> None:
    values = np.random.default_rng(0).normal(0.4, 0.1, 60)
    textbook = values.std(ddof=1) / np.sqrt(60)
    by_weight = moved(lambda w: np.array([w @ values / w.sum()]), np.array([values.mean()]), np.arange(60))
    assert errors(by_weight)[0][0] == pytest.approx(textbook)
    (score,) = judged(lambda w: np.array([w @ values / w.sum()]), np.arange(60))
    (quicker,) = means(values, np.arange(60))
    assert (quicker.low, quicker.high) == pytest.approx((score.low, score.high), rel=1e-12)
    many = np.random.default_rng(1).normal(size=20 * BLOCKS)
    blocks = moved(lambda w: np.array([w @ many / w.sum()]), np.array([many.mean()]), np.arange(len(many)))
    assert len(blocks) == BLOCKS
    assert errors(blocks)[0][0] == pytest.approx(many.std(ddof=1) / np.sqrt(len(many)), rel=0.15)


def test_shares_among_some_rest_on_their_groups_alone() -> None:
    hits, group = np.arange(60) % 4 > 0, np.arange(60) // 2
    some, none = np.arange(60) < 8, np.full(60, False)
    found = shares([hits, hits, hits], [some, none, ~some], group)
    assert found[1] is None
    assert found[0] == Score(value=0.75, groups=4)
    assert found[2] == share(hits[8:], group_numbers([str(g) for g in group[8:]]))


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


def test_a_model_that_is_always_right_may_be_off_by_what_the_photos_cannot_show() -> None:
    sure = np.random.default_rng(0).uniform(0.9965, 0.9975, 300)
    found = probability_scores(np.stack([sure, 1 - sure], axis=1), np.zeros(300, int), np.arange(300))
    missed_at_most = 1 - binomtest(300, 300).proportion_ci(0.95).low
    assert found.ece.low == 0
    assert found.ece.high is not None
    assert found.ece.high > missed_at_most - 0.0035
