"""Is it a clue? Patches are pasted into photos of other countries, beside control patches at the same places.

A heat map says where a model looked; only changing the photo says whether that made the answer. A patch of the
country that is pasted elsewhere must raise the country's probabilities by more than a patch that another country
shows at the same place: pasting anything at all leaves seams and hides what lay there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whichland.explanation.atlas_find import Patch, Photo
from whichland.explanation.patches import LogOdds, paste
from whichland.images.preprocess import Pixels
from whichland.statistics import Floats, Ints, renumbered, student_p, student_reach

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
