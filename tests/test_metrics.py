"""Scores against scikit-learn, at the edges too."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from whichland.evaluation.metrics import SCORES, Outcomes, by_country, confusion, floors, scores, worst_tenth


def random_outcomes(seed: int, photos: int, labels: int) -> tuple[Outcomes, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    # uneven classes, some of them without photos, some never guessed
    truth = random.choice(labels, photos, p=random.dirichlet(np.full(labels, 0.5)))
    probabilities = random.dirichlet(np.full(labels, 0.3), photos)
    probabilities[np.arange(photos), truth] += random.uniform(0, 1, photos)
    return Outcomes.from_probabilities(truth, probabilities), truth, probabilities


def by_sklearn(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None) -> list[float]:
    guess, labels = probabilities.argmax(axis=1), probabilities.shape[1]
    present = np.unique(truth if weights is None else truth[weights > 0])
    f1 = sk.f1_score(truth, guess, labels=present, average="macro", sample_weight=weights, zero_division=0)
    recall = sk.recall_score(truth, guess, labels=present, average="macro", sample_weight=weights, zero_division=0)
    top5 = sk.top_k_accuracy_score(truth, probabilities, k=5, labels=np.arange(labels), sample_weight=weights)
    return [sk.accuracy_score(truth, guess, sample_weight=weights), top5, f1, recall]


@given(st.integers(0, 10_000), st.integers(1, 80), st.integers(6, 25), st.booleans())
@settings(deadline=None, max_examples=60)
def test_scores_agree_with_scikit_learn_weighted_and_not(seed: int, photos: int, labels: int, weighted: bool) -> None:
    outcomes, truth, probabilities = random_outcomes(seed, photos, labels)
    weights = None
    if weighted:
        weights = np.random.default_rng(seed).integers(0, 4, photos).astype(float)
        weights[0] = 1.0
    np.testing.assert_allclose(scores(outcomes, weights), by_sklearn(truth, probabilities, weights), atol=1e-12)


def test_country_scores_and_confusion_agree_with_scikit_learn() -> None:
    outcomes, truth, probabilities = random_outcomes(3, 200, 12)
    guess = probabilities.argmax(axis=1)
    found = by_country(outcomes)
    shown = [country.label for country in found]
    assert shown == sorted(set(truth) | set(guess))
    precision, recall, f1, support = sk.precision_recall_fscore_support(truth, guess, labels=shown, zero_division=0)
    np.testing.assert_allclose([c.precision for c in found], precision)
    np.testing.assert_allclose([c.f1 for c in found], f1)
    np.testing.assert_allclose([np.nan_to_num(c.recall) for c in found], recall)
    assert [c.photos for c in found] == support.tolist()
    np.testing.assert_array_equal(confusion(outcomes), sk.confusion_matrix(truth, guess, labels=range(12)))


def test_a_country_without_photos_is_in_no_mean_but_guesses_at_it_are_misses() -> None:
    probabilities = np.eye(6)[[0, 2, 1]]
    outcomes = Outcomes.from_probabilities(np.array([0, 0, 1]), probabilities)
    top1, _, macro_f1, balanced = scores(outcomes)
    assert top1 == pytest.approx(2 / 3)
    assert balanced == pytest.approx((1 / 2 + 1) / 2)
    assert macro_f1 == pytest.approx((2 / 3 + 1) / 2)
    absent = next(country for country in by_country(outcomes) if country.label == 2)
    assert (absent.photos, absent.guessed, absent.precision) == (0, 1, 0.0)
    assert np.isnan(absent.recall)


def test_a_constant_answer_is_not_right_by_luck() -> None:
    truth = np.arange(20)
    outcomes = Outcomes.from_probabilities(truth, np.full((20, 20), 1 / 20))
    top1, top5, _, _ = scores(outcomes)
    assert (top1, top5) == (1 / 20, 5 / 20)


def test_floors_are_what_blind_answers_score() -> None:
    truth = np.array([0] * 60 + [1] * 30 + [2] * 5 + [3] * 2 + [4] * 2 + [5])
    outcomes = Outcomes.from_probabilities(truth, np.eye(8)[truth])
    found = floors(outcomes)
    always_first = by_sklearn(truth, np.tile(np.arange(8)[::-1] / 28, (100, 1)), None)
    np.testing.assert_allclose(list(found["majority"].values()), always_first)
    assert found["majority"]["top5"] == 0.99
    random = np.random.default_rng(0)
    many = np.tile(truth, 2000)
    drawn = scores(Outcomes.from_probabilities(many, random.uniform(size=(len(many), 8))))
    np.testing.assert_allclose(list(found["chance"].values()), drawn, atol=0.005)
    assert tuple(found["chance"]) == SCORES


def test_the_worst_tenth_is_one_country_at_least() -> None:
    truth = np.repeat(np.arange(20), 4)
    guess = truth.copy()
    guess[:3] = 1  # label 0: recall 1/4
    guess[4:6] = 0  # label 1: recall 1/2
    outcomes = Outcomes.from_probabilities(truth, np.eye(20)[guess])
    assert [(country.label, country.recall) for country in worst_tenth(outcomes)] == [(0, 0.25), (1, 0.5)]
    few = Outcomes.from_probabilities(truth[:12], np.eye(3)[guess[:12]])
    assert [country.recall for country in worst_tenth(few)] == [0.25]
