"""The photos of the game: a deck of them, and the hand that a seed deals.

A deck is the test photos of a manifest, or a synthetic world that no model was trained on, drawn when a photo is
asked for. A seed deals the same photos to everybody who plays with the same deck: first the countries are dealt,
each as likely as any other, then a photo of each, so that a round of five is not four times the United States.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from whichland.errors import UserError
from whichland.geo.borders import country_of
from whichland.geo.distance import geoguessr_score, haversine_km
from whichland.images.decode import encode_jpeg, load, within
from whichland.images.preprocess import Pixels
from whichland.model.bundle import DRAWN
from whichland.model.label_sources import countries
from whichland.model.labels import LabelSpace

PHOTOS = 5  # of a round, as in GeoGuessr
LONG_SIDE = 1600  # pixels: what is sent of a photo
QUALITY = 90

DRAWN_SEED = 20_260_101  # of a world that neither the demo nor the tutorial trains on
DRAWN_SCENES = 1_200
DRAWN_SIZE = (640, 480)


MOST = 5000  # points of a photo
FIRST_DAY = date(2026, 1, 1)  # whose photos of the day are number 1


class Truth(BaseModel):
    """Where a photo was taken, which must not be revealed before the player has answered."""

    country: str
    lat: float | None
    lon: float | None
    credit: Annotated[str | None, Field(description="who took the photo, and its licence")]

    @property
    def placed(self) -> bool:
        """Whether there are coordinates, so that distances to them can be measured."""
        return self.lat is not None and self.lon is not None


class Judged(BaseModel):
    """An answer, a pin or a country, and what it earned."""

    lat: Annotated[float | None, Field(description="null where a country was named")]
    lon: Annotated[float | None, Field(description="null where a country was named")]
    country: Annotated[str | None, Field(description="that was named or that the pin lies in; null at sea")]
    right: Annotated[bool, Field(description="whether that is the photo's country")]
    km: Annotated[
        float | None, Field(description="from the pin to the photo's place; null for country against country")
    ]
    points: Annotated[int, Field(ge=0, le=MOST)]


@dataclass(frozen=True, kw_only=True)
class Deck:
    """Photos to play with, sorted by country."""

    countries: LabelSpace  # of the photos
    sizes: NDArray[np.integer[Any]]  # how many photos there are of each country, in the order of the rows
    truth: Callable[[int], Truth]
    pixels: Callable[[int], Pixels]  # raises ImageError
    drawn: bool  # of the synthetic world
    digest: str  # of what is in it: the same for everybody who has the same deck

    def photo(self, row: int) -> bytes:
        """A JPEG that holds pixels and nothing else. Raises ImageError."""
        return encode_jpeg(within(self.pixels(row), LONG_SIDE), QUALITY)

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


def number_of_day(day: date) -> int:
    """How many days there have been photos of the day.

    >>> number_of_day(date(2026, 7, 31))
    212
    """
    return (day - FIRST_DAY).days + 1


def seed_of_day(deck: Deck, day: date, seeds: int) -> int:
    """The seed of a day's round, below `seeds`: the same for everybody who has the same deck."""
    digest = hashlib.sha256(f"{deck.digest} {day.isoformat()}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % seeds


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


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
        drawn=set(rows["source"]) == {DRAWN},
        digest=_digest(f"{country} {name}" for country, name in rows.select("country", "image_id").iter_rows()),
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
        digest=_digest([repr(world)]),
    )


def judge(truth: Truth, *, lat: float | None = None, lon: float | None = None, country: str | None = None) -> Judged:
    """Judge a pin by its distance to the photo's place, in kilometres, and a country by whether it is the right one.

    So is a pin on a photo that has no coordinates, by the country that it lies in: it earns all points or none, as
    nobody can say how far away a country is.
    """
    if lat is not None and lon is not None:
        country = str(country_of(lat, lon)) or None
    right = country == truth.country
    if lat is None or lon is None or truth.lat is None or truth.lon is None:
        return Judged(lat=lat, lon=lon, country=country, right=right, km=None, points=MOST if right else 0)
    km = float(haversine_km(lat, lon, truth.lat, truth.lon))
    points = round(float(geoguessr_score(km)))
    return Judged(lat=lat, lon=lon, country=country, right=right, km=round(km, 1), points=points)
