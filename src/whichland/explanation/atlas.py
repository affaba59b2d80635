"""The clue atlas: for each country the patches that its decisions stand on, sorted, and tried elsewhere.

From photos that the model judged rightly, patches are cut where the explanation is high and blurring them away
costs most (`atlas_find`), sorted by likeness, and pasted into photos of other countries (`atlas_verify`). What
raises the probabilities there by more than controls do is a clue of the model; the rest is listed as not
confirmed.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch

from whichland.errors import UserError
from whichland.explanation.atlas_config import AtlasConfig
from whichland.explanation.atlas_find import Patch, Photo, candidates, clusters, core
from whichland.explanation.atlas_verify import Pool, Shift, shift
from whichland.explanation.patches import LogOdds, log_odds
from whichland.images.photo import open_photo
from whichland.images.preprocess import Pixels
from whichland.manifest import Manifest, credit
from whichland.model.bundle import Bundle
from whichland.model.engines import best_device
from whichland.model.labels import LabelSpace
from whichland.model.model import model_of
from whichland.model.views import cut_views
from whichland.progress import track
from whichland.statistics import holm


@dataclass(frozen=True, kw_only=True)
class Clue:
    """Patches that are alike, and what pasting them elsewhere does."""

    patches: tuple[Patch, ...]  # the most typical first
    shift: Shift | None  # None: too few drives show it to be judged
    confirmed: bool

    @property
    def shown(self) -> list[Patch]:
        """The patches that were pasted, and that stand for the others."""
        return core(self.patches)

    @property
    def photos(self) -> int:
        """How many photos show it."""
        return len({patch.photo.uri for patch in self.patches})


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """One country's part of the atlas."""

    country: str
    photos: int  # of the split that could be read
    right: int  # of these, judged rightly
    looked_at: int  # of these, that patches were cut from
    clues: tuple[Clue, ...]  # confirmed ones first, by effect

    @property
    def confirmed(self) -> list[Clue]:
        return [clue for clue in self.clues if clue.confirmed]

    @property
    def unconfirmed(self) -> list[Clue]:
        return [clue for clue in self.clues if not clue.confirmed]


@dataclass(frozen=True, kw_only=True)
class Atlas:
    """All chapters, and what they are made from."""

    bundle: Bundle
    config: AtlasConfig
    chapters: tuple[Chapter, ...]
    pool: Pool  # the photos that patches were pasted into, and that controls were cut from


def atlas(bundle: Bundle, manifest: Manifest, config: AtlasConfig) -> Atlas:
    """Make the atlas of a bundle from the kept photos of one split; countries in order of their names.

    Raises UserError when the split shows fewer than two of the model's countries, or `countries` names one that
    the model does not know.
    """
    asked = _asked(config.countries, bundle.space)
    bundle.model.to(best_device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    photos = _judged(bundle, _rows(manifest, bundle, config.split))
    random = np.random.default_rng(config.seed)
    pool = _pool(bundle, photos, config.hosts, random)
    score = log_odds(bundle)
    chapters = [_chapter(bundle, score, code, photos, pool, config) for code in track(asked, len(asked), "countries")]
    return Atlas(bundle=bundle, config=config, chapters=tuple(chapters), pool=pool)


def _asked(names: Sequence[str], labels: LabelSpace) -> list[str]:
    try:
        codes = [labels.find(name) for name in names] or labels.codes
    except UserError as error:
        raise UserError(f"--countries: {error}") from None
    return sorted(dict.fromkeys(codes), key=labels.name)


def _rows(manifest: Manifest, bundle: Bundle, split: str) -> pl.DataFrame:
    hint = "make it with `whichland data split`"
    space = bundle.space
    manifest.require("split", space.kind, hint=hint)
    rows = manifest.kept.filter(pl.col("split") == split, pl.col(space.kind).is_in(space.codes))
    found = rows[space.kind].n_unique()
    if found < 2:
        raise UserError(f"split {split!r} shows {found} of the model's {space.nouns}; an atlas needs two")
    return rows.sort("image_id")


def _judged(bundle: Bundle, rows: pl.DataFrame) -> list[Photo]:
    """The readable photos of the split, each with whether the model's first guess is right."""
    kind = bundle.space.kind
    columns = ("uri", kind, "group", "attribution", "creator", "license")
    empty = [pl.lit(None, pl.String).alias(name) for name in columns if name not in rows.columns]
    table = rows.with_columns(empty).select(columns)
    groups: dict[object, int] = {}
    found = []
    answers = model_of(bundle).predict(table["uri"], progress=True)
    for row, answer in zip(table.iter_rows(named=True), answers, strict=True):
        if answer.error is not None:
            continue
        uri = row["uri"]
        group = groups.setdefault(uri if row["group"] is None else (row["group"],), len(groups))
        right = answer.label == row[kind]
        found.append(Photo(uri=uri, country=row[kind], group=group, right=right, credit=credit(row)))
    if len({photo.country for photo in found}) < 2:
        raise UserError("the photos of fewer than two countries can be read; an atlas needs two")
    return found


def _spread(photos: Iterable[Photo], random: np.random.Generator) -> list[Photo]:
    """The photos at random, but one of each country and drive before a second of any."""
    mixed = list(photos)
    mixed = [mixed[at] for at in random.permutation(len(mixed))]
    drive: Counter[tuple[str, int]] = Counter()
    turns = []
    for photo in mixed:
        turns.append(drive[photo.country, photo.group])
        drive[photo.country, photo.group] += 1
    by_turn = [mixed[at] for at in np.argsort(turns, kind="stable")]
    country: Counter[str] = Counter()
    ranks = []
    for photo in by_turn:
        ranks.append(country[photo.country])
        country[photo.country] += 1
    return [by_turn[at] for at in np.argsort(ranks, kind="stable")]


def _pool(bundle: Bundle, photos: Sequence[Photo], most: int, random: np.random.Generator) -> Pool:
    chosen = _spread(photos, random)[:most]
    return Pool(chosen, [_crop(bundle, photo) for photo in chosen])


def _crop(bundle: Bundle, photo: Photo) -> Pixels:
    return cut_views(open_photo(photo.uri), bundle.preprocess, views="one").crops[0]


def _chapter(
    bundle: Bundle, score: LogOdds, code: str, photos: Sequence[Photo], pool: Pool, config: AtlasConfig
) -> Chapter:
    label = bundle.labels.index(code)
    own = [photo for photo in photos if photo.country == code]
    right = [photo for photo in own if photo.right]
    chosen = _spread(right, np.random.default_rng([config.seed, label]))[: config.photos]
    patches: list[Patch] = []
    for photo in chosen:
        patches += candidates(bundle, score, photo, _crop(bundle, photo), config.scales)
    kinds = clusters(patches, config.clusters, config.seed)
    shifts = [shift(score, label, core(kind), pool, config.seed) for kind in kinds]
    judged = [at for at, found in enumerate(shifts) if found is not None]
    adjusted = holm([found.p for found in shifts if found is not None])
    confirmed = {at for at, p in zip(judged, adjusted, strict=True) if p <= config.level}
    clues = [
        Clue(patches=tuple(kind), shift=found, confirmed=at in confirmed)
        for at, (kind, found) in enumerate(zip(kinds, shifts, strict=True))
    ]
    return Chapter(
        country=code, photos=len(own), right=len(right), looked_at=len(chosen), clues=tuple(sorted(clues, key=_order))
    )


def _order(clue: Clue) -> tuple[bool, bool, float]:
    return not clue.confirmed, clue.shift is None, -clue.shift.value if clue.shift else -len(clue.patches)
