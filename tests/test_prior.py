"""Odds under another prior: Bayes' rule, on a world where the right answer can be worked out."""

import numpy as np
import pytest

from whichland.errors import UserError
from whichland.model.prior import evened, shares


def test_shares_count_photos_by_their_weights() -> None:
    assert shares(np.array([0, 1, 1, 1]), np.array([3.0, 1.0, 1.0, 1.0]), 3) == [0.5, 0.5, 0.0]


def test_evened_odds_are_those_of_a_model_trained_on_even_shares() -> None:
    likelihoods = np.array([[0.2, 0.6, 0.1], [0.5, 0.5, 0.5]])  # of what is seen, in each country
    prior = np.array([0.7, 0.2, 0.1])
    trained = likelihoods * prior / (likelihoods * prior).sum(axis=1, keepdims=True)
    even = likelihoods / likelihoods.sum(axis=1, keepdims=True)
    found = evened(trained, {"prior": prior.tolist()})
    np.testing.assert_allclose(found, even, rtol=1e-5)
    assert trained[0].argmax() == 0
    assert found[0].argmax() == 1


def test_a_bundle_that_does_not_tell_its_shares_is_refused_in_a_line() -> None:
    with pytest.raises(UserError, match="does not say how common"):
        evened(np.ones((1, 2)) / 2, {})
