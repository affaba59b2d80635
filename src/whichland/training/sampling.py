"""How much each photo counts when the manifest's own weights are not to be used."""

from dataclasses import replace
from typing import Literal

import numpy as np

from whichland.training.data import Photos


def balanced(photos: Photos, by: Literal["manifest", "none", "sqrt", "class"]) -> Photos:
    """Weigh photos by how many their country has: 1/√n (sqrt), 1/n (class), alike (none); or leave the manifest's.

    With "class", every country weighs the same altogether. Weights have mean 1.
    """
    if by == "manifest" or not len(photos):
        return photos
    power = {"none": 0.0, "sqrt": -0.5, "class": -1.0}[by]
    weights = np.bincount(photos.targets)[photos.targets].astype(np.float64) ** power
    return replace(photos, weights=weights / weights.mean())
