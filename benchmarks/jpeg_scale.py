"""What scaling JPEGs while they are decoded does to answers, beside full decoding and timm's own transform.

    .venv/bin/python benchmarks/jpeg_scale.py DATA/compressed_dataset --weights W --json FILE
    .venv/bin/python benchmarks/jpeg_scale.py LARGE --tiles 700 --train 0 --head FILE.npz --sizes 224 --weights W

The photos (.jpg) lie in a folder a country. A logistic regression on MobileNetV2's features, under timm's transform,
of `--train` photos answers for `--test` others, at each input size: once under timm's transform of what Pillow decodes,
then under ours with the decoder scaling as long as 1, 2, 3 or 4 times the pixels needed are left, and never. Said of
each: how many photos were scaled, how many first guesses differ from timm's, how far probabilities move (largest, and
mean of each photo's largest), and photos a second of decoding and cropping on one thread.
"""

import argparse
import json
import random
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression

from whichland.images import decode as decoding
from whichland.images.preprocess import Preprocess

FACTORS = (1, 2, 3, 4, None)
SEED = 0
Floats = NDArray[np.floating[Any]]


def photos_in(folder: Path, train: int, test: int, least: int) -> tuple[list[Path], list[Path]]:
    """Photos to train on and others to test on, in a random order, of countries with `least` photos or more."""
    by_country = {country: sorted(country.glob("*.jpg")) for country in sorted(folder.iterdir()) if country.is_dir()}
    photos = [photo for some in by_country.values() if len(some) >= least for photo in some]
    random.Random(SEED).shuffle(photos)
    return photos[test : test + train], photos[:test]


def network(weights: Path) -> torch.nn.Module:
    """MobileNetV2 without its classifier."""
    model = timm.create_model("mobilenetv2_100", pad_type="same")
    model.load_state_dict(load_file(weights))
    model.reset_classifier(0)
    return model.eval()


@torch.inference_mode()
def features_of(model: torch.nn.Module, crops: list[torch.Tensor]) -> Floats:
    """Features of normalised crops, 3×H×W each."""
    return np.concatenate([model(torch.stack(crops[at : at + 32])).numpy() for at in range(0, len(crops), 32)])


def as_timm(transform: Any, photo: Path) -> torch.Tensor:
    """A crop as timm's data set and transform give it."""
    with Image.open(photo) as image:
        crop: torch.Tensor = transform(image.convert("RGB"))
    return crop


def as_ours(preprocess: Preprocess, factor: int | None, photo: Path) -> torch.Tensor:
    """A crop as whichland gives it, the decoder scaling as long as `factor` times the pixels are left."""
    decoding.FINER = factor or 1
    pixels = decoding.decode(photo.read_bytes(), short_side=preprocess.short_side if factor else None)
    return torch.from_numpy(preprocess.normalise(preprocess.crop(pixels)[None])[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="MobileNetV2's, as .safetensors")
    parser.add_argument("--sizes", default="96,112,160,192,224", help="input sizes, pixels")
    parser.add_argument("--crop", default=0.875, type=float, help="timm's crop_pct")
    parser.add_argument("--train", default=1500, type=int)
    parser.add_argument("--test", default=500, type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = network(options.weights)
    train, test = photos_in(options.folder, options.train, options.test, least=60)
    found = []
    for size in map(int, options.sizes.split(",")):
        cfg = {"input_size": (3, size, size), "interpolation": "bicubic", "mean": (0.5,) * 3, "std": (0.5,) * 3}
        cfg |= {"crop_pct": options.crop}
        preprocess = Preprocess.from_config(cfg)
        transform = timm.data.create_transform(**cfg, is_training=False)
        head = LogisticRegression(max_iter=200, C=0.01)
        ways = {"timm": partial(as_timm, transform)}
        ways |= {f"ours, {factor or 'never'}": partial(as_ours, preprocess, factor) for factor in FACTORS}
        head.fit(features_of(model, [ways["timm"](photo) for photo in train]), [photo.parent.name for photo in train])
        truth = np.array([photo.parent.name for photo in test])
        for name, way in ways.items():
            begin = time.perf_counter()
            crops = [way(photo) for photo in test]
            speed = len(test) / (time.perf_counter() - begin)
            probabilities = head.predict_proba(features_of(model, crops))
            if name == "timm":
                theirs = probabilities
            moved = np.abs(probabilities - theirs).max(axis=1)
            guess = probabilities.argmax(axis=1)
            row = {
                "size": size,
                "way": name,
                "right": float((head.classes_[guess] == truth).mean()),
                "differ": int((guess != theirs.argmax(axis=1)).sum()),
                "of": len(test),
                "largest": float(moved.max()),
                "mean": float(moved.mean()),
                "photos_per_second": speed,
            }
            found.append(row)
            print(
                f"{size:>4} {name:<12} right {row['right']:6.1%}  differ {row['differ']:>3} of {row['of']} "
                f"({row['differ'] / row['of']:5.1%})  moved {row['largest']:.3f} at most, {row['mean']:.4f} mean "
                f"{speed:7.0f} photos/s",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
