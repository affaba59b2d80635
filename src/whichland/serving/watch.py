"""What is written down of a request: counts for the metrics, and a line in the log.

The line names the route, not the path, query or files, and not who asked: a photo's name may say where it was
taken. What goes wrong inside becomes an answer without a word of the inside; its traceback goes to the log.
"""

import logging
from time import perf_counter

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whichland.serving.metrics import Metrics

LOG = logging.getLogger("whichland.access")
DEFECTS = logging.getLogger("whichland.defects")
GONE = 499  # the client went away before it had its answer; nginx's number for it
MOUNTS = ("/static", "/report", "/atlas")


class Watch:
    """ASGI middleware that counts, logs, and answers what nothing else caught."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = perf_counter(), 0

        async def noticing(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noticing)
        except ClientDisconnect:
            status = GONE
        except Exception:
            DEFECTS.exception("a request failed: %s %s", scope["method"], route(scope))
            if status:  # an answer has begun, and can only be broken off
                raise
            answer = JSONResponse({"error": "something is wrong inside; the log of the service says what"}, 500)
            await answer(scope, receive, noticing)
        finally:
            seconds, path = perf_counter() - started, route(scope)
            method = scope["method"] if scope["method"] in METHODS else "other"
            self.metrics.requests.labels(path, method, str(status)).inc()
            self.metrics.seconds.labels(path).observe(seconds)
            LOG.info("%s %s %d %.0f ms", method, path, status, 1000 * seconds)


METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE")


def route(scope: Scope) -> str:
    """The pattern that the request's path fell under, such as /api/play/{seed}; "other" where there is none."""
    found = getattr(scope.get("route"), "path", None)
    if isinstance(found, str):
        return found
    path = scope["path"]
    return next((mount for mount in MOUNTS if path == mount or path.startswith(mount + "/")), "other")
