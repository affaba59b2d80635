"""Photos for those who have none at hand: drawn streets, or a manifest's test photos that anybody may show.

A photo of somebody is shown with its credit alone; where the game has none that is free to show, the streets are drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Response
from fastapi import Path as InPath
from pydantic import BaseModel, Field

from whichland.images.decode import ImageError, encode_jpeg, load, within
from whichland.images.preprocess import Pixels
from whichland.serving.answers import Error
from whichland.serving.api import errors
from whichland.serving.limits import Refusal
from whichland.serving.rounds import LONG_SIDE, QUALITY, open_deck
from whichland.serving.service import Service, in_thread

COUNT = 6
SEED = 8  # of which ones
THUMBNAIL = 300  # pixels of its long side


class ExamplePhoto(BaseModel):
    """Whom to name where the photo is shown, and its licence."""

    credit: Annotated[str, Field(description="the line to print beside it")]
    license: Annotated[str | None, Field(description="SPDX name; null where the line alone says it")]


class Examples(BaseModel):
    """The photos, in the order of their numbers, which begin with 1."""

    drawn: Annotated[bool, Field(description="scenes of the synthetic world, not photographs")]
    photos: list[ExamplePhoto]


@dataclass(frozen=True, kw_only=True)
class Example:
    """A photo that may be shown."""

    credit: str
    license: str | None
    drawn: bool
    pixels: Callable[[], Pixels]  # raises ImageError

    def jpeg(self, long_side: int) -> bytes:
        """Its pixels and nothing else. Raises ImageError."""
        return encode_jpeg(within(self.pixels(), long_side), QUALITY)


def choose(path: Path | None) -> list[Example]:
    """Six photos of the manifest that are free to show, each of another country where there are as many; else drawn."""
    free = _free(path) if path else []
    if free:
        return free
    deck = open_deck(None)
    return [
        Example(credit=deck.truth(row).credit or "", license=None, drawn=True, pixels=partial(deck.pixels, row))
        for row in deck.deal(SEED, COUNT)
    ]


def _free(path: Path) -> list[Example]:
    """Test photos that anybody may show and that say whom to name."""
    import polars as pl

    from whichland import manifest as manifests
    from whichland.model.gallery import free_to_show

    rows = manifests.read(path).kept.filter((pl.col("split") == "test") & pl.col("country").is_not_null())
    rows = rows.with_columns(
        pl.lit(None, pl.String).alias(name) for name in manifests.CREDIT if name not in rows.columns
    )
    rows = rows.filter(free_to_show(rows, "attribution", "creator")).sort("image_id")
    mixed = rows.sample(fraction=1, shuffle=True, seed=SEED).with_columns(
        pl.int_range(pl.len()).over("country").alias("turn")
    )
    named = [row for row in mixed.sort("turn", maintain_order=True).iter_rows(named=True) if manifests.credit(row)]
    return [
        Example(
            credit=manifests.credit(row),
            license=row["license"],
            drawn=False,
            pixels=partial(load, row["uri"], short_side=LONG_SIDE),
        )
        for row in named[:COUNT]
    ]


def router(service: Service) -> APIRouter:
    """The routes to the photos."""
    routes = APIRouter(prefix="/api/examples", tags=["examples"])

    @cache
    def photos() -> list[Example]:
        return choose(service.play)

    @lru_cache(maxsize=2 * COUNT)
    def encoded(number: int, long_side: int) -> bytes:
        if number > len(photos()):
            raise Refusal(404, "there is no such example", reason="form")
        return photos()[number - 1].jpeg(long_side)

    @routes.get("", response_model=Examples, responses=errors(401), summary="Photos to try")
    async def examples() -> dict[str, Any]:
        found = await in_thread(service.decoders, photos)
        return {
            "drawn": all(one.drawn for one in found),
            "photos": [{"credit": one.credit, "license": one.license} for one in found],
        }

    @routes.get(
        "/{number}",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}, 404: {"model": Error}, **errors(401, 422, 503)},
        summary="One of them",
    )
    async def example(number: Annotated[int, InPath(ge=1, le=COUNT)], small: bool = False) -> Response:
        with service.load.seats(1):
            try:
                data = await in_thread(service.decoders, encoded, number, THUMBNAIL if small else LONG_SIDE)
            except ImageError:  # its text names the file
                raise Refusal(422, "this photo cannot be read", reason="photo") from None
        return Response(data, media_type="image/jpeg")

    return routes
