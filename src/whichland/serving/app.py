"""The application: routes, middleware and schema around one service.

app = create_app(open_service("runs/demo/run/bundle"))
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whichland import __version__
from whichland.serving import api, collect, examples, pages, play
from whichland.serving.answers import Health
from whichland.serving.authentication import Authentication
from whichland.serving.limits import BodyLimits, Refusal
from whichland.serving.metrics import Watch
from whichland.serving.service import Service
from whichland.serving.settings import PATH, ServeConfig

READY_FIRST_S = 1.0  # before what explains is opened: the first answers come sooner
WORDS = {404: "there is nothing here", 405: "not in this way"}


def create_app(service: Service) -> FastAPI:
    """The application over an open service, which it closes when it stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        soon = asyncio.get_running_loop().call_later(READY_FIRST_S, service.get_ready_to_explain)
        yield
        soon.cancel()
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
    bearer = Depends(HTTPBearer(scheme_name="bearer", auto_error=False))  # for the schema: `Authentication` asks
    routers = [part.router(service) for part in (api, play, examples)]
    if service.settings.collect:
        routers.append(collect.router(service, service.settings.collect))
    for routes in routers:
        app.include_router(routes, dependencies=[bearer] if service.settings.token else None)
    app.include_router(pages.router(service))
    app.add_api_route("/healthz", healthz, response_model=Health, summary="Is the service up")
    for path in (f"/static/{pages.version()}", "/static"):
        app.mount(path, StaticFiles(directory=pages.STATIC))
    for kind, handler in ((HTTPException, _refused), (RequestValidationError, _invalid)):
        app.add_exception_handler(kind, handler)  # type: ignore[arg-type]
    # the last added is the outermost
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=6)
    app.add_middleware(Authentication, settings=service.settings, metrics=service.metrics)
    app.add_middleware(BodyLimits, load=service.load, metrics=service.metrics)
    app.add_middleware(Watch, metrics=service.metrics)
    app.add_middleware(pages.SecurityHeaders)
    app.add_middleware(Prefix, settings=service.settings)
    return app


class Prefix:
    """ASGI middleware: the path under which a proxy shows the service, as the settings or the proxy name it.

    A prefix of the settings may be passed on or cut off by the proxy; that of X-Forwarded-Prefix has been cut off.
    Pages and redirects hold relative addresses alone, which are right under any prefix, host and scheme.
    """

    def __init__(self, app: ASGIApp, settings: ServeConfig) -> None:
        self.app, self.prefix = app, settings.prefix
        self.proxies = [ip_network(proxy) for proxy in settings.proxies]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        prefix, path = self.prefix, scope["path"]
        given = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
        if prefix and f"{path}/".startswith(f"{prefix}/"):
            path = path.removeprefix(prefix)
        elif PATH.fullmatch(given) and self._trusts(scope):
            prefix = given

        async def with_relative_location(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if "location" in headers:  # of the same path with a slash more or less at its end
                    to = urlsplit(headers["location"])
                    last = to.path.rstrip("/").rpartition("/")[2]
                    up = "../" * (len(path) - len(path.rstrip("/")))
                    there = up + last + "/" * to.path.endswith("/")
                    headers["location"] = f"{there}?{to.query}" if to.query else there
            await send(message)

        await self.app({**scope, "root_path": prefix, "path": prefix + path}, receive, with_relative_location)

    def _trusts(self, scope: Scope) -> bool:
        """Whether the connection comes from one of the proxies."""
        try:
            address = ip_address(scope["client"][0])
        except (TypeError, ValueError):  # of no network, such as a socket of this machine
            return False
        return any(address in proxy for proxy in self.proxies)


async def healthz() -> dict[str, str]:
    return {"status": "ok"}


async def _refused(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404 and (page := pages.missing(request)):
        return page
    if isinstance(error, Refusal):
        request.app.state.whichland.metrics.refused.labels(error.reason).inc()
    why = WORDS.get(error.status_code, str(error.detail))
    return JSONResponse({"error": why}, error.status_code, error.headers)


async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"error": f"{where}: {first['msg']}"}, 422)
