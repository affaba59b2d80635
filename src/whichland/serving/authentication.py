"""Who may ask: the bearer token, the names of the service, and no forms from other sites' pages."""

import base64
import binascii
import hmac
import re

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from whichland.serving.metrics import Metrics, path_of
from whichland.serving.settings import ServeConfig

REPORTS = re.compile(r"/(report|atlas)(/|$)")
CLOSED = re.compile(r"/api/|/metrics$")


class Authentication:
    """ASGI middleware: asks for the token where there is one.

    The page itself, its files, the schema and /healthz are open, so that the page can ask for the token. Browsers
    cannot send a bearer token when they follow a link; for the report and the atlas they may send it as the
    password of basic authentication, under any name.
    """

    def __init__(self, app: ASGIApp, settings: ServeConfig, metrics: Metrics) -> None:
        self.app, self.token, self.hosts, self.metrics = app, settings.token, settings.hosts, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = (scope["type"] == "http" and self._refusal(scope)) or self.app
        await app(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        """The answer to who may not ask; None for who may."""
        headers, path = Headers(scope=scope), path_of(scope)
        # a page elsewhere may let its own name lead to this machine; who looks after the service names no host
        name = re.sub(r":\d+$", "", headers.get("host", "")).lower()
        if self.hosts and path != "/healthz" and name not in self.hosts:
            return self._no(400, "this service goes by other names", "host")
        # another site's page cannot read the answer, but it could keep this machine busy
        if scope["method"] == "POST" and headers.get("sec-fetch-site", "") in ("cross-site", "same-site"):
            return self._no(403, "this page may not be asked from another site's", "site")
        shown = bool(REPORTS.match(path))
        if self.token is None or not (shown or CLOSED.match(path)):
            return None
        if self._known(self.token, headers.get("authorization", ""), basic=shown):
            return None
        asked = 'Basic realm="whichland", charset="UTF-8"' if shown else 'Bearer realm="whichland"'
        why = "a token is needed, as Authorization: Bearer …"
        return self._no(401, why, "token", {"WWW-Authenticate": asked})

    def _known(self, token: str, authorization: str, *, basic: bool) -> bool:
        scheme, _, given = authorization.partition(" ")
        if basic and scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip().encode(), token.encode())

    def _no(self, status: int, why: str, reason: str, headers: dict[str, str] | None = None) -> JSONResponse:
        self.metrics.refused.labels(reason).inc()
        return JSONResponse({"error": why}, status, headers)
