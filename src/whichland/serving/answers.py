"""What the service says of a photo, in the words and numbers of its JSON: answers, heat maps, probabilities in words.

The words are the calibrated language of the Intergovernmental Panel on Climate Change (Mastrandrea et al. 2010,
Guidance Note for Lead Authors of the IPCC Fifth Assessment Report on Consistent Treatment of Uncertainties, table
1 and the note below it). There the ranges overlap; here each probability has the narrowest that holds it.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from whichland.explanation.explain import ViewMap
from whichland.explanation.overlay import Map, heat_colours
from whichland.model.answer import DECIMALS, Answer, Guess, Probabilities

if TYPE_CHECKING:
    from whichland.serving.service import Service


def answer_json(
    service: "Service", name: str, answer: Answer, *, top: int, nearest: int, milliseconds: float
) -> dict[str, Any]:
    """The answer for one photo, as `schema.Answer` describes it."""
    pin = answer.pin
    return {
        "name": name,
        "width": answer.width,
        "height": answer.height,
        "guesses": guesses(answer, top),
        "probabilities": in_numbers(answer.top(len(answer.labels))),
        "levels": {level: in_numbers(answer.at(level)) for level in answer.space.levels[1:]},
        "words": words(answer.probability),
        "set": country_set(answer, service.settings.set_percent),
        "abstained": answer.abstains_at(round(service.settings.accuracy / 100, 6)),
        "pin": pin and {**rounded(pin.lat, pin.lon), "expected_score": round(pin.expected_score, 1)},
        "neighbours": neighbours(service, answer.probabilities, nearest),
        "milliseconds": round(milliseconds, 1),
    }


def in_numbers(guesses: Sequence[Guess]) -> dict[str, float]:
    """The probability of each code."""
    return {guess.code: round(guess.probability, DECIMALS) for guess in guesses}


def guesses(answer: Answer, top: int) -> list[dict[str, Any]]:
    """The likeliest countries, as `schema.Guess` describes them."""
    return [
        {
            "country": guess.code,
            "name": guess.name,
            "probability": round(guess.probability, DECIMALS),
            "words": words(guess.probability),
        }
        for guess in answer.top(top)
    ]


def country_set(answer: Answer, percent: float) -> dict[str, Any] | None:
    """The countries of which one is right with that probability; None if not calibrated for it."""
    calibration, level = answer.settings.info.calibration, round(percent / 100, 6)
    if calibration is None or level not in calibration.sets:
        return None
    return {"percent": percent, "countries": list(answer.set(level))}


def rounded(lat: float, lon: float) -> dict[str, float]:
    """A pin's place to about ten metres."""
    return {"lat": round(lat, 4), "lon": round(lon, 4)}


def neighbours(service: "Service", probs_K: Probabilities, most: int) -> list[dict[str, Any]] | None:
    """The training photos that the model answers most alike; None for none, or where the bundle may show none."""
    gallery = service.gallery
    if gallery is None or most == 0:
        return None
    return [
        {
            "country": gallery.countries[row],
            "similarity": round(similarity, DECIMALS),
            "credit": gallery.credits[row],
            "license": gallery.licenses[row],
            "thumbnail": base64.b64encode(gallery.thumbnails[row]).decode(),
        }
        for similarity, row in gallery.nearest(probs_K, most)
    ]


ROWS = 32  # of the map that is sent as numbers, at most


@dataclass(frozen=True, kw_only=True)
class Heat:
    """Where the evidence for an answer lies."""

    method: str
    country: str
    against: str | None
    views: tuple[ViewMap, ...]

    @property
    def evidence(self) -> bool:
        """Whether any was found."""
        return any(one.map.any() for one in self.views)

    def views_json(self, *, numbers: bool) -> list[dict[str, Any]]:
        """Every view as `schema.HeatView` describes it, with the map's numbers where they are asked for."""
        return [_view_json(one, numbers) for one in self.views]


def _view_json(one: ViewMap, numbers: bool) -> dict[str, Any]:
    laid = one.laid()
    found: dict[str, Any] = {"box": one.view.box, "heading": one.view.heading, "fov": one.view.fov}
    return found | {"png": _png(laid)} | ({"map": _rows(laid)} if numbers else {})


def _png(map_HW: Map) -> str:
    """The heat as a PNG with transparency, in base64: the hotter the less of the photo shows through."""
    picture_HWC = np.dstack([heat_colours(map_HW), 255 * map_HW]).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture_HWC).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _rows(map_HW: Map) -> list[list[float]]:
    """The map as numbers, reduced to at most `ROWS` each way."""
    height, width = map_HW.shape
    scale = min(1, ROWS / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(map_HW).resize(size, Image.Resampling.BOX))
    return [[round(float(value), 3) for value in row] for row in small]


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
