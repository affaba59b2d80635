"""Where a model's countries are photographed: up to a hundred places of each, kept in the bundle as places.json.

    {"FR": {"from": "photos", "points": [[48.86, 2.35], …]}, "NA": {"from": "land", "points": […]}}

A pin is chosen among them, and its score is expected over them (see model/pins.py).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from whichland.errors import UserError
from whichland.geo.borders import country_of
from whichland.geo.countries import country_name
from whichland.geo.land import POINTS, Points, land_points, sea_km
from whichland.manifest import Manifest
from whichland.whole_file import whole_file

FILE = "places.json"
ENOUGH = 20  # training photos with coordinates; a country with fewer is represented by its land
COAST_KM = 10.0  # the map's coast is off by less, but for islands that it leaves out
DECIMALS = 2  # about a kilometre: no house is told by a bundle

Origin = Literal["photos", "land"]


@dataclass(frozen=True, kw_only=True)
class Places:
    """The places of K countries, in the order of a bundle's labels."""

    labels: tuple[str, ...]
    points: tuple[Points, ...]  # of each country P×2, latitude and longitude in degrees
    origins: tuple[Origin, ...]  # where they come from


def places_of(labels: Sequence[str], manifest: Manifest | None = None) -> Places:
    """Where the training photos of each country stand; its land where fewer than `ENOUGH` have coordinates.

    One photo a group counts, only where it lies in the country that it is labelled with, and not at sea. Of more
    than `POINTS` those are taken that lie evenly in the order from south to north. Raises UserError for a label
    that is no country.
    """
    for code in labels:
        country_name(code)
    chosen: dict[str, Points] = {}
    if manifest is not None and {"lat", "lon", "split"} <= set(manifest.frame.columns):
        chosen = _photographed(manifest)
    on_map = [code for code in labels if code not in chosen]
    of_land = dict(zip(on_map, land_points(on_map), strict=True))
    return Places(
        labels=tuple(labels),
        points=tuple(chosen[code] if code in chosen else of_land[code] for code in labels),
        origins=tuple("photos" if code in chosen else "land" for code in labels),
    )


def _photographed(manifest: Manifest) -> dict[str, Points]:
    """Places of the training photos by country, for countries with enough of them."""
    rows = manifest.kept.filter(pl.col("split") == "train").drop_nulls(["lat", "lon", "country"])
    if "group" in rows.columns:
        rows = rows.sort("image_id").unique(pl.coalesce("group", "image_id"), keep="first")
    places = rows.select("country", pl.col("lat", "lon").round(DECIMALS)).unique().sort("country", "lat", "lon")
    found = {}
    for (code,), own in places.group_by("country"):
        points = _evenly(own.select("lat", "lon").to_numpy(), 4 * POINTS)
        lat, lon = points.T
        points = points[(country_of(lat, lon) == code) & (sea_km(lat, lon) <= COAST_KM)]
        if len(points) >= ENOUGH:
            found[str(code)] = _evenly(points, POINTS)
    return found


def _evenly(points: Points, count: int) -> Points:
    """Up to `count` of some points, at equal steps along the list."""
    steps = np.linspace(0, len(points) - 1, min(count, len(points)))
    some: Points = points[steps.round().astype(int)]
    return some


def write_places(places: Places, folder: Path) -> Path:
    """Write the places into a bundle's folder, atomically."""
    rows = zip(places.labels, places.points, places.origins, strict=True)
    text = {code: {"from": origin, "points": points.round(3).tolist()} for code, points, origin in rows}
    with whole_file(folder / FILE) as partial:
        partial.write_text(json.dumps(text, separators=(",", ":")) + "\n", encoding="utf-8")
    return folder / FILE


def read_places(folder: Path, labels: Sequence[str]) -> Places | None:
    """The places that a bundle keeps of its countries; None when it keeps none.

    Raises UserError when the file is damaged or lacks a country.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        written: Mapping[str, Mapping[str, object]] = json.loads(path.read_text(encoding="utf-8"))
        points = tuple(np.array(written[code]["points"], dtype=float).reshape(-1, 2) for code in labels)
        origins: tuple[Origin, ...] = tuple(
            "photos" if written[code]["from"] == "photos" else "land" for code in labels
        )
        if not all(len(of) and np.isfinite(of).all() for of in points):
            raise ValueError("a country without places")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not the places of this bundle's countries ({error}); remove it") from None
    return Places(labels=tuple(labels), points=points, origins=origins)
