"""The API for programs: predict, explain, info and metrics."""

import asyncio
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from whichland.errors import UserError
from whichland.explanation.methods import METHODS_HELP
from whichland.images.decode import ImageError
from whichland.model.answer import CERTAINTY
from whichland.model.label_sources import among
from whichland.serving.answers import Error, ExplainedPhoto, PhotoAnswers, answer_json
from whichland.serving.facts import ServiceInfo, service_info
from whichland.serving.limits import Refusal, Upload, read_form
from whichland.serving.metrics import CONTENT_TYPE_LATEST
from whichland.serving.service import Service

TOP = 5
NEIGHBOURS = 12  # training photos beside one answer, at most
PHOTO = {
    "type": "string",
    "format": "binary",
    "description": "JPEG, PNG, WebP, GIF, BMP, TIFF, PPM or AVIF; HEIC with an extra",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers that say no, for the schema."""
    texts = {
        401: "a token is needed",
        408: "the photos took too long to arrive",
        413: "over a limit",
        422: "what was sent cannot be used",
        503: "the service is busy; try again after the seconds of Retry-After",
    }
    return {status: {"model": Error, "description": texts[status]} for status in statuses}


def form(required: str, **properties: Any) -> dict[str, Any]:
    """The body of a multipart form, for the schema."""
    schema = {"type": "object", "required": [required], "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def router(service: Service) -> APIRouter:
    """The routes over one service."""
    routes = APIRouter()
    settings, space = service.settings, service.model.space
    code = {"type": "string", "enum": sorted(space.codes)}

    @routes.get("/api/info", response_model=ServiceInfo, responses=errors(401), summary="What is served")
    async def info() -> dict[str, Any]:
        return service_info(service)

    @routes.post(
        "/api/predict",
        response_model=PhotoAnswers,
        responses=errors(401, 408, 413, 503)
        | {422: {"model": PhotoAnswers | Error, "description": "no photo could be read"}},
        openapi_extra=form(
            "files",
            files={"type": "array", "items": PHOTO, "minItems": 1, "maxItems": settings.files},
            top={"type": "integer", "minimum": 1, "default": TOP, "description": "guesses to name"},
            among={"type": "string", "description": "answer within these labels alone, with commas between; see info"},
            certainty={"type": "integer", "minimum": 1, "maximum": 99, "default": CERTAINTY}
            | {"description": "percent that the country, region or continent under `certain` reaches"},
            neighbours={"type": "integer", "minimum": 0, "maximum": NEIGHBOURS, "default": 0}
            | {"description": "training photos to show that the model finds alike"},
        ),
        summary="The likeliest countries of one or more photos",
    )
    async def predict(request: Request) -> JSONResponse:
        """Answers in the order of the photos; one that cannot be read has an error in its place.

        Answers 200 when at least one photo could be read, else 422 with the same body.
        """
        uploads, fields = await read_form(request, field="files", files=settings.files)
        top = _whole_number(fields, "top", TOP)
        nearest = _whole_number(fields, "neighbours", 0, least=0, most=NEIGHBOURS)
        certainty = _whole_number(fields, "certainty", CERTAINTY, most=99)
        try:
            within = among(space, fields["among"]) if fields.get("among") else None
        except UserError as error:
            raise Refusal(422, f"among: {error}", reason="form") from None
        as_json = partial(answer_json, service, top=top, nearest=nearest, certainty=certainty)
        with service.load.seats(len(uploads)):
            results = await asyncio.gather(*(_judge(service, upload, within, as_json) for upload in uploads))
        read = any("probabilities" in result for result in results)
        return JSONResponse({"results": results}, 200 if read else 422)

    @routes.post(
        "/api/explain",
        response_model=ExplainedPhoto,
        responses=errors(401, 408, 413, 422, 503),
        openapi_extra=form(
            "file",
            file=PHOTO,
            country={**code, "description": "what to explain; the guess when not given"},
            against={**code, "description": "what speaks for the country and against this one"},
            method={"type": "string", "enum": list(service.methods), "description": METHODS_HELP},
        ),
        summary="Where in a photo the model found its answer",
    )
    async def explain(request: Request) -> dict[str, Any]:
        """A heat map over every view of the photo that the answer is combined of."""
        ((name, data),), fields = await read_form(request, field="file", files=1)
        asked = {name: fields.get(name) or None for name in ("country", "against", "method")}
        try:
            heat = await service.explain(data, **asked)
        except UserError as error:
            raise Refusal(422, str(error), reason="photo" if isinstance(error, ImageError) else "form") from None
        found = {"name": name, "country": heat.country, "against": heat.against, "verified": None}
        return found | heat.json(numbers=True)

    @routes.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"application/openmetrics-text": {"schema": {"type": "string"}}}}, **errors(401)},
        summary="Counters for Prometheus",
    )
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return routes


async def _judge(
    service: Service, upload: Upload, within: tuple[str, ...] | None, as_json: Callable[..., dict[str, Any]]
) -> dict[str, Any]:
    """The answer for one photo, or its error; `as_json` makes JSON of its name and answer."""
    (name, data), started = upload, perf_counter()
    try:
        answer, features_F = await service.answer_and_features(data)
    except ImageError as error:
        service.metrics.photos.labels("unreadable").inc()
        return {"name": name, "error": str(error)}
    service.metrics.photos.labels("judged").inc()
    passed = 1000 * (perf_counter() - started)
    shown = answer if within is None else answer.among(within)
    return as_json(name, shown, features_F=features_F, milliseconds=passed)


def _whole_number(fields: dict[str, str], name: str, default: int, *, least: int = 1, most: int = 999_999) -> int:
    text = fields.get(name, str(default))
    if not (text.isdecimal() and text.isascii() and len(text) <= 6 and least <= int(text) <= most):
        raise Refusal(422, f"{name}: not a whole number from {least} to {most}", reason="form")
    return int(text)
