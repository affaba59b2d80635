"""A photo, a model's answer to it, and where in each view it found the evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from whichland.errors import UserError
from whichland.explanation.figure import figure
from whichland.explanation.methods import Method, find_method, usual_method
from whichland.explanation.occlusion import occlusion
from whichland.explanation.overlay import Map, framed, on_photo, over_box, overlay, save_picture
from whichland.images.photo import PhotoLike, open_photo
from whichland.images.preprocess import Pixels
from whichland.model.answer import Answer, Guess
from whichland.model.bundle import Bundle
from whichland.model.model import Model, model_of
from whichland.model.views import HowMany, PhotoViews, View, cut_views

if TYPE_CHECKING:
    from whichland.explanation.verify import Verdict, Verifier

SHORT_SIDE = 600  # pixels of the photo that is shown, at least where the photo has as many, and under twice that
TOP = 5

Target = str | tuple[str, str]  # a label's code, or a pair: for the first, against the second


@dataclass(frozen=True, kw_only=True)
class ViewMap:
    """Where in one view the evidence lies."""

    view: View
    map: Map  # over the view, H×W in [0, 1] with its peak at 1; zero everywhere where no evidence was found
    verdict: "Verdict | None" = None  # how the map stood the test, where it was tested

    def laid(self) -> Map:
        """The map as it lies over the view's box in the photo."""
        return over_box(self.map, self.view, *self.map.shape)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Where in a photo the evidence for an answer lies."""

    answer: Answer
    photo: Pixels  # H×W×3, reduced to be shown
    views: tuple[ViewMap, ...]  # of every view that the answer was combined of
    target: Target  # what the maps are about
    method: str  # a name of `methods.METHODS`

    @property
    def guesses(self) -> tuple[Guess, ...]:
        """The top five, likeliest first."""
        return tuple(self.answer.top(TOP))

    @property
    def shown(self) -> tuple[Guess, ...]:
        """The top five; those that were asked about and are not among them take the last places."""
        asked = codes_of(self.target)
        late = [guess for guess in self.answer.top(len(self.answer.labels))[TOP:] if guess.code in asked]
        kept = [guess for guess in self.guesses if guess.code in asked]
        others = [guess for guess in self.guesses if guess.code not in asked][: TOP - len(late) - len(kept)]
        return tuple(sorted([*kept, *others], key=lambda guess: -guess.probability) + late)

    @cached_property
    def map(self) -> Map:
        """The maps of all views on the photo, H×W; zero where no view saw anything."""
        placed = [on_photo(one.map, one.view, *self.photo.shape[:2]) for one in self.views]
        return np.asarray(np.max(placed, axis=0))

    @property
    def doubt(self) -> str:
        """What to add to a caption of a map that failed its test; empty for one that holds or was not tested."""
        return f"; map not confirmed: {' and '.join(self.failures)}" if self.failures else ""

    @property
    def failures(self) -> tuple[str, ...]:
        """Why the maps are not to be trusted. A view without evidence counts only where there is none in any."""
        tested = [(number, one.verdict) for number, one in enumerate(self.views, 1) if one.verdict]
        found = [(number, verdict) for number, verdict in tested if not verdict.empty] or tested[:1]
        several = len(self.views) > 1 and self.map.any()
        return tuple(
            f"{why} (view {number})" if several else why for number, verdict in found for why in verdict.failures
        )

    def overlay(self) -> Pixels:
        """The heat over the photo, with a frame around what the model saw."""
        return framed(overlay(self.photo, self.map), [one.view.box for one in self.views])

    def figure(self) -> Pixels:
        """Photo, overlay and probabilities on one sheet."""
        boxes = [one.view.box for one in self.views]
        about = [self.answer.guess(code) for code in codes_of(self.target)]
        doubtful = bool(self.failures)
        return figure(self.photo, self.map, self.shown, boxes=boxes, target=about, doubtful=doubtful)

    def save(self, path: str | Path, *, plain: bool = False) -> Path:
        """Write the sheet, or with `plain` the overlay alone, as PNG, JPEG or WebP by the suffix."""
        return save_picture(self.overlay() if plain else self.figure(), Path(path))


def explain(
    bundle: Model | Bundle,
    photo: PhotoLike,
    target: Target | None = None,
    method: str | None = None,
    *,
    verifier: "Verifier | None" = None,
    views: HowMany = "auto",
    panorama: bool = False,
) -> Explanation:
    """Explain the answer `target` (None: the top guess) for one photo by one of `methods.METHODS`.

    Every view that the answer is combined of has a map of its own, scaled to its own peak. `method` None is the
    first that works here; `views` and `panorama` are those of `Model.predict`. With a `verifier` of the same model
    each map is tested. Raises ImageError when the photo cannot be read, UserError for a label that the model does
    not know and when the method does not fit the model.
    """
    model, chosen = model_of(bundle), find_method(method) if method else usual_method()
    opened = open_photo(photo)
    seen = cut_views(opened, model.preprocess, views=views, panorama=panorama)
    (answer,) = model.answers([photo], [seen])
    about = target or answer.label
    shown = opened.decode(SHORT_SIDE)  # of a JPEG most of the reduction is done by decoding
    if (factor := min(shown.shape[:2]) // SHORT_SIDE) > 1:
        shown = np.asarray(Image.fromarray(shown).reduce(factor))
    return Explanation(
        answer=answer,
        photo=shown,
        views=view_maps(model, seen, index_of(model.labels, about), chosen, verifier),
        target=about,
        method=chosen.name,
    )


def view_maps(
    model: Model, seen: PhotoViews, index: int | tuple[int, int], method: Method, verifier: "Verifier | None" = None
) -> tuple[ViewMap, ...]:
    """A map of every view; `index` says which label they are about, or which one against which.

    By the model's own engine where the method allows it, else by torch. Raises UserError when the method does not
    fit the model, or torch is missing.
    """
    found = []
    for view, crop_HWC in zip(seen.views, seen.crops, strict=True):
        if method.torch:
            from whichland.explanation.activations import network_input

            x_1CHW = network_input(model.bundle, crop_HWC[None])
            map_HW = method.maps(model.bundle.model, x_1CHW, index)[0].cpu().numpy()
        else:
            map_HW = occlusion(model.run, crop_HWC, index)
        verdict = verifier.judge(model.bundle, crop_HWC, map_HW, index) if verifier else None
        found.append(ViewMap(view=view, map=map_HW, verdict=verdict))
    return tuple(found)


def codes_of(target: Target) -> tuple[str, ...]:
    """The codes of a target: one, or two."""
    return target if isinstance(target, tuple) else (target,)


def index_of(labels: Sequence[str], target: Target) -> int | tuple[int, int]:
    """Where in the labels a target stands. Raises UserError for a code that is not there or a label against itself."""
    for code in codes_of(target):
        if code not in labels:
            raise UserError(f"{code!r} is no label of this model; it knows {', '.join(labels)}")
    if isinstance(target, str):
        return labels.index(target)
    if target[0] == target[1]:
        raise UserError(f"{target[0]} cannot be compared with itself; name another label")
    return labels.index(target[0]), labels.index(target[1])
