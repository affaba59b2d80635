"""The settings of the service: flags of `whichland serve`, and the same as WHICHLAND_* variables."""

from dataclasses import dataclass
from typing import Annotated, Literal

from whichland.errors import UserError
from whichland.model.engines import ENGINE_HELP, EngineChoice
from whichland.model.views import HowMany

PREFIX = "WHICHLAND_"
MB = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """What the service listens on, what it shows, and how much it takes at once."""

    host: Annotated[str, "address to listen on; 0.0.0.0 is every one this machine has"] = "127.0.0.1"
    port: Annotated[int, "port to listen on; 0 takes any that is free"] = 8000
    hosts: Annotated[tuple[str, ...], "names that a request may ask for, such as example.org; all when empty"] = ()
    token: Annotated[
        str | None, "what every call must bear; set it as WHICHLAND_TOKEN, for flags can be seen by others"
    ] = None
    workers: Annotated[int, "processes; one that dies is started anew when there are two or more"] = 1
    engine: Annotated[EngineChoice, ENGINE_HELP] = "auto"
    threads: Annotated[int | None, "cores that one batch is computed on; all when not given"] = None
    decoders: Annotated[int, "threads that decode photos"] = 2
    batch: Annotated[int, "photos the model takes at once, when as many wait"] = 16
    views: Annotated[HowMany, "wide photos and spheres are seen in several views, or in one like any other"] = "auto"
    explain: Annotated[
        Literal["auto", "gradcam", "occlusion"],
        "heat maps by gradients (needs torch) or by covering parts of the photo; auto: torch where installed",
    ] = "auto"
    set_percent: Annotated[float, "the countries of which one is right with this probability"] = 90.0
    accuracy: Annotated[
        float, "percent of answers that must be right; an answer less sure than that takes is marked as abstained"
    ] = 80.0
    files: Annotated[int, "photos in one request"] = 16
    bytes: Annotated[int, "of one request's body"] = 50 * MB
    pixels: Annotated[int, "of one photo, read from its header before any is decoded"] = 50 * MB
    seconds: Annotated[float, "for one request to arrive"] = 60.0
    pause: Annotated[float, "seconds without a byte after which a client is given up"] = 10.0
    queue: Annotated[int, "photos being decoded or waiting for the model; beyond it the answer is 503"] = 128
    uploads: Annotated[int, "requests arriving at the same time; beyond it the answer is 503"] = 256
    memory: Annotated[int, "bytes of all requests together; beyond it the answer is 503"] = 500 * MB
    explanations: Annotated[int, "explanations running or waiting; beyond it the answer is 503"] = 8
    stop_seconds: Annotated[float, "for what is under way to finish once told to stop"] = 30.0
    play: Annotated[str | None, "manifest whose test photos are played with; drawn streets when not given"] = None
    report: Annotated[str | None, "report.html to show; the one beside the bundle when not given"] = None
    atlas: Annotated[str | None, "index.html of the atlas to show; the one beside the bundle when not given"] = None

    def __post_init__(self) -> None:
        positive = ("workers", "decoders", "batch", "files", "bytes", "pixels", "seconds", "pause", "queue", "uploads")
        for name in (*positive, "memory", "explanations", "stop_seconds"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name}: {getattr(self, name)} is too little; give 1 or more")
        if not 0 <= self.port <= 65535:
            raise UserError(f"port: {self.port} is not between 0 and 65535")
        for name in ("set_percent", "accuracy"):
            if not 0 < getattr(self, name) < 100:
                raise UserError(f"{name}: {getattr(self, name):g} is not between 0 and 100")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and " " not in self.token):
            raise UserError("token: only printable ASCII without spaces can be sent in a header; give another")
        if self.token == "":
            raise UserError("token: empty; leave WHICHLAND_TOKEN unset to let everybody in")
