"""Where wrong answers go: shares by region, the other side of the road, distances, each beside its null."""

from itertools import permutations

import numpy as np
import pytest

from whichland.evaluation.geography import BINS, dealt, geography
from whichland.evaluation.metrics import Outcomes
from whichland.statistics import Score

LABELS = ("AU", "DE", "FR", "GB", "JP", "US")
LEFT = {"AU", "GB", "JP"}


def outcomes_of(pairs: list[tuple[str, str]]) -> Outcomes:
    truth, guess = (np.array([LABELS.index(code) for code in codes]) for codes in zip(*pairs, strict=True))
    return Outcomes.from_probabilities(truth, np.eye(len(LABELS))[guess])


PAIRS = (
    [("DE", "DE")] * 5 + [("DE", "FR")] * 3 + [("DE", "JP")] * 2
    + [("GB", "GB")] * 2 + [("GB", "AU")] * 1 + [("GB", "US")] * 1
    + [("JP", "JP")] * 4
)  # fmt: skip


def test_shares_by_country_region_and_continent() -> None:
    found = geography(outcomes_of(PAIRS), LABELS, np.arange(len(PAIRS)))
    right = {name: score.value for name, score in found.right.items() if score}
    assert right == pytest.approx({"country": 11 / 18, "region": 14 / 18, "continent": 14 / 18})
    assert found.largest == pytest.approx({"country": 10 / 18, "region": 10 / 18, "continent": 14 / 18})
    europe, asia = found.continents
    assert (europe.name, europe.photos, europe.countries) == ("Europe", 14, 2)
    assert europe.right["continent"] is not None
    assert europe.right["continent"].value == pytest.approx(10 / 14)
    assert europe.right["continent"].low < 10 / 14 < europe.right["continent"].high
    assert asia.right["country"] is not None
    assert asia.right["country"] == Score(value=1, groups=4)  # so few photos that nothing more is known
    assert {part.name: part.photos for part in found.regions} == {
        "Western Europe": 10,
        "Northern Europe": 4,
        "Eastern Asia": 4,
    }
    assert [(w.code, w.photos) for w in found.worst] == [("DE", 10)]  # GB as well


def test_a_drive_is_one_draw() -> None:
    alone = geography(outcomes_of(PAIRS), LABELS, np.arange(len(PAIRS))).right["country"]
    drives = geography(outcomes_of(PAIRS), LABELS, np.arange(len(PAIRS)) // 3).right["country"]
    assert alone is not None
    assert drives is not None
    assert drives.high - drives.low > 1.2 * (alone.high - alone.low)


def test_errors_across_the_road_beside_what_chance_would_make() -> None:
    found = geography(outcomes_of(PAIRS), LABELS, np.arange(len(PAIRS)))
    sides = {side.drives_on: side for side in found.sides}
    assert {name: side.wrong for name, side in sides.items()} == {"both": 7, "left": 2, "right": 5}
    across = {name: side.across.value for name, side in sides.items()}
    assert across == pytest.approx({"both": 3 / 7, "left": 1 / 2, "right": 2 / 5})
    # wrong answers: FR 3, JP 2, AU 1, US 1. Germany's photos may be dealt any, three of seven drive on the left
    assert sides["right"].expected == pytest.approx(3 / 7, abs=0.005)
    assert sides["left"].expected == pytest.approx(4 / 7, abs=0.01)
    # within the continent guessed each has one candidate: FR for FR, JP for JP, AU, US
    assert sides["both"].within_continent == pytest.approx(3 / 7)


def wrong_answers(truth: list[int], guess: list[int], labels: int) -> Outcomes:
    return Outcomes.from_probabilities(np.array(truth), np.eye(labels)[guess])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("near", [False, True])
def test_a_dealing_is_the_mean_over_every_order_of_the_answers(seed: int, near: bool) -> None:
    """Seven wrong answers: of all 5,040 orders, those in which no photo gets its own country."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, 7)
    guess = (truth + random.integers(1, 4, 7)) % 4
    region = np.array([0, 0, 1, 1])
    expected, orders = np.zeros((4, 4)), 0
    for order in permutations(range(7)):
        dealing = guess[list(order)]
        if (dealing != truth).all() and (not near or (region[dealing] == region[guess]).all()):
            np.add.at(expected, (truth, dealing), 1)
            orders += 1
    found = dealt(wrong_answers(truth.tolist(), guess.tolist(), 4), region if near else None)
    np.testing.assert_allclose(found, expected / orders, atol=0.08)


def test_a_dealing_keeps_every_answer_and_gives_no_photo_its_own_country() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 6, 3000)
    guess = random.integers(0, 6, 3000) ** 2 // 5
    found = dealt(wrong_answers(truth.tolist(), guess.tolist(), 6))
    wrong = truth != guess
    np.testing.assert_allclose(found.sum(axis=1), np.bincount(truth[wrong], minlength=6))
    np.testing.assert_allclose(found.sum(axis=0), np.bincount(guess[wrong], minlength=6))
    assert (np.diag(found) == 0).all()


def test_a_dealing_that_cannot_be_otherwise_is_what_was_seen() -> None:
    """Six photos of the first country must get the six answers that name the second, so all others get the first."""
    truth, guess = [0] * 6 + [1] * 3 + [2], [1] * 6 + [0] * 3 + [0]
    assert dealt(wrong_answers(truth, guess, 3)).tolist() == [[0, 6, 0], [3, 0, 0], [1, 0, 0]]


def test_a_model_that_sees_the_side_makes_fewer_errors_across_it_than_chance() -> None:
    random = np.random.default_rng(1)
    pairs = []
    for _ in range(600):
        truth = str(random.choice(LABELS))
        alike = [code for code in LABELS if (code in LEFT) == (truth in LEFT)]
        pairs.append((truth, str(random.choice(alike if random.random() < 0.8 else list(LABELS)))))
    both = geography(outcomes_of(pairs), LABELS, np.arange(600)).sides[0]
    assert both.across.high < both.expected


def test_distances_of_wrong_answers() -> None:
    found = geography(outcomes_of(PAIRS), LABELS, np.arange(len(PAIRS))).distances
    assert found is not None
    shares = {name: round(score.value * 7) for name, score in found.shares.items()}
    # DE-FR three times; from Great Britain to Maine; DE-JP twice, about 8,500 km; GB-AU
    assert shares[BINS[0]] == 3
    assert shares["up to 5,000 km"] == 1
    assert shares["up to 10,000 km"] == 2
    assert shares[BINS[-1]] == 1
    assert sum(shares.values()) == 7
    assert sum(found.expected.values()) == pytest.approx(1)
    median = found.quantiles_km["50%"]
    assert 4000 < median.value < 9000
    assert median.low < 1000 < median.high
    assert found.expected_median_km > 4000


def test_without_errors_there_are_no_distances_and_no_sides() -> None:
    found = geography(outcomes_of([("DE", "DE"), ("JP", "JP")]), LABELS, np.arange(2))
    assert found.distances is None
    assert found.sides == []
