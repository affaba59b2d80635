"""What stands between a decoded photo and the model, read from the bundle's config.json and nowhere else.

Nothing beyond the light install, so that training, exported models and the page share one implementation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whichland.images.decode import Box
from whichland.images.decode import Pixels as Pixels

Filter = Literal["bilinear", "bicubic"]
# Pillow's own and no faster one: libraries that round a weight to 16 bits let ties fall the other way, in up to one
# pixel of 25, and one answer of a hundred with them (docs/decisions/jpeg-scale.md). With how far they reach.
FILTERS: dict[Filter, tuple[Image.Resampling, int]] = {
    "bilinear": (Image.Resampling.BILINEAR, 1),
    "bicubic": (Image.Resampling.BICUBIC, 2),
}


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Resize, crop and normalise as the model expects it at test time."""

    size: tuple[int, int]  # height, width in pixels
    mean: tuple[float, float, float]  # of RGB in [0, 1]
    std: tuple[float, float, float]
    interpolation: Filter = "bilinear"
    crop_pct: float = 1.0  # short side of the crop over short side of the resized photo
    crop_mode: Literal["center", "squash"] = "center"

    @classmethod
    def from_config(cls, pretrained_cfg: Mapping[str, Any]) -> "Preprocess":
        """Read timm's `pretrained_cfg`; sizes and crops for test win over those for training."""
        _, height, width = pretrained_cfg.get("test_input_size") or pretrained_cfg["input_size"]
        interpolation = pretrained_cfg.get("interpolation", "bicubic")
        return cls(
            size=(height, width),
            mean=tuple(pretrained_cfg["mean"]),
            std=tuple(pretrained_cfg["std"]),
            interpolation=interpolation if interpolation in FILTERS else "bicubic",
            crop_pct=pretrained_cfg.get("test_crop_pct") or pretrained_cfg.get("crop_pct") or 1.0,
            crop_mode="squash" if pretrained_cfg.get("crop_mode") == "squash" else "center",
        )

    @property
    def short_side(self) -> int:
        """Short side, in pixels, below which a photo would have to be enlarged."""
        return round(max(self.size) / self.crop_pct)

    def crop_box(self, height: int, width: int) -> Box:
        """The part of an H×W photo that the model sees: left, top, right, bottom in the photo's pixels.

        As timm's transform for evaluation: the photo is resized to whole pixels, and cut at whole pixels of that.
        """
        (rows, columns), (high, wide) = self.size, (floor(side / self.crop_pct) for side in self.size)
        if self.crop_mode == "center" and high == wide:  # torchvision's Resize, timm's ResizeKeepRatio
            high, wide = max(high, int(high * height / width)), max(wide, int(wide * width / height))
        elif self.crop_mode == "center":
            scale = min(height / high, width / wide)
            high, wide = round(height / scale), round(width / scale)
        top, left = round((high - rows) / 2), round((wide - columns) / 2)
        down, across = height / high, width / wide
        return left * across, top * down, (left + columns) * across, (top + rows) * down

    def crop(self, image: Pixels, box: Box | None = None) -> Pixels:
        """Resize `box` of a photo (by default what `crop_box` says) to `size`: H×W×3 uint8, antialiased.

        Across, then down: Pillow takes another order for some tall photos since version 13, which is rounded otherwise.
        """
        (rows, columns), (resampling, reach) = self.size, FILTERS[self.interpolation]
        left, top, right, bottom = box or self.crop_box(*image.shape[:2])
        further = reach * max(1.0, (bottom - top) / rows)  # pixels that the filter reads above and below
        first, last = max(0, floor(top - further)), min(len(image), ceil(bottom + further))
        read = Image.fromarray(image[first:last])
        narrow = read.resize((columns, last - first), resampling, box=(left, 0, right, last - first))
        return np.asarray(narrow.resize((columns, rows), resampling, box=(0, top - first, columns, bottom - first)))

    def normalise(self, batch_BHWC: Pixels) -> NDArray[np.float32]:
        """Turn uint8 B×H×W×3 into float32 B×3×H×W with the model's mean and deviation."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        scaled: NDArray[np.float32] = (batch_BHWC.astype(np.float32) / np.float32(255) - mean) / std
        return scaled.transpose(0, 3, 1, 2)
