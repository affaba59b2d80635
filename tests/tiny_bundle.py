"""A real bundle with a tiny timm model, and photos to show it: what the tests of prediction share."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from saved_bundle import save_bundle
from whichland.model import backbone

LABELS = ("DE", "FR", "JP", "NA", "NO", "US", "ZA")


def make_bundle(folder: Path, labels: tuple[str, ...] = LABELS, **info: object) -> Path:
    """A `test_resnet` whose head starts at random, but the same at each call, with visible preferences."""
    torch.manual_seed(0)
    made = backbone.create("test_resnet", len(labels), weights="none", size=64)
    torch.nn.init.normal_(made.model.get_submodule("fc").weight, std=1.0)
    return save_bundle(folder, made, labels=labels, version="0.1.0", **info)


def pixels(seed: int, height: int = 72, width: int = 96) -> np.ndarray:
    """A smooth picture that differs from seed to seed."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def make_photos(folder: Path, count: int, *, suffix: str = ".jpg", first: int = 0) -> list[Path]:
    """Write `count` photos of different sizes; return their paths in name order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed in range(first, first + count):
        path = folder / f"photo_{seed:04}{suffix}"
        Image.fromarray(pixels(seed, width=96 + seed % 7)).save(path)
        paths.append(path)
    return paths
