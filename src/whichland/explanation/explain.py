"""A photo, what the model says of it, and where it found that: ready to be looked at."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from whichland.explanation.figure import Guess, figure
from whichland.explanation.methods import find_method
from whichland.explanation.overlay import Box, Map, framed, on_photo, overlay, save_picture
from whichland.explanation.verify import Verdict, Verifier
from whichland.images.decode import decode, read_bytes
from whichland.images.preprocess import Pixels
from whichland.model.bundle import Bundle

SHORT_SIDE = 600  # pixels of the photo that is shown, at least where the photo has as many, and under twice that
TOP = 5

Answer = str | tuple[str, str]  # a country's code, or a pair: for the first, against the second


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Where in a photo the evidence for an answer lies."""

    path: str
    photo: Pixels  # H×W×3, reduced to be shown
    map: Map  # H×W, on the photo; in [0, 1], zero outside `box`
    box: Box  # the part of the photo that the model saw
    guesses: tuple[Guess, ...]  # the top five, likeliest first
    shown: tuple[Guess, ...]  # what the sheet shows: the top five, the target's in the last places if need be
    target: Answer  # what the map is about
    method: str  # a name of `methods.METHODS`
    verdict: Verdict | None = None  # how the map stood the test, where it was put to it

    @property
    def doubt(self) -> str:
        """What to add to a caption of a map that failed its test; empty for one that holds or took none."""
        failures = self.verdict.failures if self.verdict else ()
        return f"; map not confirmed: {' and '.join(failures)}" if failures else ""

    def overlay(self) -> Pixels:
        """The heat over the photo, with a frame around what the model saw."""
        return framed(overlay(self.photo, self.map), self.box)

    def figure(self) -> Pixels:
        """Photo, overlay and probabilities on one sheet."""
        return figure(self.photo, self.map, self.shown, box=self.box, target=self.target, doubtful=bool(self.doubt))

    def save(self, path: str | Path, *, plain: bool = False) -> Path:
        """Write the sheet, or with `plain` the overlay alone, as PNG, JPEG or WebP by the suffix."""
        return save_picture(self.overlay() if plain else self.figure(), Path(path))


def explain(
    bundle: Bundle,
    uri: str | Path,
    target: Answer | None = None,
    method: str = "gradcam",
    *,
    verifier: Verifier | None = None,
) -> Explanation:
    """Explain the answer `target` (None: the top guess) for one photo by one of `methods.METHODS`.

    `target` holds codes of `bundle.labels`. With a `verifier` of the same bundle the map is put to the test.
    Raises ImageError when the photo cannot be read, UserError when the method does not fit the model.
    """
    data = read_bytes(str(uri))
    prepare = bundle.preprocess
    crop = prepare.crop(decode(data, short_side=prepare.short_side))  # pixel for pixel what predict looks at
    device = next(bundle.model.parameters()).device
    x_BCHW = torch.from_numpy(prepare.normalise(crop[None])).to(device)
    explain_maps = find_method(method).maps_and_logits
    map_BHW, logits_BK = explain_maps(bundle.model, x_BCHW, _index(bundle, target))
    verdict = verifier(x_BCHW, map_BHW, logits_BK, _index(bundle, target)) if verifier else None
    temperature = float(bundle.info.get("temperature", 1.0))
    probabilities = torch.softmax(logits_BK[0].float() / temperature, dim=0).cpu().numpy()
    ranked = [(bundle.labels[at], float(probabilities[at])) for at in (-probabilities).argsort(kind="stable")]
    answer = target or ranked[0][0]
    asked = answer if isinstance(answer, tuple) else (answer,)
    photo = _reduced(decode(data, short_side=SHORT_SIDE))
    height, width = photo.shape[:2]
    return Explanation(
        path=str(uri),
        photo=photo,
        map=on_photo(map_BHW[0].cpu().numpy(), prepare, height, width),
        box=prepare.crop_box(height, width),
        guesses=tuple(ranked[:TOP]),
        shown=_with(ranked, asked),
        target=answer,
        method=method,
        verdict=verdict,
    )


def _index(bundle: Bundle, target: Answer | None) -> int | tuple[int, int] | None:
    if isinstance(target, tuple):
        return bundle.labels.index(target[0]), bundle.labels.index(target[1])
    return None if target is None else bundle.labels.index(target)


def _with(ranked: list[Guess], asked: tuple[str, ...]) -> tuple[Guess, ...]:
    """The top five; those that were asked about and are not among them take the last places."""
    late = [guess for guess in ranked[TOP:] if guess[0] in asked]
    kept = [guess for guess in ranked[:TOP] if guess[0] in asked]
    others = [guess for guess in ranked[:TOP] if guess[0] not in asked][: TOP - len(late) - len(kept)]
    return tuple(sorted([*kept, *others], key=lambda guess: -guess[1]) + late)


def _reduced(photo: Pixels) -> Pixels:
    """Shrink a large photo by a whole factor; JPEG decoding has done most of it already."""
    factor = min(photo.shape[:2]) // SHORT_SIDE
    return np.asarray(Image.fromarray(photo).reduce(factor)) if factor > 1 else photo
