"""What people look at: the page and the game, and the report and the atlas of the bundle, where there are any.

The report and the atlas, under /report/ and /atlas/, are files with their styles and pictures inside. Only the pages
themselves are shown: what else lies in those folders, such as the table of predictions with the places of its
photos, stays where it is.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whichland.serving.metrics import path_of
from whichland.serving.service import Service
from whichland.templates import templates_beside
from whichland.whole_file import file_sha256

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
YEAR = 31_536_000  # seconds
_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


@cache
def version() -> str:
    """A name for exactly these static files: pages ask for them under it, so that browsers may keep them for good."""
    return files_digest(STATIC, sorted(path for path in STATIC.rglob("*") if path.is_file()))[:12]


def files_digest(folder: Path, files: Iterable[Path], begun: bytes = b"") -> str:
    """SHA-256 of some files below a folder, of their names and contents, and of what comes before them."""
    digest = hashlib.sha256(begun)
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()} {file_sha256(path)}".encode())
    return digest.hexdigest()


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
                headers.setdefault("Cache-Control", kept if message["status"] < 400 else "no-store")
            await send(message)

        path = path_of(scope) if scope["type"] == "http" else ""
        kept = "no-cache" if path.startswith("/static/") else "no-store"
        if path.startswith(f"/static/{version()}/"):
            kept = f"public, max-age={YEAR}, immutable"
        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


def router(service: Service) -> APIRouter:
    """The routes to the pages, and to whatever else the service has to show."""
    routes = APIRouter(include_in_schema=False)
    space = service.model.space
    for route, name in (("/", "photos"), ("/play", "play"), ("/programs", "programs")):
        routes.add_api_route(route, _sender(render(service, name)), response_class=HTMLResponse)
    if service.report is not None:
        _show(routes, service, "report", {"": service.report})
    if service.atlas is not None:
        named = [service.atlas.parent / f"{space.file_name(code)}.html" for code in space.codes]
        pages = {page.name: page for page in named if page.is_file()}
        _show(routes, service, "atlas", {"": service.atlas, "index.html": service.atlas} | pages)
    return routes


def render(service: Service, name: str, *, depth: int = 0, **values: Any) -> str:
    """One of the pages; `depth` is how many folders below the first page its address lies."""
    space, root = service.model.space, "../" * depth
    own = {"name": name, "kind": space.kind.replace("_", " "), "service": service, "site": False, "root": root}
    own["static"] = f"{root}static/{version()}"
    own["codes"] = sorted(space.codes, key=space.name)
    own["modules"] = sorted(path.name for path in STATIC.glob("*.js") if not path.name.startswith(("theme", "play")))
    return templates_beside(__file__).get_template(f"{name}.html.j2").render(**own | values)


def missing(request: Request) -> HTMLResponse | None:
    """The page that says that there is nothing at an address; None for programs, which get JSON."""
    path = path_of(request.scope)
    if path.startswith("/api/") or "text/html" not in request.headers.get("accept", ""):
        return None
    page = render(request.app.state.whichland, "missing", depth=path.count("/") - 1)
    return HTMLResponse(page, 404)


def _show(routes: APIRouter, service: Service, name: str, files: dict[str, Path]) -> None:
    back = templates_beside(__file__).get_template("back.html.j2").render(name=name, service=service)
    for page, path in files.items():
        routes.add_api_route(f"/{name}/{page}", _sender(path, back), response_class=HTMLResponse)


def _sender(page: str | Path, back: str = "") -> Any:
    """A route's function that sends a page as it is, or a report as it stands on the disk, with the way back."""
    return lambda: HTMLResponse(page) if isinstance(page, str) else _report(page, back)


def _report(path: Path, back: str) -> HTMLResponse:
    """A report, with the hashes of the scripts that it brings along in its policy, so that no other can run in it."""
    page = path.read_bytes()
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _SCRIPT.findall(page)]
    policy = REPORT_POLICY.format(scripts=" ".join(f"'sha256-{value}'" for value in hashes) or "'none'")
    page = page.replace(b"<body>", b"<body>" + back.encode(), 1)
    return HTMLResponse(page, headers={"Content-Security-Policy": policy})
