"""On the synthetic world, where the clues' places are known: how much of the heat falls on them?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whichland.explanation.activations import network_input
from whichland.explanation.methods import find_method
from whichland.images.decode import load
from whichland.images.preprocess import Preprocess
from whichland.model.bundle import Bundle
from whichland.sources.synthetic.conventions import CLUES, NAMES
from whichland.statistics import Flags, Floats, mean_interval

BATCH = 32

Interval = tuple[float, float]  # 95 %, over groups


@dataclass(frozen=True, kw_only=True)
class ClueShare:
    """Of the photos that show a clue: how much heat falls on it, and how much an even map would put there."""

    clue: str  # "any" for all clues together
    photos: int
    mass: float  # mean share of the map's mass on the clue
    mass_interval: Interval
    area: float  # mean share of the picture that it covers: chance
    pointing: float  # share of photos whose hottest point lies on the clue, or within 8 pixels
    pointing_interval: Interval
    others_mass: float  # what maps of other photos put there: where the model looks whatever it sees
    others_pointing: float

    @property
    def gain(self) -> float:
        """How many times more heat than chance."""
        return self.mass / self.area


def clue_shares(
    bundle: Bundle,
    uris: Sequence[str],
    mask_uris: Sequence[str],
    groups: Sequence[str | None] | None = None,
    method: str = "gradcam",
) -> list[ClueShare]:
    """Maps of the top guess against the masks, clue by clue, the most sought first; "any" stands on top.

    `groups` are those of the photos, for the intervals; without them each photo is taken to stand for itself.
    """
    explain = find_method(method).maps
    maps, masks = [], []
    for start in range(0, len(uris), BATCH):
        crops = np.stack([bundle.preprocess.crop(load(uri)) for uri in uris[start : start + BATCH]])
        maps.append(explain(bundle.model, network_input(bundle, crops), None).cpu().numpy())
        masks.append(np.stack([_mask(uri, bundle.preprocess) for uri in mask_uris[start : start + BATCH]]))
    maps_BHW, masks_BHW = np.concatenate(maps), np.concatenate(masks)
    named = [None] * len(uris) if groups is None else list(groups)
    found = [_share(NAMES[value], maps_BHW, masks_BHW == value, named) for value in CLUES.values() if value]
    shown = sorted((share for share in found if share is not None), key=lambda share: -share.gain)
    everything = _share("any", maps_BHW, masks_BHW > 0, named)
    return [everything, *shown] if everything else shown


def _share(
    name: str, maps_BHW: NDArray[np.floating], mask_BHW: Flags, groups: Sequence[str | None]
) -> ClueShare | None:
    seen_B: Flags = np.asarray(mask_BHW.any(axis=(1, 2)) & maps_BHW.any(axis=(1, 2)))
    if not seen_B.any():
        return None
    mass_B, area_B, hit_B = clue_mass(maps_BHW[seen_B], mask_BHW[seen_B])
    seen_groups = [group for group, seen in zip(groups, seen_B, strict=True) if seen]
    # Neighbours in the list are of one drive and look alike: each photo is given a map from half the list away.
    others_BHW = np.roll(maps_BHW[seen_B], int(seen_B.sum()) // 2, axis=0)
    others_mass_B, _, others_hit_B = clue_mass(others_BHW, mask_BHW[seen_B])
    mass, mass_low, mass_high = mean_interval(mass_B, seen_groups)
    pointing, low, high = mean_interval(hit_B.astype(float), seen_groups)
    return ClueShare(
        clue=name,
        photos=int(seen_B.sum()),
        mass=mass,
        mass_interval=(mass_low, mass_high),
        area=float(area_B.mean()),
        pointing=pointing,
        pointing_interval=(low, high),
        others_mass=float(others_mass_B.mean()),
        others_pointing=float(others_hit_B.mean()),
    )


def clue_mass(maps_BHW: NDArray[np.floating], masks_BHW: Flags, *, tolerance: int = 8) -> tuple[Floats, Floats, Flags]:
    """Compare maps with the masks of the clues, photo by photo: three arrays of length B.

    `mass`: share of the map's mass that falls on the mask; 0 for a map that is zero everywhere.
    `area`: share of the picture that the mask covers, which is the mass an even map would have: chance.
    `hit`: the pointing game (Zhang et al., arXiv 1608.00507): the map's peak lies on the mask, or at most
    `tolerance` pixels from it.
    """
    total_B = maps_BHW.sum(axis=(1, 2), dtype=np.float64)
    inside_B = np.where(masks_BHW, maps_BHW, 0).sum(axis=(1, 2), dtype=np.float64)
    mass_B = np.divide(inside_B, total_B, out=np.zeros_like(total_B), where=total_B > 0)
    area_B = masks_BHW.mean(axis=(1, 2), dtype=np.float64)
    hits = [False] * len(maps_BHW)
    for at, (map_HW, mask_HW) in enumerate(zip(maps_BHW, masks_BHW, strict=True)):
        if mask_HW.any() and map_HW.any():
            row, column = np.unravel_index(map_HW.argmax(), map_HW.shape)
            rows, columns = np.nonzero(mask_HW)
            hits[at] = ((rows - row) ** 2 + (columns - column) ** 2).min() <= tolerance**2
    return mass_B, area_B, np.array(hits, np.bool_)


def _mask(uri: str, preprocess: Preprocess) -> NDArray[np.uint8]:
    """The mask as the model's crop sees it: labels are never blended."""
    with Image.open(uri) as mask:
        rows, columns = preprocess.size
        box = preprocess.crop_box(mask.height, mask.width)
        return np.asarray(mask.resize((columns, rows), Image.Resampling.NEAREST, box=box))
