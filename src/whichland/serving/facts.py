"""What is served, as `/api/info` says it."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel

from whichland import __version__
from whichland.explanation.methods import METHODS
from whichland.model.among import groups_of
from whichland.serving.answers import about

if TYPE_CHECKING:
    from whichland.serving.service import Service


class ServedLabel(BaseModel):
    """A label the model knows: a country, or what else it was trained on."""

    code: Annotated[str, about("of a country ISO 3166-1 alpha-2; NA is Namibia", "NO")]
    name: Annotated[str, about("", "Norway")]


class RequestLimits(BaseModel):
    """What one request may hold, and how long it may take to arrive."""

    files: int
    bytes: int
    pixels: Annotated[int, about("of one photo")]
    seconds: float


class ServiceInfo(BaseModel):
    """What is served."""

    version: str
    name: Annotated[str, about("of the model: its folder or its run")]
    kind: Annotated[str, about("what the labels are: country, or a column of a table of photos")]
    labels: list[ServedLabel]
    engine: Annotated[str, about("torch, onnx, int8 or openvino")]
    torch: Annotated[bool, about("whether heat maps come from gradients")]
    methods: Annotated[list[str], about("ways to explain, the usual one first")]
    calibrated: Annotated[bool, about("whether probabilities were fitted on validation photos")]
    sets: Annotated[list[float], about("percent of the country sets that the bundle keeps")]
    limits: RequestLimits
    report: bool
    atlas: bool
    play: bool
    among: Annotated[
        dict[str, list[str]],
        about("names that `among` takes beside labels, with what each covers", {"EU": ["FR", "SE"]}),
    ]
    neighbours: Annotated[bool, about("whether training photos can be shown beside an answer")]


def service_info(service: "Service") -> dict[str, Any]:
    """What is served, as `ServiceInfo` describes it."""
    model, space = service.model, service.model.space
    calibration, settings = model.info.calibration, service.settings
    return {
        "version": __version__,
        "name": model.name,
        "kind": space.kind,
        "labels": [{"code": code, "name": space.name(code)} for code in space.codes],
        "engine": model.engine,
        "torch": METHODS[service.methods[0]].torch,
        "methods": service.methods,
        "calibrated": calibration is not None,
        "sets": [share * 100 for share in calibration.sets] if calibration else [],
        "limits": {name: getattr(settings, name) for name in ("files", "bytes", "pixels", "seconds")},
        "report": service.report is not None,
        "atlas": service.atlas is not None,
        "play": True,  # on drawn streets where no manifest was given
        "among": {name: codes for name, codes in groups_of(space).items() if 0 < len(codes) < len(space)},
        "neighbours": service.gallery is not None,
    }
