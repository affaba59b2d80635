"""Square patches of what a model sees: where they lie, how they are blurred away, and how they are pasted.

All pixels here are those of the model's input (`Preprocess.crop`), H×W×3 uint8; a place is the upper left corner
and the side of a square in them. A patch is laid over a photo with soft edges, so that its outline is no clue.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from whichland.images.preprocess import Pixels, Preprocess
from whichland.model.bundle import Bundle

EDGE = 1 / 5  # of the side that fades out, on each side of a patch
BATCH = 64

Floats = NDArray[np.float32]
LogOdds = Callable[[Pixels], Floats]  # crops B×H×W×3 -> log odds B×K


@dataclass(frozen=True)
class Square:
    """A square in the model's input, in pixels."""

    top: int
    left: int
    side: int

    @property
    def rows(self) -> slice:
        return slice(self.top, self.top + self.side)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.left + self.side)

    def overlap(self, other: "Square") -> float:
        """Share of the smaller of both squares that the other covers."""
        high = min(self.top + self.side, other.top + other.side) - max(self.top, other.top)
        wide = min(self.left + self.side, other.left + other.side) - max(self.left, other.left)
        return max(high, 0) * max(wide, 0) / min(self.side, other.side) ** 2

    def cut(self, crop_HWC: Pixels) -> Pixels:
        """The pixels of a crop at this place."""
        return crop_HWC[self.rows, self.columns]


def soft_edges(side: int) -> Floats:
    """How much a patch covers what is under it: side×side, 1 in the middle, falling to nearly 0 at the rim."""
    reach = max(1.0, side * EDGE)
    distance = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5)
    ramp = (0.5 - 0.5 * np.cos(np.pi * np.minimum(distance / reach, 1))).astype(np.float32)
    cover: Floats = np.minimum.outer(ramp, ramp)
    return cover


def paste(crop_HWC: Pixels, patch_SSC: Pixels, place: Square) -> Pixels:
    """Lay a patch over a crop at `place`, blended at its edges; the crop itself is left as it was."""
    cover = soft_edges(place.side)[..., None]
    pasted = crop_HWC.copy()
    under = place.cut(crop_HWC)
    pasted[place.rows, place.columns] = np.rint(under * (1 - cover) + patch_SSC * cover)
    return pasted


def blurred(crop_HWC: Pixels, radius: float) -> Pixels:
    """A crop with what is smaller than `radius` pixels smoothed away."""
    return np.asarray(Image.fromarray(crop_HWC).filter(ImageFilter.GaussianBlur(radius)))


def sides(preprocess: Preprocess, scales: Sequence[float]) -> list[int]:
    """Sides in pixels of patches that take these shares of the input's short side."""
    return [max(4, round(scale * min(preprocess.size))) for scale in scales]


def log_odds(bundle: Bundle) -> LogOdds:
    """The model as a function from crops to log odds: of each country against all others together, B×K.

    Natural logarithms, at the bundle's temperature. The model runs in bf16 where the device computes in it:
    thousands of crops are compared with each other, and its rounding is far below what a patch does.
    """
    device = next(bundle.model.parameters()).device
    temperature = bundle.temperature
    fast = device.type == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported()

    @torch.inference_mode()
    def score(crops_BHWC: Pixels) -> Floats:
        found = []
        for start in range(0, len(crops_BHWC), BATCH):
            x_BCHW = torch.from_numpy(bundle.preprocess.normalise(crops_BHWC[start : start + BATCH]))
            with torch.autocast(device.type, torch.bfloat16, enabled=fast):
                logits_BK = bundle.model(x_BCHW.to(device))
            found.append(_against_the_rest(logits_BK.double() / temperature).cpu())
        return torch.cat(found).float().numpy()

    return score


def _against_the_rest(logits_BK: torch.Tensor) -> torch.Tensor:
    """Logit of each class less the log of the sum over the others: finite however sure the model is."""
    own_KK = torch.eye(logits_BK.shape[1], dtype=torch.bool, device=logits_BK.device)
    others_BKK = logits_BK[:, None, :].masked_fill(own_KK, -torch.inf)
    return logits_BK - others_BKK.logsumexp(dim=2)


def hot_places(map_HW: Floats, side: int, most: int) -> list[Square]:
    """The places of one size where a map is highest, half a side apart or more, hottest first, at most `most`.

    Only places with at least half of the hottest one's heat; none for a map that is zero everywhere.
    """
    height, width = map_HW.shape
    step = max(1, side // 4)
    total = np.pad(map_HW, ((1, 0), (1, 0))).cumsum(0, dtype=np.float64).cumsum(1)
    tops, lefts = np.arange(0, height - side + 1, step), np.arange(0, width - side + 1, step)
    high, wide = np.ix_(tops, lefts)
    heat = total[high + side, wide + side] - total[high, wide + side] - total[high + side, wide] + total[high, wide]
    chosen: list[Square] = []
    for at in np.argsort(-heat, axis=None, kind="stable"):
        row, column = divmod(int(at), len(lefts))
        if len(chosen) == most or heat[row, column] <= heat.max() / 2:
            break
        place = Square(int(tops[row]), int(lefts[column]), side)
        if all(place.overlap(other) <= 0.5 for other in chosen):
            chosen.append(place)
    return chosen


def corners(size: tuple[int, int], side: int) -> list[Square]:
    """The four places of one size in the corners of a picture of that height and width."""
    height, width = size
    return [Square(top, left, side) for top in (0, height - side) for left in (0, width - side)]


def gains(score: LogOdds, crop_HWC: Pixels, places: Sequence[Square], label: int) -> Floats:
    """How much the log odds of a label fall when each place is blurred away: one number a place."""
    smooth = {side: blurred(crop_HWC, side / 2) for side in {place.side for place in places}}
    without = [paste(crop_HWC, place.cut(smooth[place.side]), place) for place in places]
    probabilities = score(np.stack([crop_HWC, *without]))[:, label]
    lost: Floats = probabilities[0] - probabilities[1:]
    return lost
