"""The game: a photo, the player's answer, and only then the model's, the truth and the points of both.

An answer is a pin, judged by its distance to where the photo was taken, or a country, which is right or wrong. A
photo without coordinates is played country against country.

The service keeps nothing of a player. A round is its seed; a photo is asked for by seed and number, and comes
encoded anew, so that neither its address nor its bytes reveal where it was taken. The truth is in the reply to an
answer and nowhere else: whoever wants to cheat can answer anything and look, but is then no longer playing.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Self

from fastapi import APIRouter, Response
from fastapi import Path as InPath
from pydantic import BaseModel, Field, model_validator

from whichland.errors import UserError
from whichland.images.decode import ImageError
from whichland.model.answer import Answer
from whichland.model.labels import COUNTRY
from whichland.serving.answers import Error, HeatView, LabelGuess, guesses, rounded
from whichland.serving.api import TOP, errors
from whichland.serving.limits import Refusal
from whichland.serving.rounds import PHOTOS, Judged, Truth, judge, number_of_day, open_deck, seed_of_day
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
    deck: Annotated[str, Field(description="the same for everybody who has the same photos to play with")]
    countries: Annotated[list[str], Field(description="of all photos that there are to play with")]
    placed: Annotated[list[bool], Field(description="of each photo, whether distances to it can be measured")]
    credits: Annotated[list[str | None], Field(description="of each photo, who took it, and its licence")]


class Daily(Round):
    """The round of the day: the same photos for everybody who has the same deck."""

    number: Annotated[int, Field(description="of the day, in UTC", ge=1)]


class PlayerAnswer(BaseModel):
    """Where the player thinks the photo was taken: a pin, or a country; neither where the time ran out."""

    lat: Annotated[float | None, Field(ge=-90, le=90, examples=[59.9])] = None
    lon: Annotated[float | None, Field(ge=-180, le=180, examples=[10.7])] = None
    country: Annotated[str | None, Field(pattern="^[A-Z]{2}$", examples=["NO"])] = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = (self.lat is not None, self.lon is not None, self.country is not None)
        if given not in ((True, True, False), (False, False, True), (False, False, False)):
            raise ValueError("give lat and lon, or else country, or nothing")
        return self


class NamedTruth(Truth):
    """Where the photo was taken, and what the model made of that country."""

    name: str
    known: Annotated[bool, Field(description="whether the model knows the country at all")]
    rank: Annotated[int | None, Field(description="among the model's guesses, from 1; null for what it does not know")]
    probability: Annotated[float | None, Field(description="that the model gave it; null for what it does not know")]


class Revealed(BaseModel):
    """The end of one photo: both answers, the truth, and how sure the model was."""

    you: Judged
    model: Judged
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

    def described(seed: int) -> dict[str, Any]:
        dealt = [deck.truth(row) for row in deal(seed)]
        return {
            "seed": seed,
            "photos": len(dealt),
            "drawn": deck.drawn,
            "deck": deck.digest,
            "countries": deck.countries.codes,
            "placed": [truth.placed for truth in dealt],
            "credits": [truth.credit for truth in dealt],
        }

    def models(answer: Answer, by_country: bool) -> dict[str, Any]:
        """What the model plays: its likeliest country, or its pin."""
        if by_country and answer.country is not None:
            return {"country": answer.country}
        best = answer.pin_or_land
        return rounded(best.lat, best.lon)

    def truth_of(row: int, answer: Answer) -> NamedTruth:
        truth = deck.truth(row)
        code = truth.country
        guessed = [] if known is None else answer.at(COUNTRY)
        rank = next((at for at, guess in enumerate(guessed, 1) if guess.code == code), None)
        return NamedTruth(
            **truth.model_dump(),
            name=deck.countries.name(code),
            known=known is None or code in known,
            rank=rank,
            probability=guessed[rank - 1].probability if rank else None,
        )

    def revealed(row: int, given: PlayerAnswer, answer: Answer) -> dict[str, Any]:
        truth = truth_of(row, answer)
        you = judge(truth, **given.model_dump())
        model = judge(truth, **models(answer, by_country=given.country is not None or not truth.placed))
        return {"you": you, "model": model, "truth": truth, "guesses": guesses(answer, TOP)}

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

    @routes.get("/daily", response_model=Daily, responses=errors(401), summary="The round of the day, in UTC")
    async def daily() -> dict[str, Any]:
        today = datetime.now(UTC).date()
        return described(seed_of_day(deck, today, LAST_SEED + 1)) | {"number": number_of_day(today)}

    @routes.get("/{seed}", response_model=Round, responses=errors(401, 422), summary="A round of the game")
    async def round_of(seed: Seed) -> dict[str, Any]:
        return described(seed)

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
        summary="Put a pin or name a country, and see where the photo was taken",
    )
    async def guess(seed: Seed, number: Number, given: PlayerAnswer) -> dict[str, Any]:
        row, data = await photo_of(seed, number)
        with service.load.seats(1):
            answer = await service.answer(data)
        try:
            return await in_thread(service.decoders, revealed, row, given, answer)
        except UserError:  # its text names the bundle
            why = "this model does not know where its labels are photographed, so it has no pin to play with"
            raise Refusal(422, why, reason="form") from None

    @routes.get("/{seed}/{number}/heat", response_model=HeatMap, responses=REFUSED, summary="What the model looked at")
    async def heat(seed: Seed, number: Number) -> dict[str, Any]:
        _, data = await photo_of(seed, number)
        return (await service.explain(data)).json(numbers=False)

    return routes
