"""What the service says of a photo, in the words and numbers of its JSON."""

from base64 import b64encode
from typing import Any

from whichland.geo.countries import country_name
from whichland.model.pins import pins
from whichland.serving.batching import Probabilities
from whichland.serving.service import Seen, Service
from whichland.serving.words import words

DECIMALS = 6  # of a probability


def answer(service: Service, name: str, seen: Seen, *, top: int, nearest: int, milliseconds: float) -> dict[str, Any]:
    """The answer for one photo, as `schema.Answer` describes it."""
    probs_K, labels = seen.probabilities, service.runner.labels
    order = (-probs_K).argsort(kind="stable")
    return {
        "name": name,
        "width": seen.width,
        "height": seen.height,
        "guesses": guesses(service, probs_K, top),
        "probabilities": {labels[at]: round(float(probs_K[at]), DECIMALS) for at in order},
        "words": words(float(probs_K[order[0]])),
        "set": country_set(service, probs_K),
        "abstained": abstains(service, probs_K),
        "pin": pin(service, probs_K),
        "neighbours": neighbours(service, probs_K, nearest),
        "milliseconds": round(milliseconds, 1),
    }


def guesses(service: Service, probs_K: Probabilities, top: int) -> list[dict[str, Any]]:
    """The likeliest countries, as `schema.Guess` describes them."""
    labels = service.runner.labels
    return [
        {
            "country": labels[at],
            "name": country_name(labels[at]),
            "probability": round(float(probs_K[at]), DECIMALS),
            "words": words(float(probs_K[at])),
        }
        for at in (-probs_K).argsort(kind="stable")[:top]
    ]


def country_set(service: Service, probs_K: Probabilities) -> dict[str, Any] | None:
    """The countries of which one is right with the probability of the settings; None if not calibrated for it."""
    percent, calibration = service.settings.set_percent, service.calibration
    level = round(percent / 100, 6)
    if calibration is None or level not in calibration.sets:
        return None
    within_K = calibration.set_of(probs_K[None], level)[0]
    codes = [service.runner.labels[at] for at in (-probs_K).argsort(kind="stable") if within_K[at]]
    return {"percent": percent, "countries": codes}


def abstains(service: Service, probs_K: Probabilities) -> bool:
    """Whether the probabilities are too low for the share of right answers that the settings ask for.

    Never where the bundle has not been calibrated for that share; always where no probabilities were high enough
    for it.
    """
    calibration, share = service.calibration, round(service.settings.accuracy / 100, 6)
    if calibration is None or share not in calibration.abstain:
        return False
    threshold = calibration.abstain[share].threshold
    return threshold is None or float(probs_K.max()) < threshold


def pin(service: Service, probs_K: Probabilities) -> dict[str, float] | None:
    """The point with the highest expected score; None where the bundle keeps no places."""
    if service.pins is None:
        return None
    points, expected = pins(probs_K[None], service.pins)
    lat, lon = points[0].tolist()
    return {"lat": round(lat, 4), "lon": round(lon, 4), "expected_score": round(float(expected[0]), 1)}


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
