"""What a model answers to one photo: probabilities, and what a bundle makes of them.

    answer = wl.load("runs/mine/bundle").predict("a.jpg")
    answer.country, answer.probability, answer.top(5), answer.set(0.9), answer.abstains, answer.pin
    answer.among("EU, RS"), answer.certain(0.9)

An answer is the same wherever it is asked for: in Python, on the command line, over HTTP, in a report.
"""

import base64
import html
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from whichland.errors import UserError
from whichland.images.containers import ImageError, is_address
from whichland.images.decode import encode_jpeg, shrink
from whichland.images.photo import PhotoLike, open_photo
from whichland.model.bundle import Settings
from whichland.model.calibration import reaches
from whichland.model.label_sources import among
from whichland.model.labels import COUNTRY, LabelSpace
from whichland.model.novelty import UNLIKE
from whichland.model.pins import PinTable, pins
from whichland.model.views import View

Probabilities = NDArray[np.float32]  # one probability a label, in the order of the labels

DECIMALS = 6  # of a probability, where it is written as text
ACCURACY = 0.8  # of what is answered, where no other is asked for
CERTAINTY = 90  # percent, that the label or what it lies in is to reach
SHOWN, PICTURE = 5, 320  # labels and pixels in a notebook


class Guess(NamedTuple):
    """A label and its probability."""

    code: str
    name: str
    probability: float


class Certain(NamedTuple):
    """A label, or what it lies in, that is certain enough."""

    level: str  # "country", "region", …
    code: str
    name: str
    probability: float


class Pin(NamedTuple):
    """The point with the highest expected GeoGuessr score."""

    lat: float
    lon: float
    expected_score: float


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Answer:
    """A model's answer to one photo, or the error that stands in its place.

    Where a photo of several cannot be read, `error` says why, `probabilities` are NaN, `views` is empty, and
    whatever needs the probabilities raises that error.
    """

    path: str | None  # or web address; None where the photo itself was given
    probabilities: Probabilities  # K float32, in the order of `labels`; they sum to 1
    views: tuple[View, ...] = ()  # what the model saw; with several, their probabilities were combined
    width: int = 0  # of the photo, upright, in pixels
    height: int = 0
    error: ImageError | None = None
    settings: Settings  # of the bundle: labels, calibration, pins
    distance: float | None = None  # from the training photos, see model/novelty.py; None where the bundle knows none
    photo: PhotoLike | None = None  # as it was given, for a picture of it
    within: tuple[str, ...] | None = None  # the labels that it was restricted to
    original: "Answer | None" = None  # what it was before

    @property
    def space(self) -> LabelSpace:
        """The labels: their names, what they lie in, where they are photographed."""
        return self.settings.space

    @property
    def labels(self) -> tuple[str, ...]:
        """The codes of the labels."""
        return self.space.codes

    def _known(self) -> Probabilities:
        """The probabilities, 1×K. Raises the photo's error, where it has one."""
        if self.error is not None:
            raise self.error
        return self.probabilities[None]

    def among(self, names: str | Iterable[str]) -> "Answer":
        """The answer if it were known that one of some labels is right: their probabilities alone, scaled to sum to 1.

        `names` are as `model.label_sources.among` takes them, such as "EU, RS" or "drives left"; of an answer that was
        restricted before, the original one is restricted. Where they had no probability at all, each is as likely
        as the others. Raises UserError for a name that covers no label.
        """
        original = self.original or self
        within = among(self.space, names)
        inside_K = np.isin(np.arange(len(self.labels)), [self.space.index[code] for code in within])
        shares_K = np.where(inside_K, original.probabilities, 0).astype(np.float64)
        total = shares_K.sum()
        scaled_K = (shares_K / total if total else inside_K / inside_K.sum()).astype(np.float32)
        return replace(original, probabilities=scaled_K, within=within, original=original)

    @property
    def outside(self) -> float:
        """The probability that lay outside the labels it was restricted to; 0 where it was not."""
        if self.original is None or self.within is None:
            return 0.0
        inside = [self.space.index[code] for code in self.within]
        return float(np.delete(self.original._known()[0], inside).sum(dtype=np.float64))

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """Indices of the labels, likeliest first; of a restricted answer those that it was restricted to."""
        order: NDArray[np.intp] = (-self._known()[0]).argsort(kind="stable")
        if self.within is None:
            return order
        return order[np.isin(order, [self.space.index[code] for code in self.within])]

    def top(self, n: int = SHOWN) -> list[Guess]:
        """The `n` likeliest labels, likeliest first."""
        return [self.guess(self.labels[at]) for at in self.order[:n]]

    def guess(self, code: str) -> Guess:
        """A label and its probability. Raises UserError for a code that the model does not know."""
        if code not in self.space:
            raise UserError(f"this model does not know {code!r}; it knows {', '.join(self.labels)}")
        return Guess(code, self.space.name(code), float(self._known()[0, self.space.index[code]]))

    def at(self, level: str) -> list[Guess]:
        """The labels of a level above, such as "country" or "continent", likeliest first: probabilities added up.

        Raises UserError for a level that the labels do not add up to; `space.levels` lists those they do.
        """
        upper, probs_NP = self.space.roll_up(self._known(), level)
        order = (-probs_NP[0]).argsort(kind="stable")
        found = [Guess(upper.codes[at], upper.name(upper.codes[at]), float(probs_NP[0, at])) for at in order]
        if self.within is None:
            return found
        within = {self.space.named(code, level) for code in self.within}
        return [one for one in found if one.code in within]

    def certain(self, certainty: float) -> Certain | None:
        """The first guess where its probability reaches `certainty`, else the likeliest of the first level that does.

        None where no level does; a level above at which all labels lie in one says nothing and does not count.
        """
        for level in self.space.levels:
            likeliest, *others = self.at(level)
            says = others or level == self.space.kind
            if says and reaches(np.array(likeliest.probability), certainty):
                return Certain(level, *likeliest)
        return None

    @property
    def label(self) -> str:
        """The code of the first guess."""
        return self.labels[int(self.order[0])]

    @property
    def country(self) -> str | None:
        """The code of the likeliest country; None where labels do not add up to countries."""
        if self.space.kind == COUNTRY:
            return self.label
        return self.at(COUNTRY)[0].code if self.space.has_countries else None

    @property
    def name(self) -> str:
        """The name of the first guess."""
        return self.space.name(self.label)

    @property
    def probability(self) -> float:
        """The probability of the first guess."""
        return float(self.probabilities[self.order[0]])

    def set(self, level: float = 0.9) -> tuple[str, ...]:
        """The labels of which one is right with probability `level`, likeliest first.

        The probability is an average over photos like those of validation, not a promise for each label. Raises
        UserError when the bundle is not calibrated for that level.
        """
        within_K = self.settings.require_level(level).set_of(self._known(), level)[0]
        return tuple(self.labels[at] for at in self.order if within_K[at])

    def abstains_at(self, accuracy: float) -> bool:
        """Whether the first guess is too unlikely for `accuracy` of the answers to be right.

        Never where the bundle is not calibrated for that accuracy; always where no threshold reached it.
        """
        calibration = self.settings.info.calibration
        if calibration is None or accuracy not in calibration.abstain:
            return False
        threshold = calibration.abstain[accuracy].threshold
        return threshold is None or not reaches(np.array(self.probability), threshold)

    @property
    def abstains(self) -> bool:
        """The same at an accuracy of 80 %."""
        return self.abstains_at(ACCURACY)

    @property
    def novelty(self) -> float | None:
        """How unlike the training photos it is: the share of validation photos that are less so; None: not known."""
        known = self.settings.novelty
        return None if known is None or self.distance is None else known.share(self.distance)

    @property
    def unlike(self) -> bool:
        """Whether it is unlike what the model was trained on, more so than 99 % of validation photos."""
        return self.novelty is not None and self.novelty >= UNLIKE

    @property
    def pin(self) -> Pin | None:
        """The point with the highest expected score; None where the bundle keeps no places."""
        return None if self.settings.pins is None else self._pinned(self.settings.pins)

    @property
    def pin_or_land(self) -> Pin:
        """The same, on the labels' land where the bundle keeps no places."""
        return self._pinned(self.settings.pins_or_land)

    def _pinned(self, table: PinTable) -> Pin:
        points, expected = pins(self._known(), table)
        return Pin(float(points[0, 0]), float(points[0, 1]), float(expected[0]))

    @property
    def caution(self) -> str | None:
        """What must be known of the model before the answer is believed, in one line; None where there is nothing."""
        return self.settings.info.caution

    @property
    def reason(self) -> str | None:
        """Why the photo cannot be read, without its path; None for one that can."""
        return None if self.error is None else str(self.error).removeprefix(f"{self.path}: ")

    def __repr__(self) -> str:
        of = f"{self.path!r}: " if self.path is not None else ""
        if self.error is not None:
            return f"<Answer {of}not read ({self.reason})>"
        named = ", ".join(f"{self.space.described(guess.code)} {guess.probability:.1%}" for guess in self.top(3))
        seen = f"; {len(self.views)} views" if len(self.views) > 1 else ""
        left_out = f"; {self.outside:.1%} fell outside" if self.within is not None else ""
        new = "; unlike what it was trained on" if self.unlike else ""
        return f"<Answer {of}{named}{left_out}{seen}{new}>"

    def _repr_html_(self) -> str:
        """The photo and its likeliest labels as bars, for a notebook."""
        if self.error is not None:
            return f"<p>{html.escape(repr(self))}</p>"
        bars = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{share:.1%}</td><td style='width:12em'>"
            f"<div style='background:#c8412b;height:.8em;width:{100 * share:.1f}%'></div></td></tr>"
            for _, name, share in self.top()
        )
        data = self._picture()
        shown = f"<img alt='' src='data:image/jpeg;base64,{data}'>" if data else ""
        title = f"<p>{html.escape(self.path)}</p>" if self.path is not None else ""
        note = f"<p>{html.escape(self.caution)}</p>" if self.caution else ""
        return f"<div>{title}{shown}<table>{bars}</table>{note}</div>"

    def _picture(self) -> str | None:
        """The photo made small, as a JPEG without metadata in base64; None when it is no longer there."""
        if self.photo is None or (isinstance(self.photo, str) and is_address(self.photo)):
            return None
        try:
            pixels = open_photo(self.photo).decode(PICTURE)
        except ImageError:
            return None
        height, width = pixels.shape[:2]
        scale = min(1.0, PICTURE / min(height, width), 2 * PICTURE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return base64.b64encode(encode_jpeg(shrink(pixels, (0, 0, width, height), size), 80)).decode("ascii")
