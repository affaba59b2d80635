"""The game: a photo, the player's pin, and only then the model's pin, the truth and the points of both.

The service keeps nothing of a player. A round is its seed; a photo is asked for by seed and number, and comes
encoded anew, so that neither its address nor its bytes tell where it was taken. The truth is in the answer to a
pin and nowhere else: whoever wants to cheat can put a pin anywhere and look, but is then no longer playing.
"""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Response
from fastapi import Path as InPath
from pydantic import BaseModel, Field

from whichland.images.decode import ImageError
from whichland.model.labels import COUNTRY
from whichland.serving.answers import guesses, rounded
from whichland.serving.api import TOP, errors
from whichland.serving.limits import Refused
from whichland.serving.rounds import PHOTOS, open_deck, score
from whichland.serving.schema import Error, Guess, HeatView
from whichland.serving.service import Service

T = TypeVar("T")
LAST_SEED = 999_999_999
REFUSED = errors(401, 422, 503) | {404: {"model": Error, "description": "the round has no such photo"}}
CACHED = 64  # photos kept encoded: a dozen rounds under way

Seed = Annotated[int, InPath(ge=0, le=LAST_SEED, description="of the round; the same photos for everybody")]
Number = Annotated[int, InPath(ge=1, le=PHOTOS, description="of the photo in its round, from 1")]


class Round(BaseModel):
    """A round to play."""

    seed: int
    photos: Annotated[int, Field(description="numbered from 1")]
    drawn: Annotated[bool, Field(description="scenes of the synthetic world, not photographs")]


class PlayerPin(BaseModel):
    """Where the player thinks the photo was taken."""

    lat: Annotated[float, Field(ge=-90, le=90, examples=[59.9])]
    lon: Annotated[float, Field(ge=-180, le=180, examples=[10.7])]


class Pinned(BaseModel):
    """A pin and what it earned."""

    lat: float
    lon: float
    country: Annotated[str | None, Field(description="that the pin lies in; null at sea")]
    km: Annotated[float, Field(description="to the photo's place, or to its country where that is all there is")]
    points: Annotated[int, Field(ge=0, le=5000)]


class Place(BaseModel):
    """Where the photo was taken."""

    country: str
    name: str
    lat: float | None
    lon: float | None
    known: Annotated[bool, Field(description="whether the model knows the country at all")]
    credit: Annotated[str | None, Field(description="who took the photo, and its licence")]


class Revealed(BaseModel):
    """The end of one photo: both pins, the truth, and how sure the model was."""

    you: Pinned
    model: Pinned
    truth: Place
    guesses: list[Guess]


class HeatMap(BaseModel):
    """What the model looked at; not what it made of it, which only the answer to a pin says."""

    views: list[HeatView]
    method: str
    evidence: bool


def router(service: Service) -> APIRouter:
    """The routes of the game over one service. Raises UserError when there are no photos to play with."""
    deck = open_deck(service.play)
    space = service.model.space
    known = space.at(COUNTRY) if space.has_countries else space
    routes = APIRouter(prefix="/api/play", tags=["play"])
    deal = lru_cache(maxsize=256)(deck.deal)
    encoded = lru_cache(maxsize=CACHED)(deck.photo)

    async def in_thread(work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(service.decoders, work)

    async def photo_of(seed: int, number: int) -> tuple[int, bytes]:
        """The row of a photo and its JPEG; takes a seat, so that a crowd has to wait."""
        dealt = deal(seed)
        if number > len(dealt):
            raise Refused(404, "this round has no such photo", reason="form")
        row = dealt[number - 1]
        with service.load.seats(1):
            try:
                return row, await in_thread(lambda: encoded(row))
            except ImageError:  # its text names the file
                raise Refused(422, "this photo cannot be read", reason="photo") from None

    @routes.get("/{seed}", response_model=Round, responses=errors(401, 422), summary="A round of the game")
    async def round_of(seed: Seed) -> dict[str, Any]:
        return {"seed": seed, "photos": len(deal(seed)), "drawn": deck.drawn}

    @routes.get(
        "/{seed}/{number}/photo",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}, **REFUSED},
        summary="A photo of a round",
    )
    async def photo(seed: Seed, number: Number) -> Response:
        _, data = await photo_of(seed, number)
        return Response(data, media_type="image/jpeg")

    @routes.post(
        "/{seed}/{number}/guess",
        response_model=Revealed,
        responses=REFUSED,
        summary="Put a pin, and see where the photo was taken",
    )
    async def guess(seed: Seed, number: Number, pin: PlayerPin) -> dict[str, Any]:
        row, data = await photo_of(seed, number)
        with service.load.seats(1):
            answer = await service.answer(data)
        best = await in_thread(lambda: answer.pin_or_land)
        truth = deck.truth(row)
        own = rounded(best.lat, best.lon)
        you, model = await in_thread(lambda: (score(pin.lat, pin.lon, truth), score(**own, truth=truth)))
        return {
            "you": {"lat": pin.lat, "lon": pin.lon, **asdict(you)},
            "model": {**own, **asdict(model)},
            "truth": {**asdict(truth), "name": deck.countries.name(truth.country), "known": truth.country in known},
            "guesses": guesses(answer, TOP),
        }

    @routes.get("/{seed}/{number}/heat", response_model=HeatMap, responses=REFUSED, summary="What the model looked at")
    async def heat(seed: Seed, number: Number) -> dict[str, Any]:
        _, data = await photo_of(seed, number)
        found = await service.explain(data)
        return {"views": found.views_json(numbers=False), "method": found.method, "evidence": found.evidence}

    return routes
