"""The report and the atlas of the bundle, where there are any, under /report/ and /atlas/.

They are files with their styles and pictures inside. Only the pages themselves are shown: what else lies in those
folders, such as the table of predictions with the places of its photos, stays where it is.
"""

import base64
import hashlib
import re
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, RedirectResponse

from whichland.serving.service import Service

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {scripts}; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def router(service: Service) -> APIRouter:
    """The routes to whatever the service has to show."""
    routes = APIRouter(include_in_schema=False)
    shown: dict[str, dict[str, Path]] = {}
    if service.report is not None:
        shown["report"] = {"": service.report}
    if service.atlas is not None:
        space = service.model.space
        named = [service.atlas.parent / f"{space.file_name(code)}.html" for code in space.codes]
        pages = [page for page in named if page.is_file()]
        shown["atlas"] = {"": service.atlas, "index.html": service.atlas} | {page.name: page for page in pages}
    for name, files in shown.items():
        _show(routes, name, files)
    return routes


def _show(routes: APIRouter, name: str, files: dict[str, Path]) -> None:
    async def folder() -> RedirectResponse:
        return RedirectResponse(f"{name}/", 308)  # relative, so that it also holds behind a proxy's prefix

    routes.add_api_route(f"/{name}", folder, methods=["GET"])
    for page, path in files.items():
        _add(routes, f"/{name}/{page}", path)


def _add(routes: APIRouter, route: str, path: Path) -> None:
    async def page() -> FileResponse:
        headers = {"Content-Security-Policy": POLICY.format(scripts=_scripts(path.read_bytes()))}
        return FileResponse(path, media_type="text/html", headers=headers)

    routes.add_api_route(route, page, methods=["GET"], response_class=FileResponse)


def _scripts(page: bytes) -> str:
    """The hashes of the scripts that a page brings along, so that no other can run in it; 'none' without any."""
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _SCRIPT.findall(page)]
    return " ".join(f"'sha256-{value}'" for value in hashes) or "'none'"
