"""What stands between a decoded photo and the model, read from the bundle's config.json and nowhere else.

Only numpy and the resampler, so that training, exported models and the page share one implementation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whichland.images.resample import FILTERS, Box, Filter, resample
from whichland.images.resample import Pixels as Pixels


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
        """Resize `box` of a photo (by default what `crop_box` says) to `size`: H×W×3 uint8, antialiased."""
        rows, columns = self.size
        return resample(image, (columns, rows), self.interpolation, box or self.crop_box(*image.shape[:2]))

    def normalise(self, batch_BHWC: Pixels) -> NDArray[np.float32]:
        """Turn uint8 B×H×W×3 into float32 B×3×H×W with the model's mean and deviation."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        scaled: NDArray[np.float32] = (batch_BHWC.astype(np.float32) / np.float32(255) - mean) / std
        return scaled.transpose(0, 3, 1, 2)
