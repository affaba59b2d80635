"""The photos of the game: a deck of them, and the hand that a seed deals.

A deck is the test photos of a manifest, or a synthetic world that no model was trained on, drawn when a photo is
asked for. A seed deals the same photos to everybody who plays with the same deck: first the countries are dealt,
each as likely as any other, then a photo of each, so that a round of five is not four times the United States.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from whichland.errors import UserError
from whichland.geo.borders import borders, country_of
from whichland.geo.distance import geoguessr_score, haversine_km
from whichland.geo.land import Points
from whichland.geo.polygons import UNITS, edges
from whichland.images.decode import encode_jpeg, load, shrink
from whichland.images.preprocess import Pixels
from whichland.model.label_sources import countries
from whichland.model.labels import LabelSpace

PHOTOS = 5  # of a round, as in GeoGuessr
LONG_SIDE = 1600  # pixels: what is sent of a photo
QUALITY = 90

DRAWN_SEED = 20_260_101  # of a world that neither the demo nor the tutorial trains on
DRAWN_SCENES = 1_200
DRAWN_SIZE = (640, 480)


class Truth(BaseModel):
    """Where a photo was taken, which must not be revealed before the player has pinned."""

    country: str
    lat: float | None
    lon: float | None
    credit: Annotated[str | None, Field(description="who took the photo, and its licence")]


class Pinned(BaseModel):
    """A pin and what it earned."""

    lat: float
    lon: float
    country: Annotated[str | None, Field(description="that the pin lies in; null at sea")]
    km: Annotated[float, Field(description="to the photo's place, or to its country where that is all there is")]
    points: Annotated[int, Field(ge=0, le=5000)]


@dataclass(frozen=True, kw_only=True)
class Deck:
    """Photos to play with, sorted by country."""

    countries: LabelSpace  # of the photos
    sizes: NDArray[np.integer[Any]]  # how many photos there are of each country, in the order of the rows
    truth: Callable[[int], Truth]
    pixels: Callable[[int], Pixels]  # raises ImageError
    drawn: bool  # of the synthetic world

    def photo(self, row: int) -> bytes:
        """A JPEG that holds pixels and nothing else. Raises ImageError."""
        pixels = self.pixels(row)
        height, width = pixels.shape[:2]
        scale = LONG_SIDE / max(height, width)
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            pixels = shrink(pixels, (0, 0, width, height), size)
        return encode_jpeg(pixels, QUALITY)

    def deal(self, seed: int, count: int = PHOTOS) -> list[int]:
        """The rows of the round of a seed: no country twice while there are others, no photo twice."""
        random = np.random.Generator(np.random.PCG64(seed))
        starts = np.cumsum(self.sizes) - self.sizes
        left = [
            start + random.choice(size, min(size, count), replace=False)
            for start, size in zip(starts, self.sizes, strict=True)
        ]
        order = random.permutation(len(left))
        by_turns = [int(left[at][turn]) for turn in range(count) for at in order if turn < len(left[at])]
        return by_turns[:count]


def open_deck(path: Path | None) -> Deck:
    """The deck of a manifest's test photos, or the drawn one. Raises UserError when there is none to play with."""
    if path is None:
        return _of_world()
    import polars as pl

    from whichland import manifest as manifests

    table = manifests.read(path)
    table.require("country", "split", hint="geocode, clean and split it first (`whichland data prepare`)")
    test = (pl.col("split") == "test") & pl.col("country").is_not_null()
    rows = table.kept.filter(test).sort("country", "image_id")
    if not rows.height:
        raise UserError(f"{path}: no test photos to play with; split it anew, with a share for the test")

    def truth(row: int) -> Truth:
        found = rows.row(row, named=True)
        lat, lon = found.get("lat"), found.get("lon")
        if lat is None or lon is None:
            lat = lon = None
        return Truth(country=found["country"], lat=lat, lon=lon, credit=manifests.credit(found) or None)

    return Deck(
        countries=countries(rows["country"].unique().sort().to_list()),
        sizes=rows.group_by("country", maintain_order=True).len()["len"].to_numpy().astype(np.int64),
        truth=truth,
        pixels=lambda row: load(rows["uri"][row], short_side=LONG_SIDE),
        drawn=False,
    )


@cache
def _of_world() -> Deck:
    from whichland.sources.synthetic.world import WorldConfig, describe, render, spot

    width, height = DRAWN_SIZE
    world = WorldConfig(seed=DRAWN_SEED, scenes=DRAWN_SCENES, width=width, height=height)
    drawn = [spot(world, scene).country for scene in range(DRAWN_SCENES)]
    order = sorted(range(DRAWN_SCENES), key=drawn.__getitem__)

    def truth(row: int) -> Truth:
        fact = describe(world, order[row])
        return Truth(country=fact.country, lat=fact.lat, lon=fact.lon, credit="whichland's synthetic world, CC0")

    return Deck(
        countries=countries(sorted(set(drawn))),
        sizes=np.unique(drawn, return_counts=True)[1],
        truth=truth,
        pixels=lambda row: render(world, order[row]).image,
        drawn=True,
    )


STEP = 0.05  # degrees between the points that stand for a border: a distance to it is off by 3 km at most


def score(lat: float, lon: float, truth: Truth) -> Pinned:
    """Judge a pin: by its distance to the photo's place, or to the country where the place is not known.

    A pin in the right country is then 0 km off: nobody can know more of the photo than that.
    """
    inside = str(country_of(lat, lon)) or None
    if truth.lat is not None and truth.lon is not None:
        km = float(haversine_km(lat, lon, truth.lat, truth.lon))
    else:
        km = 0.0 if inside == truth.country else country_km(lat, lon, truth.country)
    points = round(float(geoguessr_score(km)))
    return Pinned(lat=lat, lon=lon, country=inside, km=round(km, 1), points=points)


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
