"""The application: routes, middleware and schema around one service.

app = create_app(open_service("runs/demo/run/bundle"))
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from whichland import __version__
from whichland.serving import api, play, reports
from whichland.serving.authentication import Authentication
from whichland.serving.body_limits import BodyLimits
from whichland.serving.headers import SecurityHeaders
from whichland.serving.limits import Refused
from whichland.serving.metrics import Watch
from whichland.serving.schema import Error
from whichland.serving.service import Service

STATIC = Path(__file__).with_name("static")


def create_app(service: Service) -> FastAPI:
    """The application over an open service, which it closes when it stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="whichland",
        version=__version__,
        summary="The country of a street-level photo, with honest probabilities and the reason why.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages for it load scripts from elsewhere
        redoc_url=None,
    )
    app.state.whichland = service
    for part in (api, reports, play):
        app.include_router(part.router(service))
    for route, file in (("/", "index.html"), ("/play", "play.html")):
        app.add_api_route(route, _sender(STATIC / file), include_in_schema=False, response_class=FileResponse)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for kind, handler in ((HTTPException, _refused), (RequestValidationError, _invalid)):
        app.add_exception_handler(kind, handler)  # type: ignore[arg-type]
    # the last added is the outermost
    app.add_middleware(Authentication, settings=service.settings, metrics=service.metrics)
    app.add_middleware(BodyLimits, load=service.load, metrics=service.metrics)
    app.add_middleware(Watch, metrics=service.metrics)
    app.add_middleware(SecurityHeaders)
    app.openapi = lambda: _schema(app, service)  # type: ignore[method-assign]
    return app


def _sender(path: Path) -> Callable[[], Awaitable[FileResponse]]:
    """A route's function that sends a file as it is."""

    async def send() -> FileResponse:
        return FileResponse(path)

    return send


async def _refused(request: Request, error: HTTPException) -> JSONResponse:
    if isinstance(error, Refused):
        request.app.state.whichland.metrics.refused.labels(error.reason).inc()
    words = {404: "there is nothing here", 405: "not in this way"}
    why = words.get(error.status_code, str(error.detail))
    return JSONResponse({"error": why}, error.status_code, error.headers)


async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"error": f"{where}: {first['msg']}"}, 422)


def _schema(app: FastAPI, service: Service) -> dict[str, Any]:
    """FastAPI's schema, with the errors as they really are and the token where one is asked for."""
    from fastapi.openapi.utils import get_openapi

    if app.openapi_schema:
        return app.openapi_schema
    made = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    parts = made.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        parts.pop(name, None)
    parts["Error"] = Error.model_json_schema()
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for path, operations in made["paths"].items():
        for operation in operations.values():
            for answer in operation["responses"].values():
                if "HTTPValidationError" in str(answer):
                    answer["content"] = error
            if service.settings.token and (path.startswith("/api/") or path == "/metrics"):
                operation["security"] = [{"bearer": []}]
    if service.settings.token:
        made["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    app.openapi_schema = made
    return made
