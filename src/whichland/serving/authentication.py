"""Who may ask: the bearer token, the names of the service, and no forms from other sites' pages."""

import base64
import binascii
import hmac
import re

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from whichland.serving.metrics import Metrics
from whichland.serving.settings import ServeConfig

REPORTS = ("/report", "/atlas")


class Authentication:
    """ASGI middleware: asks for the token where there is one.

    The page itself, its files, the schema and /healthz are open, so that the page can ask for the token. Browsers
    cannot send a bearer token when they follow a link; for the report and the atlas they may send it as the
    password of basic authentication, under any name.
    """

    def __init__(self, app: ASGIApp, settings: ServeConfig, metrics: Metrics) -> None:
        self.app, self.token, self.hosts, self.metrics = app, settings.token, settings.hosts, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        shown = any(path == report or path.startswith(report + "/") for report in REPORTS)
        # a page elsewhere may let its own name lead to this machine; who looks after the service names no host
        if self.hosts and path != "/healthz" and _name(headers.get("host", "")) not in self.hosts:
            await self._no(400, "this service goes by other names", {}, "host")(scope, receive, send)
            return
        if scope["method"] == "POST" and headers.get("sec-fetch-site", "") in ("cross-site", "same-site"):
            # another site's page cannot read the answer, but it could keep this machine busy
            await self._no(403, "this page may not be asked from another site's", {}, "site")(scope, receive, send)
            return
        closed = shown or path == "/metrics" or path.startswith("/api/")
        if self.token is not None and closed and not self._known(headers.get("authorization", ""), basic=shown):
            asked = 'Basic realm="whichland", charset="UTF-8"' if shown else 'Bearer realm="whichland"'
            answer = self._no(
                401, "a token is needed, as Authorization: Bearer …", {"WWW-Authenticate": asked}, "token"
            )
            await answer(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _known(self, authorization: str, *, basic: bool) -> bool:
        scheme, _, given = authorization.partition(" ")
        if basic and scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return False
        elif scheme.lower() != "bearer":
            return False
        assert self.token is not None
        return hmac.compare_digest(given.strip().encode(), self.token.encode())

    def _no(self, status: int, why: str, headers: dict[str, str], reason: str) -> JSONResponse:
        self.metrics.refused.labels(reason).inc()
        return JSONResponse({"error": why}, status, headers)


def _name(host: str) -> str:
    """A host as the header names it, without its port."""
    return re.sub(r":\d+$", "", host).lower()
