"""The game: a photo, the player's pin, and only then the model's pin, the truth and the points of both.

The service keeps nothing of a player. A round is its seed; a photo is asked for by seed and number, and comes
encoded anew, so that neither its address nor its bytes reveal where it was taken. The truth is in the answer to a
pin and nowhere else: whoever wants to cheat can put a pin anywhere and look, but is then no longer playing.
"""

from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Response
from fastapi import Path as InPath
from pydantic import BaseModel, Field

from whichland.errors import UserError
from whichland.images.decode import ImageError
from whichland.model.answer import Answer
from whichland.model.labels import COUNTRY
from whichland.serving.answers import Error, HeatView, LabelGuess, guesses, rounded
from whichland.serving.api import TOP, errors
from whichland.serving.limits import Refusal
from whichland.serving.rounds import PHOTOS, Pinned, Truth, open_deck, score
from whichland.serving.service import Service, in_thread

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


class NamedTruth(Truth):
    """Where the photo was taken."""

    name: str
    known: Annotated[bool, Field(description="whether the model knows the country at all")]


class Revealed(BaseModel):
    """The end of one photo: both pins, the truth, and how sure the model was."""

    you: Pinned
    model: Pinned
    truth: NamedTruth
    guesses: list[LabelGuess]


class HeatMap(BaseModel):
    """What the model looked at; not what it made of it, which only the answer to a pin says."""

    views: list[HeatView]
    method: str
    evidence: bool


def router(service: Service) -> APIRouter:
    """The routes of the game over one service. Raises UserError when there are no photos to play with."""
    deck = open_deck(service.play)
    space = service.model.space
    known = space.at(COUNTRY).codes if space.has_countries else None  # None: of other labels nobody can say
    routes = APIRouter(prefix="/api/play", tags=["play"])
    deal = lru_cache(maxsize=256)(deck.deal)
    encoded = lru_cache(maxsize=CACHED)(deck.photo)

    def revealed(row: int, pin: PlayerPin, answer: Answer) -> dict[str, Any]:
        best, truth = answer.pin_or_land, deck.truth(row)
        code = truth.country
        named = truth.model_dump() | {"name": deck.countries.name(code), "known": known is None or code in known}
        you, model = score(pin.lat, pin.lon, truth), score(**rounded(best.lat, best.lon), truth=truth)
        return {"you": you, "model": model, "truth": named, "guesses": guesses(answer, TOP)}

    async def photo_of(seed: int, number: int) -> tuple[int, bytes]:
        """The row of a photo and its JPEG; takes a seat, so that a crowd has to wait."""
        dealt = deal(seed)
        if number > len(dealt):
            raise Refusal(404, "this round has no such photo", reason="form")
        row = dealt[number - 1]
        with service.load.seats(1):
            try:
                return row, await in_thread(service.decoders, encoded, row)
            except ImageError:  # its text names the file
                raise Refusal(422, "this photo cannot be read", reason="photo") from None

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
        try:
            return await in_thread(service.decoders, revealed, row, pin, answer)
        except UserError:  # its text names the bundle
            why = "this model does not know where its labels are photographed, so it has no pin to play with"
            raise Refusal(422, why, reason="form") from None

    @routes.get("/{seed}/{number}/heat", response_model=HeatMap, responses=REFUSED, summary="What the model looked at")
    async def heat(seed: Seed, number: Number) -> dict[str, Any]:
        _, data = await photo_of(seed, number)
        return (await service.explain(data)).json(numbers=False)

    return routes
