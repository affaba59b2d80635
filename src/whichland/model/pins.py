"""From probabilities over countries to one point on the map: the pin with the highest expected GeoGuessr score.

With probabilities p over K countries, and of each country the places x where photos of it stand
(`LabelSpace.points`), the pin is the place c, of all those, that maximises

    sum_k p_k · mean_x 5000 exp(-10 d(c, x) / scale)

The means are worked out once for every c and k: with P places a country that takes (K P)² distances, 3 s for 100
countries of 100 places on one core. After that a photo costs K² P multiplications: 1,000 photos take 0.1 s.

A pin is one of the places, so it is never in the sea.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichland.geo.distance import EARTH_RADIUS_KM, WORLD_KM, Points, geoguessr_score

Floats = NDArray[np.float64]
BLOCK = 512  # candidates, or photos, at a time


@dataclass(frozen=True)
class PinTable:
    """What a pin at each of C candidates is worth in each of K countries."""

    candidates: Points  # C×2, degrees
    scores: NDArray[np.float32]  # C×K: expected over the country's places, 0 to 5,000


def pin_table(places: Sequence[Points], *, scale_km: float = WORLD_KM) -> PinTable:
    """What every place is worth as a pin in each country."""
    candidates = np.concatenate(places)
    counts_K = np.array([len(points) for points in places])
    starts_K = np.cumsum(counts_K) - counts_K
    xyz_C3 = unit(candidates)
    scores = np.empty((len(candidates), len(places)), np.float32)
    for start in range(0, len(candidates), BLOCK):
        cosine_BC = np.clip(xyz_C3[start : start + BLOCK] @ xyz_C3.T, -1, 1)
        worth_BC = geoguessr_score(EARTH_RADIUS_KM * np.arccos(cosine_BC), scale_km=scale_km)
        scores[start : start + BLOCK] = np.add.reduceat(worth_BC, starts_K, axis=1) / counts_K
    return PinTable(candidates, scores)


def pins(probs_NK: NDArray[np.floating[Any]], table: PinTable) -> tuple[Points, Floats]:
    """The best place for each photo, N×2 degrees, and the score to expect there."""
    best = np.empty(len(probs_NK), np.int64)
    expected = np.empty(len(probs_NK))
    for start in range(0, len(probs_NK), BLOCK):
        worth_BC = probs_NK[start : start + BLOCK].astype(np.float32) @ table.scores.T
        best[start : start + BLOCK] = worth_BC.argmax(axis=1)
        expected[start : start + BLOCK] = worth_BC.max(axis=1)
    return table.candidates[best], expected


def unit(points: Points) -> Points:
    """Points in degrees as unit vectors from the middle of the globe, N×3."""
    lat, lon = np.radians(points.T)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
