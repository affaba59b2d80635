"""What people look at: the page and the game, and the report and the atlas of the bundle, where there are any.

The report and the atlas, under /report/ and /atlas/, are files with their styles and pictures inside. Only the pages
themselves are shown: what else lies in those folders, such as the table of predictions with the places of its
photos, stays where it is.
"""

import base64
import hashlib
import re
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, RedirectResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whichland.serving.service import Service

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
                headers.setdefault("Cache-Control", "no-cache" if scope["path"].startswith("/static/") else "no-store")
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


def router(service: Service) -> APIRouter:
    """The routes to the pages, and to whatever else the service has to show."""
    routes = APIRouter(include_in_schema=False)
    _add(routes, "/", STATIC / "index.html")
    _add(routes, "/play", STATIC / "play.html")
    if service.report is not None:
        _show(routes, "report", {"": service.report})
    if service.atlas is not None:
        space = service.model.space
        named = [service.atlas.parent / f"{space.file_name(code)}.html" for code in space.codes]
        pages = {page.name: page for page in named if page.is_file()}
        _show(routes, "atlas", {"": service.atlas, "index.html": service.atlas} | pages)
    return routes


def _show(routes: APIRouter, name: str, files: dict[str, Path]) -> None:
    async def folder() -> RedirectResponse:
        return RedirectResponse(f"{name}/", 308)  # relative, so that it also holds behind a proxy's prefix

    routes.add_api_route(f"/{name}", folder)
    for page, path in files.items():
        _add(routes, f"/{name}/{page}", path, report=True)


def _add(routes: APIRouter, route: str, path: Path, *, report: bool = False) -> None:
    async def page() -> FileResponse:
        headers = {"Content-Security-Policy": _report_policy(path.read_bytes())} if report else None
        return FileResponse(path, headers=headers, media_type="text/html")

    routes.add_api_route(route, page, response_class=FileResponse)


def _report_policy(page: bytes) -> str:
    """What a report may load, with the hashes of the scripts that it brings along, so that no other can run in it."""
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _SCRIPT.findall(page)]
    return REPORT_POLICY.format(scripts=" ".join(f"'sha256-{value}'" for value in hashes) or "'none'")
