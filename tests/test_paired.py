"""Paired statistics against brute force, known tables and the letters that follow from them."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from whichland import statistics
from whichland.evaluation.paired import (
    group_difference,
    leave_out,
    photo_difference,
    photos_needed,
    scores,
    sign_flip_p,
    swap_p,
    tally,
    tie_groups,
)


def made(models: int = 3, photos: int = 90, seed: int = 0, labels: int = 4) -> tuple:  # type: ignore[type-arg]
    """Guesses of some models, truth and groups, where later models are better."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, labels, photos)
    groups = statistics.group_numbers([f"g{number}" for number in random.integers(0, photos // 3, photos)])
    guesses = {
        f"m{model}": [np.where(random.random(photos) < 0.4 + 0.2 * model, truth, random.integers(0, labels, photos))]
        for model in range(models)
    }
    return guesses, truth, groups


def test_scores_are_those_of_the_report_and_of_scikit_learn() -> None:
    guesses, truth, groups = made()
    found = scores(tally(guesses, truth, groups, 4))[0]
    for at, (guess,) in enumerate(guesses.values()):
        assert found[at, 0] == pytest.approx((guess == truth).mean())
        assert found[at, 1] == pytest.approx(f1_score(truth, guess, average="macro"))


@given(st.lists(st.integers(-4, 4), max_size=9))
@settings(max_examples=60, deadline=None)
def test_the_sign_flip_test_is_exact(difference: list[int]) -> None:
    sums = [
        sum(s * d for s, d in zip(signs, difference, strict=True)) for signs in product((-1, 1), repeat=len(difference))
    ]
    expected = np.mean([abs(total) >= abs(sum(difference)) for total in sums])
    assert sign_flip_p(np.array(difference, np.int64)) == pytest.approx(expected)


def test_single_photos_give_mcnemars_exact_test_also_for_many() -> None:
    for better, worse in ((9, 1), (30, 12), (2600, 2400), (0, 5)):
        difference = np.repeat([1, -1, 0], [better, worse, 50])
        expected = binomtest(better, better + worse).pvalue
        assert sign_flip_p(difference) == pytest.approx(expected, rel=1e-9)


def test_photos_of_one_group_count_as_one_chance() -> None:
    """Eight photos of one drive and nothing else: McNemar sees eight agreements, the group test a single one."""
    truth, groups = np.zeros(8, np.int64), np.zeros(8, np.int64)
    counted = tally({"a": [truth], "b": [truth + 1]}, truth, groups, 2)
    assert sign_flip_p(photo_difference(counted, 0, 1)) == pytest.approx(2 / 2**8)
    assert sign_flip_p(group_difference(counted, 0, 1)) == 1


def test_the_swap_test_agrees_with_all_swaps() -> None:
    guesses, truth, groups = made(models=2, photos=24, seed=3)
    counted = tally(guesses, truth, groups, 4)
    differ = [g for g in range(groups.max() + 1) if any((guesses["m0"][0] != guesses["m1"][0])[groups == g])]
    seen = abs(np.subtract(*scores(counted)[0, :, 1]))
    as_far = []
    for signs in product((False, True), repeat=len(differ)):
        swap = np.isin(groups, [g for g, swapped in zip(differ, signs, strict=True) if swapped])
        one, two = (np.where(swap, guesses[b][0], guesses[a][0]) for a, b in (("m0", "m1"), ("m1", "m0")))
        apart = abs(np.subtract(*scores(tally({"1": [one], "2": [two]}, truth, groups, 4))[0, :, 1]))
        as_far.append(apart >= seen - 1e-12)
    assert 0.02 < np.mean(as_far) < 0.5, "the case should tell something"
    assert swap_p(counted, 0, 1, swaps=20_000) == pytest.approx(np.mean(as_far), rel=0.35)


def test_equal_answers_differ_in_nothing() -> None:
    guesses, truth, groups = made(models=1)
    counted = tally({"a": guesses["m0"], "b": guesses["m0"]}, truth, groups, 4)
    assert sign_flip_p(group_difference(counted, 0, 1)) == 1
    assert swap_p(counted, 0, 1, swaps=1000) == 1


def test_runs_of_a_model_count_together_and_unequal_numbers_of_runs_alike() -> None:
    guesses, truth, groups = made(models=2)
    runs = {"a": [guesses["m0"][0], guesses["m1"][0]], "b": guesses["m1"] * 3}
    counted = tally(runs, truth, groups, 4)
    mean = np.mean([(guesses[name][0] == truth).mean() for name in ("m0", "m1")])
    assert scores(counted)[0, 0, 0] == pytest.approx(mean)
    alone = tally(guesses, truth, groups, 4)
    # the half of "a" that is "b" cancels; what is left is the difference of the single runs
    np.testing.assert_array_equal(group_difference(counted, 0, 1), group_difference(alone, 0, 1))


def test_letters_are_shared_just_by_those_not_told_apart() -> None:
    apart = np.zeros((4, 4), dtype=bool)
    apart[0, 2] = apart[2, 0] = apart[0, 3] = apart[3, 0] = apart[1, 3] = apart[3, 1] = True
    assert tie_groups([0.9, 0.8, 0.7, 0.6], apart) == ["a", "a b", "b c", "c"]
    assert tie_groups([0.6, 0.9], np.zeros((2, 2), dtype=bool)) == ["a", "a"]
    assert tie_groups([0.6, 0.9], ~np.eye(2, dtype=bool)) == ["b", "a"]


@given(st.integers(0, 2**32), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_letters_say_all_of_any_table(seed: int, models: int) -> None:
    random = np.random.default_rng(seed)
    apart = np.triu(random.random((models, models)) < 0.5, 1)
    apart |= apart.T
    letters = [set(text.split()) for text in tie_groups(random.random(models).tolist(), apart)]
    for a, b in product(range(models), repeat=2):
        assert bool(letters[a] & letters[b]) == (not apart[a, b])


def test_photos_needed_finds_the_difference_as_often_as_it_says() -> None:
    """Independent photos, 5 points apart, answered differently in 25 %: simulate at the number that it names."""
    variance = 0.25 - 0.05**2
    photos = photos_needed(variance / 500, 500)
    random = np.random.default_rng(0)
    found = [sign_flip_p(random.choice([1, -1, 0], photos, p=[0.15, 0.10, 0.75])) <= 0.05 for _ in range(400)]
    assert 0.74 < np.mean(found) < 0.87
    assert photos_needed(0.0, 500) > 100, "models that differ by five points differ in a twentieth of photos"


def test_the_error_of_a_difference_is_the_textbooks() -> None:
    """Single photos: that of the mean of paired differences, with the usual degrees of freedom."""
    guesses, truth, _ = made(models=2, photos=90)
    counted = tally(guesses, truth, np.arange(90), 4)
    moves = leave_out(counted)
    apart = np.subtract(*((guesses[name][0] == truth).astype(float) for name in ("m1", "m0")))
    error, freedom = statistics.errors(moves[:, 1] - moves[:, 0])
    assert error[0] == pytest.approx(apart.std(ddof=1) / np.sqrt(90))
    assert freedom[0] <= 89
    assert (counted.group_of == np.arange(90)).all()
