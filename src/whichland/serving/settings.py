"""The settings of the service: flags of `whichland serve`, a file of settings, and WHICHLAND_* variables."""

import re
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Annotated, Literal

from annotated_types import Interval

from whichland.config import ABOVE_0, AT_LEAST_1, TOML_ONLY, Config
from whichland.errors import UserError
from whichland.model.engines import ENGINE_HELP, EngineChoice
from whichland.model.views import HowMany

PREFIX = "WHICHLAND_"
PATH = re.compile(r"(/[\w.~-]+)+", re.ASCII)
OWN = {
    *("api", "atlas", "healthz", "metrics", "openapi.json"),
    *("play", "programs", "report", "static"),
}  # at the front
MB = 1_000_000
COUNT = (AT_LEAST_1, TOML_ONLY)
TIME = (ABOVE_0, TOML_ONLY)


@dataclass(frozen=True, kw_only=True)
class AddressSettings(Config):
    """Where the service listens, and who may call it."""

    group = "address"

    host: Annotated[str, "address to listen on; 0.0.0.0 is every one this machine has"] = "127.0.0.1"
    port: Annotated[int, "port to listen on; 0 takes any that is free", Interval(ge=0, le=65535)] = 8000
    hosts: Annotated[tuple[str, ...], "names that a request may ask for, such as example.org; all when empty"] = ()
    prefix: Annotated[str, "path under which a proxy shows the service, such as /photos"] = ""
    proxies: Annotated[
        tuple[str, ...], "addresses or networks of proxies whose X-Forwarded-Prefix is believed", TOML_ONLY
    ] = ("127.0.0.1", "::1")
    token: Annotated[
        str | None, "what every call must bear; set it as WHICHLAND_TOKEN, for flags can be seen by others"
    ] = None
    workers: Annotated[int, "processes; one that dies is started anew when there are two or more", AT_LEAST_1] = 1


@dataclass(frozen=True, kw_only=True)
class AnswerSettings(Config):
    """How photos are answered."""

    group = "answers"

    engine: Annotated[EngineChoice, ENGINE_HELP] = "auto"
    threads: Annotated[int | None, "cores that one batch is computed on; all when not given", TOML_ONLY] = None
    decoders: Annotated[int, "threads that decode photos", *COUNT] = 2
    batch: Annotated[int, "photos the model takes at once, when as many wait", AT_LEAST_1] = 16
    views: Annotated[HowMany, "wide photos and spheres are seen in several views, or in one like any other"] = "auto"
    explain: Annotated[
        Literal["auto", "gradcam", "occlusion"],
        "heat maps by gradients (needs torch) or by covering parts of the photo; auto: torch where installed",
    ] = "auto"
    set_percent: Annotated[
        float, "the countries of which one is right with this probability", Interval(gt=0, lt=100)
    ] = 90.0
    accuracy: Annotated[
        float,
        "percent of answers that must be right; an answer less sure than that takes is marked as abstained",
        Interval(gt=0, lt=100),
    ] = 80.0

    @property
    def set_level(self) -> float:
        """`set_percent` as a share, by which a bundle keeps its thresholds."""
        return round(self.set_percent / 100, 6)

    @property
    def least_accuracy(self) -> float:
        """`accuracy` as a share, by which a bundle keeps its thresholds."""
        return round(self.accuracy / 100, 6)


@dataclass(frozen=True, kw_only=True)
class LimitSettings(Config):
    """How much the service takes at once."""

    group = "limits"

    files: Annotated[int, "photos in one request", *COUNT] = 16
    bytes: Annotated[int, "of one request's body", *COUNT] = 50 * MB
    pixels: Annotated[int, "of one photo, read from its header before any is decoded", *COUNT] = 50 * MB
    seconds: Annotated[float, "for one request to arrive", *TIME] = 60.0
    pause: Annotated[float, "seconds without a byte after which a client is given up", *TIME] = 10.0
    queue: Annotated[int, "photos being decoded or waiting for the model; beyond it the answer is 503", *COUNT] = 128
    uploads: Annotated[int, "requests arriving at the same time; beyond it the answer is 503", *COUNT] = 256
    memory: Annotated[int, "bytes of all requests together; beyond it the answer is 503", *COUNT] = 500 * MB
    explanations: Annotated[int, "explanations running or waiting; beyond it the answer is 503", *COUNT] = 8
    stop_seconds: Annotated[float, "for what is under way to finish once it is stopped", *TIME] = 30.0


@dataclass(frozen=True, kw_only=True)
class PageSettings(Config):
    """What the page shows beside answers."""

    group = "page"

    play: Annotated[str | None, "manifest whose test photos are played with; drawn streets when not given"] = None
    report: Annotated[str | None, "report.html to show; the one beside the bundle when not given"] = None
    atlas: Annotated[str | None, "index.html of the atlas to show; the one beside the bundle when not given"] = None
    collect: Annotated[
        str | None, "folder for photos that visitors let it keep, a folder a country; none are kept when not given"
    ] = None
    collect_photos: Annotated[int, "that the folder may hold", *COUNT] = 10_000
    collect_bytes: Annotated[int, "that the folder may hold", *COUNT] = 2_000 * MB


@dataclass(frozen=True, kw_only=True)
class ServeConfig(AddressSettings, AnswerSettings, LimitSettings, PageSettings):
    """What the service listens on, what it shows, and how much it takes at once."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and " " not in self.token):
            raise UserError("token: only printable ASCII without spaces can be sent in a header; give another")
        if self.prefix and (not PATH.fullmatch(self.prefix) or self.prefix.split("/")[1] in OWN):
            raise UserError(f"prefix {self.prefix}: give a path such as /photos, and none of the service's own")
        for proxy in self.proxies:
            try:
                ip_network(proxy)
            except ValueError:
                raise UserError(f"proxies: {proxy} is no address or network, such as 10.0.0.0/8") from None
        if self.token == "":
            raise UserError("token: empty; leave WHICHLAND_TOKEN unset to let everybody in")
