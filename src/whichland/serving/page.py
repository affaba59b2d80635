"""The page itself: its routes. What it is made of lies in static/, as it is sent: there is no build step."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from whichland.serving.service import Service

STATIC = Path(__file__).with_name("static")


def router(service: Service) -> APIRouter:
    """The two pages; what they load comes from /static, which the application mounts."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    async def photos() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @routes.get("/play")
    async def play() -> FileResponse:
        return FileResponse(STATIC / "play.html")

    return routes
