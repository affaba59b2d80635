"""How far a pin is off, and the points for it."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from whichland.geo.borders import borders, country_of
from whichland.geo.distance import geoguessr_score, haversine_km
from whichland.geo.land import Points
from whichland.geo.polygons import UNITS, edges
from whichland.serving.rounds import Truth

STEP = 0.05  # degrees between the points that stand for a border: a distance to it is off by 3 km at most


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a pin earned."""

    country: str | None  # it lies in; None at sea
    km: float
    points: int  # 0 to 5,000, GeoGuessr's


def score(lat: float, lon: float, truth: Truth) -> Score:
    """Judge a pin: by its distance to the photo's place, or to the country where the place is not known.

    A pin in the right country is then 0 km off: nobody can know more of the photo than that.
    """
    inside = str(country_of(lat, lon)) or None
    if truth.lat is not None and truth.lon is not None:
        km = float(haversine_km(lat, lon, truth.lat, truth.lon))
    else:
        km = 0.0 if inside == truth.country else country_km(lat, lon, truth.country)
    return Score(country=inside, km=round(km, 1), points=round(float(geoguessr_score(km))))


def country_km(lat: float, lon: float, code: str) -> float:
    """Kilometres from a point outside a country to its nearest border, or to where its waters begin."""
    outline = _outline(code)
    return float(haversine_km(lat, lon, outline[:, 0], outline[:, 1]).min())


@lru_cache(maxsize=64)
def _outline(code: str) -> Points:
    """Points along a country's borders, P×2 degrees, at most `STEP` apart."""
    found = borders()
    own = edges()
    some = np.flatnonzero(found.codes[found.country[own.feature]] == code)
    begin_E2 = np.stack([own.lat0[some], own.lon0[some]], axis=1) / UNITS
    way_E2 = np.stack([own.lat1[some], own.lon1[some]], axis=1) / UNITS - begin_E2
    parts_E = np.maximum(1, np.ceil(np.abs(way_E2).max(axis=1) / STEP)).astype(np.int64)
    edge_P = np.repeat(np.arange(len(some)), parts_E)
    share_P = (np.arange(len(edge_P)) - np.repeat(np.cumsum(parts_E) - parts_E, parts_E)) / parts_E[edge_P]
    outline: Points = begin_E2[edge_P] + share_P[:, None] * way_E2[edge_P]
    return outline
