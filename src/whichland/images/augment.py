"""Random crops and light changes for training: geometry per photo on the CPU, colour per batch on the device.

Every draw comes from a generator seeded by (seed, epoch, position), so the result does not depend on how many
processes or threads prepare the batch, nor on where an interrupted run was taken up again.
"""

from dataclasses import dataclass
from math import ceil, exp, log, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from whichland.images.decode import decode

LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One photo's random numbers."""

    area: float  # of the crop, as a share of the largest crop of the target's shape
    ratio: float  # stretch of the crop's width over its height, 1: none
    x: float  # place of the crop, 0 left … 1 right
    y: float  # 0 top … 1 bottom
    flip: bool
    light: tuple[float, float, float] = (1.0, 1.0, 1.0)  # factors of brightness, contrast and saturation


@dataclass(frozen=True, kw_only=True)
class Augment:
    """What may happen to a training photo; flipping is off because it swaps the driving side and mirrors text."""

    size: tuple[int, int]  # height, width
    min_area: float = 0.35
    max_stretch: float = 4 / 3
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.0
    flip: bool = False

    def draw(self, *key: int) -> Draw:
        """Draw the random numbers that belong to `key`, say (seed, epoch, position)."""
        u = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key))).random(8)
        stretch = log(self.max_stretch)
        return Draw(
            area=self.min_area + (1 - self.min_area) * u[0],
            ratio=exp(stretch * (2 * u[1] - 1)),
            x=u[2],
            y=u[3],
            flip=self.flip and u[4] < 0.5,
            light=(
                1 + self.brightness * (2 * u[5] - 1),
                1 + self.contrast * (2 * u[6] - 1),
                1 + self.saturation * (2 * u[7] - 1),
            ),
        )

    def crop(self, data: bytes, draw: Draw) -> Tensor:
        """Decode a photo no larger than the crop needs, cut and resize it: uint8 H×W×3."""
        return self.cut(decode(data, short_side=self.needed(draw)), draw)

    def needed(self, draw: Draw) -> int:
        """Short side in pixels below which the photo would have to be enlarged for this crop."""
        return ceil(max(self.size) / min(*_stretches(draw), 1.0))

    @property
    def most_needed(self) -> int:
        """Short side in pixels from which no crop that can be drawn has to be enlarged."""
        smallest = sqrt(self.min_area / max(self.max_stretch, 1 / self.max_stretch))
        return ceil(max(self.size) / smallest)

    def cut(self, image_HWC: NDArray[np.uint8], draw: Draw) -> Tensor:
        """Cut and resize a decoded photo: uint8 H×W×3.

        As torchvision's RandomResizedCrop (Inception's), except that areas count from the largest crop of the
        target's shape that fits, so that wide photos and panoramas give crops of the same scale as square ones.
        """
        rows, columns = self.size
        height, width = image_HWC.shape[:2]
        scale = min(height / rows, width / columns)
        stretch_h, stretch_w = _stretches(draw)
        box_h = min(round(rows * scale * stretch_h), height)
        box_w = min(round(columns * scale * stretch_w), width)
        top, left = round((height - box_h) * draw.y), round((width - box_w) * draw.x)
        part = torch.from_numpy(np.ascontiguousarray(image_HWC[top : top + box_h, left : left + box_w]))
        if draw.flip:
            part = part.flip(1)
        return resize(part, self.size)


def _stretches(draw: Draw) -> tuple[float, float]:
    """Height and width of the crop as shares of the largest crop's."""
    side = sqrt(draw.area)
    return side / sqrt(draw.ratio), side * sqrt(draw.ratio)


def resize(image_HWC: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a uint8 H×W×3 tensor, bilinear and antialiased, without leaving uint8."""
    # A channels-last view takes torch's vectorised uint8 path.
    view = image_HWC.permute(2, 0, 1).unsqueeze(0)
    return interpolate(view, size=size, mode="bilinear", antialias=True)[0].permute(1, 2, 0)


def colour(
    batch_BHWC: Tensor, light_B3: NDArray[np.float32], mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Tensor:
    """Change the light, then normalise: uint8 B×H×W×3 to float B×3×H×W.

    `light_B3` holds factors (see Draw.light): of brightness; of contrast, about each photo's mean; and of
    saturation, about each pixel's grey (the luma of ITU-R BT.601).
    """
    device, (photos, rows, columns, _) = batch_BHWC.device, batch_BHWC.shape
    # One multiplication and one addition a stage, over long rows: numbers in threes would not be vectorised.
    x = batch_BHWC.to(torch.float32).view(photos, rows, columns * 3)
    bright, factor, vivid = torch.from_numpy(light_B3).to(device).view(photos, 3, 1, 1).unbind(1)
    centre = x.mean(dim=(1, 2), keepdim=True).div_(255)
    x = x.mul_(factor * bright / 255).add_(centre * (1 - factor) * bright)
    if (light_B3[:, 2] != 1).any():
        grey = x.view(photos, rows, columns, 3) @ torch.tensor(LUMA, device=device)
        x = x.mul_(vivid).add_(grey.mul_(1 - vivid).repeat_interleave(3, dim=2))
    x = x.clamp_(0, 1)
    means, deviations = (torch.tensor(three, device=device).repeat(columns) for three in (mean, std))
    x = x.sub_(means).div_(deviations)
    return x.view(photos, rows, columns, 3).permute(0, 3, 1, 2)
