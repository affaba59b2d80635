"""What people look at: the page and the game, and the report and the atlas of the bundle, where there are any.

The report and the atlas, under /report/ and /atlas/, are files with their styles and pictures inside. Only the pages
themselves are shown: what else lies in those folders, such as the table of predictions with the places of its
photos, stays where it is.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whichland.serving.metrics import path_of
from whichland.serving.service import Service
from whichland.templates import templates_beside

STATIC = Path(__file__).with_name("static")
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {scripts}; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": PAGE_POLICY,
}
_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


class SecurityHeaders:
    """ASGI middleware: what a page may load, and that nobody may frame, sniff or keep an answer.

    A route that sets one of the headers itself keeps its own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-cache" if static else "no-store")
            await send(message)

        static = scope["type"] == "http" and path_of(scope).startswith("/static/")
        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


def router(service: Service) -> APIRouter:
    """The routes to the pages, and to whatever else the service has to show."""
    routes = APIRouter(include_in_schema=False)
    environment, space = templates_beside(__file__), service.model.space
    kind = space.kind.replace("_", " ")
    for route, name in (("/", "photos"), ("/play", "play")):
        page = environment.get_template(f"{name}.html.j2").render(name=name, kind=kind, service=service, site=False)
        routes.add_api_route(route, _sender(page), response_class=HTMLResponse)
    if service.report is not None:
        _show(routes, "report", {"": service.report})
    if service.atlas is not None:
        named = [service.atlas.parent / f"{space.file_name(code)}.html" for code in space.codes]
        pages = {page.name: page for page in named if page.is_file()}
        _show(routes, "atlas", {"": service.atlas, "index.html": service.atlas} | pages)
    return routes


def _show(routes: APIRouter, name: str, files: dict[str, Path]) -> None:
    for page, path in files.items():
        routes.add_api_route(f"/{name}/{page}", _sender(path), response_class=HTMLResponse)


def _sender(page: str | Path) -> Callable[[], HTMLResponse]:
    """A route's function that sends a page as it is, or a report as it stands on the disk."""
    return lambda: HTMLResponse(page) if isinstance(page, str) else _report(page)


def _report(path: Path) -> HTMLResponse:
    """A report, with the hashes of the scripts that it brings along in its policy, so that no other can run in it."""
    page = path.read_bytes()
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _SCRIPT.findall(page)]
    policy = REPORT_POLICY.format(scripts=" ".join(f"'sha256-{value}'" for value in hashes) or "'none'")
    return HTMLResponse(page, headers={"Content-Security-Policy": policy})
