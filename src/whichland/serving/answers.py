"""What the service says of a photo, in the words and numbers of its JSON."""

from base64 import b64encode
from typing import Any

from whichland.model.answer import DECIMALS, Answer, Probabilities
from whichland.serving.service import Service
from whichland.serving.words import words


def answer_json(
    service: Service, name: str, answer: Answer, *, top: int, nearest: int, milliseconds: float
) -> dict[str, Any]:
    """The answer for one photo, as `schema.Answer` describes it."""
    pin = answer.pin
    return {
        "name": name,
        "width": answer.width,
        "height": answer.height,
        "guesses": guesses(answer, top),
        "probabilities": {guess.code: round(guess.probability, DECIMALS) for guess in answer.top(len(answer.labels))},
        "words": words(answer.probability),
        "set": country_set(answer, service.settings.set_percent),
        "abstained": answer.abstains_at(round(service.settings.accuracy / 100, 6)),
        "pin": pin and {**rounded(pin.lat, pin.lon), "expected_score": round(pin.expected_score, 1)},
        "neighbours": neighbours(service, answer.probabilities, nearest),
        "milliseconds": round(milliseconds, 1),
    }


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
    calibration, level = answer.knowledge.calibration, round(percent / 100, 6)
    if calibration is None or level not in calibration.sets:
        return None
    return {"percent": percent, "countries": list(answer.set(level))}


def rounded(lat: float, lon: float) -> dict[str, float]:
    """A pin's place to about ten metres."""
    return {"lat": round(lat, 4), "lon": round(lon, 4)}


def neighbours(service: Service, probs_K: Probabilities, most: int) -> list[dict[str, Any]] | None:
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
            "thumbnail": b64encode(gallery.thumbnails[row]).decode(),
        }
        for similarity, row in gallery.nearest(probs_K, most)
    ]
