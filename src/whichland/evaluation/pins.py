"""How far pins lie from the true places, and how many points they score.

`model/pins.py` says how a pin is chosen. It is one of the places where a country is photographed, so it is never
in the sea. The centroid of the first guess's places, with which it is compared, may be.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from whichland.evaluation.predictions import Predictions
from whichland.geo.distance import WORLD_KM, Points, geoguessr_score, haversine_km
from whichland.geo.land import sea_km
from whichland.manifest import Manifest
from whichland.model.label_points import COAST_KM
from whichland.model.labels import LabelSpace
from whichland.model.pins import pin_table, pins, unit
from whichland.statistics import Floats, Ints, Score, judged_quantiles, means, renumbered, weighted_quantiles

RULES = ("centroid", "best_of_first", "pin")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """How far a rule's points lie from the truth, with 95 % intervals over groups."""

    mean_km: Score
    median_km: Score
    score: Score  # GeoGuessr's, 0 to 5,000


@dataclass(frozen=True, kw_only=True)
class PinReport:
    """Points for the photos of an evaluation."""

    photos: int
    scale_km: float
    from_photos: int  # countries whose places are those of training photos; the others' are spread over their land
    expected: float  # score of the pins by the model's own probabilities, mean over all photos
    expected_of_centroids: float
    centroids_at_sea: tuple[str, ...]  # countries
    photos_at_sea: int  # whose first guess is such a country
    located: int  # photos with true coordinates, on which the following are measured
    rules: dict[str, Judged]  # by name, see RULES; empty without coordinates
    gain: Judged | None  # pin minus centroid, photo by photo; the median's is the difference of the medians


def centroids(places: Sequence[Points]) -> Points:
    """The middle of each country's places on the globe, K×2 degrees: it may lie at sea or elsewhere."""
    x_K, y_K, z_K = np.stack([unit(points).mean(axis=0) for points in places]).T
    return np.asarray(np.degrees(np.stack([np.arctan2(z_K, np.hypot(x_K, y_K)), np.arctan2(y_K, x_K)], axis=1)))


def judge_pins(found: Predictions, labels: LabelSpace, manifest: Manifest, *, scale_km: float = WORLD_KM) -> PinReport:
    """Set a pin for every photo, and measure it on those whose true coordinates are in the manifest.

    `labels` are those of the answers, with points.
    """
    assert labels.points is not None
    table = pin_table(labels.points, scale_km=scale_km)
    middles = centroids(labels.points)
    first_N = found.probabilities.argmax(axis=1)
    certain_NK = np.eye(len(found.labels), dtype=np.float32)[first_N]
    pin_N2, expected_N = pins(found.probabilities, table)
    answers = {"centroid": middles[first_N], "best_of_first": pins(certain_NK, table)[0], "pin": pin_N2}
    at_sea_K = sea_km(*middles.T) > COAST_KM
    worth_KK = np.stack(  # of each middle in each country
        [
            geoguessr_score(haversine_km(middles[:, :1], middles[:, 1:], *points.T), scale_km=scale_km).mean(axis=1)
            for points in labels.points
        ],
        axis=1,
    )
    true_N2 = coordinates(found, manifest)
    rows = np.flatnonzero(np.isfinite(true_N2).all(axis=1))
    rules, gain = _judged(answers, true_N2, rows, found.groups, scale_km)
    return PinReport(
        photos=len(first_N),
        scale_km=scale_km,
        from_photos=labels.origins.count("photos"),
        expected=float(expected_N.mean()),
        expected_of_centroids=float((found.probabilities * worth_KK[first_N]).sum(axis=1).mean()),
        centroids_at_sea=tuple(code for code, at_sea in zip(found.labels, at_sea_K, strict=True) if at_sea),
        photos_at_sea=int(at_sea_K[first_N].sum()),
        located=len(rows),
        rules=rules,
        gain=gain,
    )


def coordinates(found: Predictions, manifest: Manifest) -> Points:
    """The true place of each photo that was answered, N×2 degrees; NaN where the manifest has none."""
    if not {"lat", "lon"} <= set(manifest.frame.columns):
        return np.full((found.frame.height, 2), np.nan)
    places = manifest.frame.select("image_id", pl.col("lat", "lon").fill_null(float("nan")))
    asked = found.frame.select("image_id").join(places, on="image_id", how="left", maintain_order="left")
    return asked.select("lat", "lon").to_numpy().astype(float)


def _judged(
    answers: dict[str, Points], true_N2: Points, rows: Ints, group_N: Ints, scale: float
) -> tuple[dict[str, Judged], Judged | None]:
    if not len(rows):
        return {}, None
    km_RM = np.stack([haversine_km(*points[rows].T, *true_N2[rows].T) for points in answers.values()])
    points_RM = geoguessr_score(km_RM, scale_km=scale)
    order_RM, group_M = km_RM.argsort(axis=1), renumbered(group_N[rows])

    def medians(weights_M: Floats) -> Floats:
        return np.array(
            [
                weighted_quantiles(km[order], weights_M[order], (0.5,))[0]
                for km, order in zip(km_RM, order_RM, strict=True)
            ]
        )

    def gained(weights_M: Floats) -> Floats:
        first, *_, last = medians(weights_M)
        return np.array([last - first])

    rules = zip(
        means(km_RM.T, group_M, least=0),
        judged_quantiles(medians, group_M, least=0),
        means(points_RM.T, group_M, least=0),
        strict=True,
    )
    gain = Judged(
        mean_km=means(km_RM[-1] - km_RM[0], group_M)[0],
        median_km=judged_quantiles(gained, group_M)[0],
        score=means(points_RM[-1] - points_RM[0], group_M)[0],
    )
    return {
        name: Judged(mean_km=mean, median_km=median, score=score)
        for name, (mean, median, score) in zip(answers, rules, strict=True)
    }, gain
