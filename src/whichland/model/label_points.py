"""Where the labels of a model are photographed: places of its training photos, or on a country's land."""

from typing import TYPE_CHECKING

import numpy as np

from whichland.geo.borders import country_of
from whichland.geo.distance import Points
from whichland.geo.land import POINTS, land_points, sea_km
from whichland.model.labels import COUNTRY, LabelSpace

if TYPE_CHECKING:
    from whichland.manifest import Manifest

ENOUGH = 20  # training photos with coordinates; a country with fewer is represented by its land
COAST_KM = 10.0  # the map's coast is off by less, but for islands that it leaves out
DECIMALS = 2  # of degrees, about a kilometre: a bundle gives no house away


def located(labels: LabelSpace, manifest: "Manifest | None" = None) -> LabelSpace:
    """Labels with the points where their training photos were taken.

    One photo a group counts, not at sea, and of a country only where it lies in it. Of more than `POINTS` those are
    taken that lie evenly in the order from south to north. A country with fewer than `ENOUGH` has points on its land
    instead; other labels keep the few that there are, and where one has none, there are no points at all.
    """
    found: dict[str, Points] = {}
    if manifest is not None and {"lat", "lon", "split"} <= set(manifest.frame.columns):
        found = _photographed(labels.kind, manifest)
    if labels.kind != COUNTRY and not found.keys() >= set(labels.codes):
        return labels
    on_map = [code for code in labels.codes if code not in found]
    points = found | dict(zip(on_map, land_points(on_map), strict=True))
    return labels.with_points(
        [points[code] for code in labels.codes], ["photos" if code in found else "land" for code in labels.codes]
    )


def _photographed(column: str, manifest: "Manifest") -> dict[str, Points]:
    """Points of the training photos by label, for labels with enough of them."""
    import polars as pl

    rows = manifest.kept.filter(pl.col("split") == "train").drop_nulls(["lat", "lon", column])
    if "group" in rows.columns:
        one_of = [pl.coalesce("group", "image_id"), *([] if column == COUNTRY else [column])]
        rows = rows.sort("image_id").unique(one_of, keep="first")
    places = rows.select(column, pl.col("lat", "lon").round(DECIMALS)).unique().sort(column, "lat", "lon")
    found = {}
    for (code,), own in places.group_by(column):
        points = _evenly(own.select("lat", "lon").to_numpy(), 4 * POINTS)
        lat, lon = points.T
        good = sea_km(lat, lon) <= COAST_KM
        if column == COUNTRY:
            good &= country_of(lat, lon) == code
        points = points[good]
        if len(points) >= (ENOUGH if column == COUNTRY else 1):
            found[str(code)] = _evenly(points, POINTS)
    return found


def _evenly(points: Points, count: int) -> Points:
    """Up to `count` of some points, at equal steps along the list."""
    steps = np.linspace(0, len(points) - 1, min(count, len(points)))
    some: Points = points[steps.round().astype(int)]
    return some
