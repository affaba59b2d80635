"""On the synthetic world, where the clues' places are known: how much of the heat falls on them?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from whichland.explain.faithfulness import clue_mass
from whichland.explain.gradcam import gradcam
from whichland.images.decode import load
from whichland.images.preprocess import Preprocess
from whichland.model.bundle import Bundle
from whichland.sources.synthetic.clues import CLUES, NAMES

BATCH = 32


@dataclass(frozen=True, kw_only=True)
class ClueShare:
    """Of the photos that show a clue: how much heat falls on it, and how much an even map would put there."""

    clue: str  # "any" for all clues together
    photos: int
    mass: float  # mean share of the map's mass on the clue
    area: float  # mean share of the picture that it covers: chance
    pointing: float  # share of photos whose hottest point lies on the clue, or within 8 pixels

    @property
    def gain(self) -> float:
        """How many times more heat than chance."""
        return self.mass / self.area


def clue_shares(bundle: Bundle, uris: Sequence[str], mask_uris: Sequence[str]) -> list[ClueShare]:
    """Grad-CAM of the top guess against the masks, clue by clue, the most sought first; "any" stands on top."""
    maps, masks = [], []
    for start in range(0, len(uris), BATCH):
        crops = np.stack([bundle.preprocess.crop(load(uri)) for uri in uris[start : start + BATCH]])
        maps.append(gradcam(bundle.model, torch.from_numpy(bundle.preprocess.normalise(crops))).numpy())
        masks.append(np.stack([_mask(uri, bundle.preprocess) for uri in mask_uris[start : start + BATCH]]))
    maps_BHW, masks_BHW = np.concatenate(maps), np.concatenate(masks)
    found = [_share(NAMES[value], maps_BHW, masks_BHW == value) for value in CLUES.values() if value]
    shown = sorted((share for share in found if share is not None), key=lambda share: -share.gain)
    everything = _share("any", maps_BHW, masks_BHW > 0)
    return [everything, *shown] if everything else shown


def _share(name: str, maps_BHW: np.ndarray, mask_BHW: np.ndarray) -> ClueShare | None:
    seen_B = mask_BHW.any(axis=(1, 2)) & maps_BHW.any(axis=(1, 2))
    if not seen_B.any():
        return None
    mass_B, area_B, hit_B = clue_mass(maps_BHW[seen_B], mask_BHW[seen_B])
    return ClueShare(
        clue=name,
        photos=int(seen_B.sum()),
        mass=float(mass_B.mean()),
        area=float(area_B.mean()),
        pointing=float(hit_B.mean()),
    )


def _mask(uri: str, preprocess: Preprocess) -> np.ndarray:
    """The mask as the model's crop sees it: labels are never blended."""
    with Image.open(uri) as mask:
        rows, columns = preprocess.size
        box = preprocess.crop_box(mask.height, mask.width)
        return np.asarray(mask.resize((columns, rows), Image.Resampling.NEAREST, box=box))
