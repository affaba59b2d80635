"""The clue atlas: for each country the patches that its decisions stand on, sorted, and tried elsewhere.

From photos that the model judged rightly, patches are cut where the explanation is high and blurring them away
costs most, sorted by likeness, and pasted into photos of other countries. A heat map says where a model looked;
only changing the photo says whether that made the answer. What raises the probabilities there by more than a patch
that another country shows at the same place is a clue of the model: pasting anything at all leaves seams and hides
what lay there. The rest is listed as not confirmed.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import polars as pl
import torch

from whichland.errors import UserError
from whichland.explanation.atlas_config import AtlasConfig
from whichland.explanation.patches import LogOdds, Patch, Photo, candidates, clusters, core, log_odds, paste
from whichland.images.photo import open_photo
from whichland.images.preprocess import Pixels
from whichland.manifest import Manifest, credit
from whichland.model.bundle import Bundle
from whichland.model.engines import best_device
from whichland.model.model import model_of
from whichland.model.views import cut_views
from whichland.progress import track
from whichland.statistics import Floats, Ints, holm, renumbered, student_p, student_reach

HOSTS_EACH = 8  # photos that each patch is pasted into
FEWEST_GROUPS = 4  # drives that a cluster's patches must come from, at least, to be judged


@dataclass(frozen=True, kw_only=True)
class Shift:
    """What pasting the patches of a cluster does to the log odds of their country."""

    value: float  # mean over the pastings: with the patch, less with the control
    low: float
    high: float  # 95 % interval
    p: float  # one-sided, of no gain over the control; before correction for many clusters
    raised: float  # share of the pastings in which the patch beat the control
    pastings: int
    photos: int  # that were pasted into
    groups: int  # drives that the patches come from


@dataclass(frozen=True)
class Pool:
    """Photos of every country to paste into and to cut controls from, with their crops."""

    photos: list[Photo]
    crops: list[Pixels]

    def others(self, *countries: str) -> list[int]:
        """Positions of the photos that show none of these countries."""
        return [at for at, photo in enumerate(self.photos) if photo.country not in countries]


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
    try:
        codes = [bundle.space.find(name) for name in config.countries] or bundle.labels
    except UserError as error:
        raise UserError(f"--countries: {error}") from None
    asked = sorted(dict.fromkeys(codes), key=bundle.space.name)
    bundle.model.to(best_device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    photos = _judged(bundle, manifest, config.split)
    hosts = _spread(photos, np.random.default_rng(config.seed))[: config.hosts]
    pool = Pool(hosts, [_crop(bundle, photo) for photo in hosts])
    score = log_odds(bundle)
    chapters = [
        _chapter(bundle, score, code, photos, pool, config)
        for code in track(asked, description="seeking clues", unit=bundle.space.nouns)
    ]
    return Atlas(bundle=bundle, config=config, chapters=tuple(chapters), pool=pool)


def _judged(bundle: Bundle, manifest: Manifest, split: str) -> list[Photo]:
    """The readable photos of the split, each with whether the model's first guess is right."""
    space, kind = bundle.space, bundle.space.kind
    manifest.require("split", kind, hint="make it with `whichland data split`")
    rows = manifest.kept.filter(pl.col("split") == split, pl.col(kind).is_in(space.codes)).sort("image_id")
    if rows[kind].n_unique() < 2:
        raise UserError(
            f"split {split!r} shows {rows[kind].n_unique()} of the model's {space.nouns}; an atlas needs two"
        )
    groups: dict[object, int] = {}
    found = []
    answers = model_of(bundle).predict(rows["uri"], progress=True)
    for row, answer in zip(rows.iter_rows(named=True), answers, strict=True):
        if answer.error is None:
            uri, drive = row["uri"], row.get("group")
            group = groups.setdefault(uri if drive is None else (drive,), len(groups))
            right = answer.label == row[kind]
            found.append(Photo(uri=uri, country=row[kind], group=group, right=right, credit=credit(row)))
    if len({photo.country for photo in found}) < 2:
        raise UserError(f"the photos of fewer than two {space.nouns} can be read; an atlas needs two")
    return found


def _spread(photos: Iterable[Photo], random: np.random.Generator) -> list[Photo]:
    """The photos at random, but one of each country and drive before a second of any."""
    mixed = list(photos)
    mixed = [mixed[at] for at in random.permutation(len(mixed))]
    by_turn = _in_turn(mixed, [(photo.country, photo.group) for photo in mixed])
    return _in_turn(by_turn, [photo.country for photo in by_turn])


def _in_turn(photos: Sequence[Photo], keys: Sequence[object]) -> list[Photo]:
    """The first photo of each key, then the second of each, and so on."""
    seen: Counter[object] = Counter()
    turns = []
    for key in keys:
        turns.append(seen[key])
        seen[key] += 1
    return [photos[at] for at in np.argsort(turns, kind="stable")]


def _crop(bundle: Bundle, photo: Photo) -> Pixels:
    return cut_views(open_photo(photo.uri), bundle.preprocess, views="one").crops[0]


def _chapter(
    bundle: Bundle, score: LogOdds, code: str, photos: Sequence[Photo], pool: Pool, config: AtlasConfig
) -> Chapter:
    label = bundle.labels.index(code)
    own = [photo for photo in photos if photo.country == code]
    right = [photo for photo in own if photo.right]
    chosen = _spread(right, np.random.default_rng([config.seed, label]))[: config.photos]
    found = (candidates(bundle, score, photo, _crop(bundle, photo), config.scales) for photo in chosen)
    kinds = clusters(list(chain.from_iterable(found)), config.clusters, config.seed)
    shifts = [shift(score, label, core(kind), pool, config.seed) for kind in kinds]
    judged = [at for at, found in enumerate(shifts) if found is not None]
    adjusted = holm([found.p for found in shifts if found is not None])
    confirmed = {at for at, p in zip(judged, adjusted, strict=True) if p <= config.level}
    clues = [
        Clue(patches=tuple(kind), shift=found, confirmed=at in confirmed)
        for at, (kind, found) in enumerate(zip(kinds, shifts, strict=True))
    ]
    clues.sort(
        key=lambda one: (not one.confirmed, one.shift is None, -(one.shift.value if one.shift else len(one.patches)))
    )
    return Chapter(country=code, photos=len(own), right=len(right), looked_at=len(chosen), clues=tuple(clues))


def shift(score: LogOdds, label: int, patches: Sequence[Patch], pool: Pool, seed: int) -> Shift | None:
    """Measure a cluster by its `patches`; None when too few drives show it, or nothing can be pasted into.

    Every patch goes into `HOSTS_EACH` photos of other countries, where it stood in its own. Each pasting has a
    control: a patch of the same size and place from a third country's photo.
    """
    country = patches[0].photo.country
    random = np.random.default_rng([seed, label])
    hosts = random.permutation(pool.others(country)).tolist()
    if len({patch.photo.group for patch in patches}) < FEWEST_GROUPS or len(hosts) < 2:
        return None
    made: list[Pixels] = []
    patch_groups, host_groups, used = [], [], []
    for number, patch in enumerate(patches):
        for turn in range(min(HOSTS_EACH, len(hosts))):
            host = hosts[(number * HOSTS_EACH + turn) % len(hosts)]
            control = _control(pool, host, country, random)
            if control is None:
                return None
            made.append(paste(pool.crops[host], patch.pixels, patch.place))
            made.append(paste(pool.crops[host], patch.place.cut(pool.crops[control]), patch.place))
            patch_groups.append(patch.photo.group)
            host_groups.append(pool.photos[host].group)
            used.append(host)
    odds_P2 = score(np.stack(made))[:, label].reshape(-1, 2).astype(np.float64)
    gain_P = odds_P2[:, 0] - odds_P2[:, 1]
    return summarise(gain_P, renumbered(np.array(patch_groups)), renumbered(np.array(host_groups)), len(set(used)))


def _control(pool: Pool, host: int, country: str, random: np.random.Generator) -> int | None:
    """A photo to cut the control from: of a third country, else another drive of the host's country."""
    own = pool.photos[host]
    choices = pool.others(country, own.country) or [
        at for at in pool.others(country) if pool.photos[at].group != own.group
    ]
    return int(random.choice(choices)) if choices else None


def summarise(gain_P: Floats, patch_group_P: Ints, host_group_P: Ints, photos: int) -> Shift:
    """The mean gain with interval and p-value, over drives on both sides.

    Two pastings share chance when their patches are from one drive, or when they went into one: variance is
    clustered both ways (Cameron, Gelbach and Miller 2011, eq. 2.11), and never taken to be less than one way.
    The error is read against Student's t with the fewer of both numbers of drives, as there may be few.
    """
    off_P = gain_P - gain_P.mean()
    groups, host_groups = int(patch_group_P.max()) + 1, int(host_group_P.max()) + 1
    pair_P = np.unique(patch_group_P * host_groups + host_group_P, return_inverse=True)[1]
    one, other, both = (_clustered(off_P, group_P) for group_P in (patch_group_P, host_group_P, pair_P))
    error = max(one + other - both, one, other, 1e-24) ** 0.5
    freedom = max(min(groups, host_groups) - 1, 1)
    mean = float(gain_P.mean())
    reach = float(student_reach(error, freedom))
    return Shift(
        value=mean,
        low=mean - reach,
        high=mean + reach,
        p=float(student_p(mean / error, freedom)),
        raised=float((gain_P > 0).mean()),
        pastings=len(gain_P),
        photos=photos,
        groups=groups,
    )


def _clustered(off_P: Floats, group_P: Ints) -> float:
    """Variance of the mean when values of a group go together."""
    sums_G = np.bincount(group_P, weights=off_P)
    groups = len(sums_G)
    return float((sums_G**2).sum() / len(off_P) ** 2 * groups / max(groups - 1, 1))
