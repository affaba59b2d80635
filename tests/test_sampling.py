"""Weights of photos by how many their country has."""

import numpy as np
import pytest

from whichland.training.data import Photos, balanced

TARGETS = np.repeat([0, 1, 2], [90, 9, 1])
PHOTOS = Photos([str(i) for i in range(100)], TARGETS, np.linspace(0.5, 1.5, 100))


def shares(by: str) -> list[float]:
    found = balanced(PHOTOS, by)  # type: ignore[arg-type]
    assert found.weights.mean() == pytest.approx(1)
    assert found.uris == PHOTOS.uris
    return (np.bincount(TARGETS, weights=found.weights) / 100).tolist()


def test_by_class_every_country_weighs_the_same() -> None:
    assert shares("class") == pytest.approx([1 / 3] * 3)


def test_by_square_root_countries_weigh_as_the_roots_of_their_numbers() -> None:
    assert shares("sqrt") == pytest.approx(np.sqrt([90, 9, 1]) / np.sqrt([90, 9, 1]).sum())


def test_alike_and_as_the_manifest_says() -> None:
    assert shares("none") == [0.9, 0.09, 0.01]
    assert balanced(PHOTOS, "manifest") is PHOTOS
