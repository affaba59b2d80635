"""What is served, as `/api/info` says it: the model, what it was trained on, and how often it was right."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field

from whichland import __version__
from whichland.explanation.methods import METHODS
from whichland.geo.territories import disputed
from whichland.model.calibration import Share
from whichland.model.label_sources import groups_of
from whichland.model.record import Record
from whichland.serving.answers import about

if TYPE_CHECKING:
    from whichland.serving.service import Service

SHARPER = 2  # times what the model needs: what is shrunk twice looks the same to it


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


class AnswersGiven(BaseModel):
    """When the model names a label, and when it abstains; shares are of the validation photos."""

    accuracy: Annotated[Share, about("share of the answers that must be right", 0.8)]
    threshold: Annotated[Share | None, about("it names a label from this probability on; null: none kept the promise")]
    answered: Annotated[Share, about("share of the photos that it then answers")]
    right: Annotated[Share, about("share of those answers that were right")]
    photos: Annotated[int, about("of validation")]


class ModelFacts(BaseModel):
    """What must be known of a model before its answers can be judged."""

    architecture: str
    trained: Annotated[str | None, about("day on which training ended, ISO 8601; null where it is not known")]
    photos: Annotated[int | None, about("of training")]
    sources: Annotated[dict[str, int], about("where they came from; empty where it is not known", {"mapillary": 5100})]
    drawn_only: Annotated[bool, about("whether all of them were drawn: scenes of the synthetic world")]
    caution: Annotated[str | None, about("what must be known before an answer is believed, in one line")]
    abstention: Annotated[AnswersGiven | None, about("null where the bundle is not calibrated for that accuracy")]
    record: Annotated[Record | None, about("how often it was right; null where the bundle keeps no record")]


class DisputedPlace(BaseModel):
    """A place of which states see differently whose it is."""

    name: Annotated[str, about("", "Crimea")]
    code: Annotated[str, about("the country that it is counted with", "UA")]
    otherwise: Annotated[list[str], about("states that see it otherwise", ["RU"])]


class ServiceInfo(BaseModel):
    """What is served."""

    version: str
    name: Annotated[str, about("of the model: its folder or its run")]
    kind: Annotated[str, about("what the labels are: country, or a column of a table of photos")]
    labels: list[ServedLabel]
    model: ModelFacts
    engine: Annotated[str, about("torch, onnx, int8 or openvino")]
    torch: Annotated[bool, about("whether heat maps come from gradients")]
    methods: Annotated[list[str], about("ways to explain, the usual one first")]
    calibrated: Annotated[bool, about("whether probabilities were fitted on validation photos")]
    sets: Annotated[list[float], about("percent of the country sets that the bundle keeps")]
    short_side: Annotated[int, Field(description="pixels: a photo whose short side is longer may be sent smaller")]
    limits: RequestLimits
    report: bool
    atlas: bool
    play: bool
    among: Annotated[
        dict[str, list[str]],
        about("names that `among` takes beside labels, with what each covers", {"EU": ["FR", "SE"]}),
    ]
    disputed: Annotated[list[DisputedPlace], about("whom disputed places are counted with")]
    neighbours: Annotated[bool, about("whether training photos can be shown beside an answer")]
    collect: Annotated[bool, about("whether photos are kept for training where their sender agrees")]


def service_info(service: "Service") -> dict[str, Any]:
    """What is served, as `ServiceInfo` describes it."""
    model, space = service.model, service.model.space
    calibration, settings = model.info.calibration, service.settings
    return {
        "version": __version__,
        "name": model.name,
        "kind": space.kind,
        "labels": [{"code": code, "name": space.name(code)} for code in space.codes],
        "model": _model_facts(service),
        "engine": model.engine,
        "torch": METHODS[service.methods[0]].torch,
        "methods": service.methods,
        "calibrated": calibration is not None,
        "sets": [share * 100 for share in calibration.sets] if calibration else [],
        "short_side": SHARPER * model.preprocess.short_side,
        "limits": {name: getattr(settings, name) for name in ("files", "bytes", "pixels", "seconds")},
        "report": service.report is not None,
        "atlas": service.atlas is not None,
        "play": True,  # on drawn streets where no manifest was given
        "among": {name: codes for name, codes in groups_of(space).items() if 0 < len(codes) < len(space)},
        "disputed": [{"name": one.name, "code": one.code, "otherwise": list(one.otherwise)} for one in disputed()],
        "neighbours": service.gallery is not None,
        "collect": settings.collect is not None,
    }


def _model_facts(service: "Service") -> dict[str, Any]:
    model, info = service.model, service.model.info
    accuracy = service.settings.least_accuracy
    calibration = info.calibration
    given = calibration.abstain.get(accuracy) if calibration else None
    return {
        "architecture": model.arch,
        "trained": info.trained,
        "photos": info.photos,
        "sources": info.sources,
        "drawn_only": info.drawn_only,
        "caution": info.caution,
        "abstention": calibration and given and {**vars(given), "accuracy": accuracy, "photos": calibration.photos},
        "record": service.record and service.record.model_dump(),
    }
