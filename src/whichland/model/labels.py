"""What a model distinguishes: countries, or the values of any text column of a manifest.

    labels = countries(("FR", "JP"))
    labels.name("FR"), labels.levels
    ('France', ('country', 'region', 'continent'))
    continents, probs_NP = labels.roll_up(probs_NK, "continent")

A bundle keeps its label space as labels.json: of each level the labels with name and parent, and of the model's own
labels the points where they are photographed.

    {"kind": "country",
     "levels": {"country": {"FR": {"name": "France", "parent": "Western Europe"}, …},
                "region": {"Western Europe": {"name": "Western Europe", "parent": "Europe"}, …}, …},
     "points": {"FR": {"from": "photos", "points": [[48.86, 2.35], …]}, "NA": {"from": "land", "points": […]}}}

`model/label_sources.py` makes label spaces. What is above it asks a label space for names, regions and driving
sides, never the table of countries.
"""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from whichland.errors import UserError
from whichland.geo.distance import Points

FILE = "labels.json"
OLD_FILE = "places.json"  # the points alone, in bundles before labels.json
COUNTRY = "country"

Origin = Literal["photos", "land"]  # of a label's points: its training photos, or its land where those are few


class Label(NamedTuple):
    """One label of one level."""

    name: str
    parent: str | None = None  # code of the label of the next level that it lies in; None: in none, or in several


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelSpace:
    """The K labels of a model in the order of its logits, what they lie in, and where they are photographed."""

    kind: str  # what the labels are: "country", or the column of the manifest
    tree: Mapping[str, Mapping[str, Label]]  # by level and code: that of the labels first, each one's parents next
    points: tuple[Points, ...] | None = None  # of each label P×2 degrees; None: unknown
    origins: tuple[Origin, ...] = ()  # where the points come from

    def __eq__(self, other: object) -> bool:
        """The same labels in the same order, wherever they are photographed."""
        return isinstance(other, LabelSpace) and (self.codes, self.tree) == (other.codes, other.tree)

    @cached_property
    def codes(self) -> tuple[str, ...]:
        return tuple(self.tree[self.kind])

    @cached_property
    def index(self) -> Mapping[str, int]:
        """The number of each code."""
        return {code: number for number, code in enumerate(self.codes)}

    @cached_property
    def levels(self) -> tuple[str, ...]:
        """The levels at which every label lies in one, its own first: what scores and answers roll up to."""
        return tuple(level for level in self.tree if None not in self._ancestors[level])

    @property
    def has_countries(self) -> bool:
        """Whether every label is a country or lies in one."""
        return COUNTRY in self.levels

    @cached_property
    def _ancestors(self) -> Mapping[str, tuple[str | None, ...]]:
        """Of each level the code that each label lies in."""
        found: dict[str, tuple[str | None, ...]] = {}
        codes: tuple[str | None, ...] = self.codes
        for level, labels in self.tree.items():
            known = {None: None} | {code: label.parent for code, label in labels.items()}
            found[level], codes = codes, tuple(known.get(code) for code in codes)
        return found

    def __len__(self) -> int:
        return len(self.codes)

    def __contains__(self, code: object) -> bool:
        return code in self.index

    def name(self, code: str) -> str:
        """The name of a label. Raises KeyError for a code that is none."""
        return self.tree[self.kind][code].name

    def described(self, code: str) -> str:
        """Name and code, "France (FR)"; the code alone where it is the name."""
        name = self.name(code)
        return code if name == code else f"{name} ({code})"

    def named(self, code: str, level: str) -> str | None:
        """The code of what a label lies in at a level; None where it lies in none or the level is not known."""
        ancestors = self._ancestors.get(level)
        return None if ancestors is None else ancestors[self.index[code]]

    def at(self, level: str) -> "LabelSpace":
        """The labels of a level that this one's labels lie in, in the order of their codes; without points.

        Raises UserError for a level that is not one of `levels`.
        """
        return self._at(level)[0]

    def numbers_at(self, level: str) -> NDArray[np.int64]:
        """The number of what each label lies in among the labels `at` a level: K."""
        return self._at(level)[1]

    def _at(self, level: str) -> tuple["LabelSpace", NDArray[np.int64]]:
        """Both. Raises UserError for a level that is not one of `levels`."""
        if level not in self.levels:
            raise UserError(f"these labels do not add up to {level!r}; they do to {', '.join(self.levels)}")
        return self._above[level]

    @cached_property
    def _above(self) -> Mapping[str, tuple["LabelSpace", NDArray[np.int64]]]:
        """Of each of `levels` its labels, and the number of what each label lies in."""
        found: dict[str, tuple[LabelSpace, NDArray[np.int64]]] = {}
        names = list(self.tree)
        for level in self.levels:
            upper, codes = self, list(map(str, self._ancestors[level]))
            if level != self.kind:
                above = {name: self.tree[name] for name in names[names.index(level) :]}
                upper = LabelSpace(kind=level, tree=above).only(sorted(set(codes)))
            found[level] = upper, np.array([upper.index[code] for code in codes], np.int64)
        return found

    def roll_up(self, probs_NK: NDArray[Any], level: str) -> tuple["LabelSpace", NDArray[Any]]:
        """Sum probabilities over the labels that lie in the same label of a level: (its labels, N×P)."""
        upper, numbers_K = self._at(level)
        lies_in_KP = np.eye(len(upper))[numbers_K]
        return upper, (probs_NK @ lies_in_KP).astype(probs_NK.dtype)

    def in_order(self, codes: Iterable[str] | None = None) -> list[str]:
        """Codes sorted by what they lie in, from the top down, and by name: neighbours stand together in a matrix."""
        above = self.levels[:0:-1]
        return sorted(
            self.codes if codes is None else codes,
            key=lambda code: (*(str(self.named(code, level)) for level in above), self.name(code)),
        )

    @cached_property
    def drives_on(self) -> tuple[Literal["left", "right"], ...] | None:
        """The driving side of each label's country; None where labels lie in no country."""
        if not self.has_countries:
            return None
        from whichland.geo.countries import COUNTRIES

        return tuple(COUNTRIES[str(code)].drives_on for code in self._ancestors[COUNTRY])

    def find(self, text: str, also: Sequence[str] = ()) -> str:
        """The code of a label from its code or name; of a country from any usual spelling.

        Raises UserError, with the nearest names and those of `also`, for what is none of these labels.
        """
        wanted = text.strip()
        if wanted in self:
            return wanted
        if self.kind == COUNTRY:
            from whichland.geo.countries import find_country, nearest_names

            found, near = find_country(wanted), nearest_names(wanted)
        else:
            by_name = {key.casefold(): code for code in self.codes for key in (code, self.name(code))}
            found, alike = by_name.get(wanted.casefold()), difflib.get_close_matches(wanted.casefold(), by_name, n=3)
            near = list(dict.fromkeys(self.name(by_name[key]) for key in alike))
        if found is None:
            near = list(dict.fromkeys((*also, *near)))
            known = f"near: {', '.join(near)}" if near else f"this bundle knows {', '.join(self.codes)}"
            raise UserError(f"no {self.kind} {wanted!r}; {known}")
        if found not in self:
            raise UserError(f"this bundle does not know {found}; it knows {', '.join(self.codes)}")
        return found

    def only(self, codes: Iterable[str]) -> "LabelSpace":
        """Some of the labels, in the order of the codes; without points."""
        own = self.tree[self.kind]
        return LabelSpace(kind=self.kind, tree={**self.tree, self.kind: {code: own[code] for code in codes}})

    @property
    def noun(self) -> str:
        """What to call a label in a sentence."""
        return "country" if self.kind == COUNTRY else "label"

    @property
    def nouns(self) -> str:
        """The same for several."""
        return "countries" if self.kind == COUNTRY else "labels"

    def file_name(self, code: str) -> str:
        """A name for a label's file, without ending: a country's code; a number for labels, which may be any text."""
        return code if self.kind == COUNTRY else f"label-{self.index[code]}"

    def with_points(self, points: Sequence[Points], origins: Sequence[Origin]) -> "LabelSpace":
        return replace(self, points=tuple(points), origins=tuple(origins))


def labels_text(labels: LabelSpace) -> str:
    """What labels.json holds."""
    levels = {level: {code: one._asdict() for code, one in own.items()} for level, own in labels.tree.items()}
    written: dict[str, Any] = {"kind": labels.kind, "levels": levels}
    if labels.points is not None:
        rows = zip(labels.codes, labels.points, labels.origins, strict=True)
        written["points"] = {code: {"from": origin, "points": p.round(3).tolist()} for code, p, origin in rows}
    return json.dumps(written, ensure_ascii=False, separators=(",", ":")) + "\n"


def read_labels(folder: Path, codes: Sequence[str]) -> LabelSpace:
    """The label space of a bundle whose logits are for `codes`.

    A bundle of 0.1 keeps none: its labels are countries, and places.json holds their points. Raises UserError when a
    file is damaged or not of these labels.
    """
    path, old = folder / FILE, folder / OLD_FILE
    try:
        if path.is_file():
            written = json.loads(path.read_text(encoding="utf-8"))
            tree = {
                level: {code: Label(of["name"], of["parent"]) for code, of in own.items()}
                for level, own in written["levels"].items()
            }
            labels, points = LabelSpace(kind=written["kind"], tree=tree), written.get("points")
            if labels.codes != tuple(codes) or next(iter(tree)) != labels.kind:
                raise ValueError("config.json has other labels")
        else:
            labels = _countries(folder, codes)
            path, points = old, json.loads(old.read_text(encoding="utf-8")) if old.is_file() else None
        return labels if points is None else labels.with_points(*_points(points, codes))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not the labels of this bundle ({error}); train or copy it anew") from None


def _countries(folder: Path, codes: Sequence[str]) -> LabelSpace:
    from whichland.model.label_sources import countries

    try:
        return countries(codes)
    except UserError as error:
        raise UserError(f"{folder} is not a bundle: {FILE} is missing, and {error}") from None


def _points(written: Mapping[str, Any], codes: Sequence[str]) -> tuple[list[Points], list[Origin]]:
    points = [np.array(written[code]["points"], dtype=float).reshape(-1, 2) for code in codes]
    if not all(len(of) and np.isfinite(of).all() for of in points):
        raise ValueError("a label without places")
    return points, ["photos" if written[code]["from"] == "photos" else "land" for code in codes]
