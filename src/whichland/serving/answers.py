"""The service's JSON: the shapes of its answers, as the OpenAPI schema shows them, and how they are made.

Probabilities in words are the calibrated language of the Intergovernmental Panel on Climate Change (Mastrandrea et
al. 2010, Guidance Note for Lead Authors of the IPCC Fifth Assessment Report on Consistent Treatment of
Uncertainties, table 1 and the note below it). There the ranges overlap; here each probability has the narrowest that
holds it.
"""

import base64
import io
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, Field

from whichland.explanation.explain import ViewMap
from whichland.explanation.overlay import heat_colours
from whichland.geo.borders import country_of
from whichland.model.answer import DECIMALS, Answer, Pin
from whichland.model.engines import Features
from whichland.model.views import View

if TYPE_CHECKING:
    from whichland.serving.service import Service

ROWS = 32  # of a heat map that is sent as numbers, at most
Probability = Annotated[float, Field(ge=0, le=1)]

# From which probability on a word holds, surest first.
WORDS: tuple[tuple[float, str], ...] = (
    (0.99, "virtually certain"),
    (0.95, "extremely likely"),
    (0.90, "very likely"),
    (0.66, "likely"),
    (0.50, "more likely than not"),
    (0.33, "about as likely as not"),
    (0.10, "unlikely"),
    (0.01, "very unlikely"),
    (0.0, "exceptionally unlikely"),
)


def words(probability: float) -> str:
    """The word for a probability in [0, 1].

    >>> words(0.97), words(0.4), words(0.0)
    ('extremely likely', 'about as likely as not', 'exceptionally unlikely')
    """
    return next(word for least, word in WORDS if probability >= least)


def about(text: str, *examples: Any, **bounds: Any) -> Any:
    """What a field of an answer is, with an example."""
    return Field(description=text or None, examples=list(examples) or None, **bounds)


class Error(BaseModel):
    """What went wrong, in one line."""

    error: str


class Health(BaseModel):
    """The service is up and its model is loaded."""

    status: Annotated[str, about("", "ok")]


class LabelGuess(BaseModel):
    """One label and its probability."""

    country: Annotated[str, about("code of the label, also where it is no country", "NO")]
    name: Annotated[str, about("", "Norway")]
    probability: Annotated[Probability, about("", 0.81)]
    words: Annotated[str, about("the same in the IPCC's words", "likely")]


class CountrySet(BaseModel):
    """Countries of which one is right with that probability, likeliest first."""

    percent: Annotated[float, about("", 90)]
    countries: Annotated[list[str], about("", ["NO", "SE"])]


class CertainAnswer(BaseModel):
    """What is certain enough: the label, or the region or continent that it lies in."""

    level: Annotated[str, about("", "region")]
    code: Annotated[str, about("", "Northern Europe")]
    name: Annotated[str, about("", "Northern Europe")]
    probability: Annotated[Probability, about("", 0.93)]


class BestPin(BaseModel):
    """The point with the highest expected GeoGuessr score."""

    lat: Annotated[float, about("", 61.2, ge=-90, le=90)]
    lon: Annotated[float, about("", 9.6, ge=-180, le=180)]
    country: Annotated[str | None, about("that it lies in; null at sea", "NO")]
    expected_score: Annotated[float, about("", 3120.5, ge=0, le=5000)]


class Neighbour(BaseModel):
    """A training photo that the model finds like this one."""

    country: Annotated[str, about("where it was taken", "NO")]
    similarity: Annotated[float, about("cosine between the centred features of both", 0.97, ge=-1, le=1)]
    credit: Annotated[str | None, about("the line to print beside it", "contributor 7, Mapillary, CC BY-SA 4.0")]
    license: Annotated[str | None, about("SPDX name", "CC-BY-SA-4.0")]
    thumbnail: Annotated[str, about("base64 of a JPEG: what the model saw of it, made small")]


class SeenView(BaseModel):
    """One part of the photo that the model saw."""

    box: Annotated[
        list[float],
        about(
            "left, top, right and bottom as fractions of the upright photo; of a view of a sphere what it "
            "covers about: where it reaches across the sphere's seam, right is above 1",
            [0.28, 0.0, 0.72, 1.0],
            min_length=4,
            max_length=4,
        ),
    ]
    heading: Annotated[float | None, about("of a view of a sphere: degrees right of the photo's middle")]
    fov: Annotated[float | None, about("of a view of a sphere: degrees across")]


class PhotoAnswer(BaseModel):
    """What the model says of one photo."""

    name: Annotated[str, about("as sent", "a.jpg")]
    width: Annotated[int, about("pixels, upright", 1536)]
    height: Annotated[int, about("", 662)]
    guesses: Annotated[list[LabelGuess], about("likeliest first")]
    probabilities: Annotated[
        dict[str, Probability],
        about("of every country the model knows, or of those of `among`, likeliest first", {"NO": 0.81, "SE": 0.19}),
    ]
    outside: Annotated[Probability | None, about("probability that fell outside `among`; null where not restricted")]
    certain: Annotated[CertainAnswer | None, about("null where not even a continent is as certain as was asked for")]
    words: Annotated[str, about("those of the first guess", "likely")]
    levels: Annotated[
        dict[str, dict[str, Probability]],
        about("the probabilities added up to the levels above, such as continent, likeliest first"),
    ]
    set: CountrySet | None
    abstained: Annotated[bool, about("less sure than an answer should be")]
    novelty: Annotated[
        Probability | None,
        about("how unlike the training photos: the share of validation photos that are less so; null: not known"),
    ]
    unlike: Annotated[bool, about("unlike what the model was trained on, more so than 99 % of validation photos")]
    caution: Annotated[str | None, about("what must be known before the answer is believed, in one line")]
    views: Annotated[list[SeenView], about("the parts of the photo that the answer is combined of")]
    pin: BestPin | None
    neighbours: Annotated[
        list[Neighbour] | None, about("nearest first; null when none were asked for or the bundle may show none")
    ]
    milliseconds: Annotated[float, about("", 23.4, ge=0)]


class UnreadPhoto(BaseModel):
    """A photo that could not be read, and why."""

    name: str
    error: Annotated[str, about("", "truncated JPEG: the end of the image is missing")]


class PhotoAnswers(BaseModel):
    """One entry a photo, in the order they were sent."""

    results: list[PhotoAnswer | UnreadPhoto]


class HeatView(SeenView):
    """The same with the evidence in it."""

    png: Annotated[str, about("base64 of a PNG with transparency, to be laid over the box")]


class MappedView(HeatView):
    """The same with numbers."""

    map: Annotated[list[list[float]], about("the heat over the box in numbers, rows from the top")]


class ExplainedPhoto(BaseModel):
    """Where in a photo the evidence for an answer lies."""

    name: str
    method: Annotated[str, about("", "gradcam")]
    country: Annotated[str, about("", "NO")]
    against: Annotated[str | None, about("what the country is compared with", "SE")]
    views: Annotated[list[MappedView], about("every part of the photo that the model saw")]
    evidence: Annotated[bool, about("whether any was found; without it the maps are empty")]
    verified: Annotated[bool | None, about("whether the map held a test; null: it took none")]


def answer_json(
    service: "Service",
    name: str,
    answer: Answer,
    *,
    features_F: Features | None,
    top: int,
    nearest: int,
    certainty: int,
    milliseconds: float,
) -> dict[str, Any]:
    """The answer for one photo, as `PhotoAnswer` describes it; its neighbours are those of its features."""
    certain = answer.certain(certainty / 100)
    calibration, pin = answer.settings.info.calibration, answer.pin
    percent, level = service.settings.set_percent, service.settings.set_level
    calibrated = calibration is not None and level in calibration.sets
    return {
        "name": name,
        "width": answer.width,
        "height": answer.height,
        "guesses": guesses(answer, top),
        "probabilities": {one.code: round(one.probability, DECIMALS) for one in answer.top(len(answer.labels))},
        "levels": {
            above: {one.code: round(one.probability, DECIMALS) for one in answer.at(above)}
            for above in answer.space.levels[1:]
        },
        "words": words(answer.probability),
        "outside": None if answer.within is None else round(answer.outside, DECIMALS),
        "certain": certain and {**certain._asdict(), "probability": round(certain.probability, DECIMALS)},
        "set": {"percent": percent, "countries": list(answer.set(level))} if calibrated else None,
        "abstained": answer.abstains_at(service.settings.least_accuracy),
        "novelty": None if answer.novelty is None else round(answer.novelty, DECIMALS),
        "unlike": answer.unlike,
        "caution": answer.caution,
        "views": [_seen_json(view) for view in answer.views],
        "pin": pin and _pin_json(pin),
        "neighbours": neighbours(service, features_F, nearest),
        "milliseconds": round(milliseconds, 1),
    }


def guesses(answer: Answer, top: int) -> list[dict[str, Any]]:
    """The likeliest labels, as `LabelGuess` describes them."""
    return [
        {"country": code, "name": name, "probability": round(share, DECIMALS), "words": words(share)}
        for code, name, share in answer.top(top)
    ]


def _pin_json(pin: Pin) -> dict[str, Any]:
    """A pin, as `BestPin` describes it."""
    inside = _country_at(pin.lat, pin.lon)
    return {**rounded(pin.lat, pin.lon), "country": inside, "expected_score": round(pin.expected_score, 1)}


@lru_cache(maxsize=1 << 14)
def _country_at(lat: float, lon: float) -> str | None:
    """The country at a pin; pins stand on the places that a bundle keeps, of which the same come again and again."""
    return str(country_of(lat, lon)) or None


def rounded(lat: float, lon: float) -> dict[str, float]:
    """A pin's place to about ten metres."""
    return {"lat": round(lat, 4), "lon": round(lon, 4)}


def neighbours(service: "Service", features_F: Features | None, most: int) -> list[dict[str, Any]] | None:
    """The training photos that the model finds most alike; None for none, or where the bundle may show none."""
    gallery = service.gallery
    if gallery is None or features_F is None or most == 0:
        return None
    shown = ((near, gallery.photos.row(at, named=True)) for near, at in gallery.nearest(features_F, most))
    return [
        {
            **{name: photo[name] for name in ("country", "credit", "license")},
            "similarity": round(near, DECIMALS),
            "thumbnail": base64.b64encode(photo["thumbnail"]).decode(),
        }
        for near, photo in shown
    ]


@dataclass(frozen=True, kw_only=True)
class Heat:
    """Where the evidence for an answer lies."""

    method: str
    country: str
    against: str | None
    views: tuple[ViewMap, ...]

    def json(self, *, numbers: bool) -> dict[str, Any]:
        """Method, evidence and the views as `HeatView` describes them, with their `numbers` where asked for."""
        return {
            "views": [_view_json(one, numbers) for one in self.views],
            "method": self.method,
            "evidence": any(one.map.any() for one in self.views),
        }


def _seen_json(view: View) -> dict[str, Any]:
    return {"box": view.box, "heading": view.heading, "fov": view.fov}


def _view_json(one: ViewMap, numbers: bool) -> dict[str, Any]:
    map_HW = one.laid()
    # the hotter the less of the photo shows through
    picture_HWC = np.dstack([heat_colours(map_HW), 255 * map_HW]).round().astype(np.uint8)
    Image.fromarray(picture_HWC).save(file := io.BytesIO(), "PNG")
    found = _seen_json(one.view) | {"png": base64.b64encode(file.getvalue()).decode()}
    if numbers:
        height, width = map_HW.shape
        scale = min(1, ROWS / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.asarray(Image.fromarray(map_HW).resize(size, Image.Resampling.BOX))
        found["map"] = [[round(float(value), 3) for value in row] for row in small]
    return found
