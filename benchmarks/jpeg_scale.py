"""What scaling JPEGs while they are decoded does to answers, beside full decoding and timm's own transform.

    .venv/bin/python benchmarks/jpeg_scale.py DATA/compressed_dataset --weights W --json FILE
    .venv/bin/python benchmarks/jpeg_scale.py DATA/compressed_dataset --weights W --tiles 4 --photos 64 --sizes 112:1
    .venv/bin/python benchmarks/jpeg_scale.py DATA/compressed_dataset --bundle BUNDLE --factors 4

MobileNetV2 with its own classifier (ImageNet's 1,000 classes, of which a street has many that are nearly as likely), or
the model of `--bundle` at its own size, looks at `--photos` photos (.jpg, at any depth), at each input size and share
of the centre: once through Pillow and timm's transform, then through ours with the decoder scaling as long as
`--factors` times the pixels needed are left.
With `--tiles` the photos are mosaics of so many photos across and down: large, if odd, pictures.
Said of each: by what the photos were scaled, how many first guesses differ from timm's, how far probabilities move
(largest, and mean of each photo's largest), and photos that a second of processor time decodes and crops.
"""

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

from whichland.images import decode as decoding
from whichland.images.photo import open_photo
from whichland.images.preprocess import Preprocess
from whichland.model.engines import load_torch
from whichland.model.views import cut_views

SIZES = "224:1,192:0.875,112:1,96:0.875,64:0.875"
NEVER = 1_000  # times the pixels that are needed; no photo has so many


@torch.inference_mode()
def answered(
    model: torch.nn.Module, way: Callable[[Path], torch.Tensor], photos: list[Path]
) -> tuple[NDArray[np.float32], float]:
    """Probabilities of photos, N×1000, and the seconds of processor time that `way` took to make their crops."""
    found, seconds = [], 0.0
    for at in range(0, len(photos), 32):
        begin = time.process_time()
        crops = [way(photo) for photo in photos[at : at + 32]]
        seconds += time.process_time() - begin
        found.append(model(torch.stack(crops)).softmax(1).numpy())
    return np.concatenate(found), seconds


def as_timm(transform: Any, photo: Path) -> torch.Tensor:
    """A crop as timm's data set and transform give it."""
    with Image.open(photo) as image:
        crop: torch.Tensor = transform(image.convert("RGB"))
    return crop


def as_ours(preprocess: Preprocess, photo: Path) -> torch.Tensor:
    """A crop as whichland gives it."""
    crops = cut_views(open_photo(photo), preprocess, views="one").crops
    return torch.from_numpy(preprocess.normalise(crops[0][None])[0])


def imagenet(side: str, crop: str) -> dict[str, Any]:
    """What stands in a pretrained_cfg for MobileNetV2's weights at a size and share of the centre."""
    cfg = {"input_size": (3, int(side), int(side)), "interpolation": "bicubic", "crop_pct": float(crop)}
    return cfg | {"mean": (0.5,) * 3, "std": (0.5,) * 3}


def scales_of(photos: list[Path], preprocess: Preprocess) -> str:
    """By what the photos are scaled while they are decoded, such as "2" or "1 or 2"."""
    found: Counter[int] = Counter()
    for photo in photos[:50]:
        opened = open_photo(photo)
        found[round(min(opened.size) / min(opened.decode(preprocess.short_side).shape[:2]))] += 1
    return " or ".join(map(str, sorted(found)))


def mosaics(photos: list[Path], folder: Path, count: int, tiles: int) -> list[Path]:
    """Write pictures of `tiles` × `tiles` photos each, drawn at random, as JPEG."""
    choose = random.Random(1)
    for number in range(count):
        drawn = [np.asarray(Image.open(choose.choice(photos)).convert("RGB")) for _ in range(tiles**2)]
        rows = [np.concatenate(drawn[at : at + tiles], axis=1) for at in range(0, tiles**2, tiles)]
        Image.fromarray(np.concatenate(rows)).save(folder / f"{number:04}.jpg", quality=92)
    return sorted(folder.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, help="MobileNetV2's, as .safetensors")
    parser.add_argument("--bundle", type=Path, help="instead of MobileNetV2 with ImageNet's classes")
    parser.add_argument("--sizes", default=SIZES, help="input sizes in pixels, each with timm's crop_pct")
    parser.add_argument("--factors", default="1,2,3,4,8,never", help="times the pixels needed that are left")
    parser.add_argument("--photos", default=500, type=int)
    parser.add_argument("--tiles", default=1, type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.bundle:
        model, own = load_torch(options.bundle).model, json.loads((options.bundle / "config.json").read_text())
        cfgs = [own["pretrained_cfg"]]
    else:
        model = timm.create_model("mobilenetv2_100", pad_type="same").eval()
        model.load_state_dict(load_file(options.weights))
        cfgs = [imagenet(*one.split(":")) for one in options.sizes.split(",")]
    photos = sorted(options.folder.rglob("*.jpg"))
    random.Random(0).shuffle(photos)
    scratch = TemporaryDirectory()
    if options.tiles > 1:
        photos = mosaics(photos, Path(scratch.name), options.photos, options.tiles)
    photos = photos[: options.photos]
    rows = []
    for cfg in cfgs:
        preprocess = Preprocess.from_config(cfg)
        side, crop = preprocess.size[0], preprocess.crop_pct
        said = {"input_size": (3, *preprocess.size), "interpolation": preprocess.interpolation, "crop_pct": crop}
        said |= {"mean": preprocess.mean, "std": preprocess.std}
        theirs = None
        for factor in ("timm", *options.factors.split(",")):
            decoding.FINER = int(factor) if factor.isdecimal() else NEVER
            transform = timm.data.create_transform(**said, is_training=False)
            way = partial(as_timm, transform) if factor == "timm" else partial(as_ours, preprocess)
            found, seconds = answered(model, way, photos)
            speed = len(photos) / seconds
            theirs = found if theirs is None else theirs
            moved = np.abs(found - theirs).max(axis=1)
            row = {"size": side, "crop_pct": crop, "way": "timm" if factor == "timm" else f"ours, {factor}"}
            row["scaled"] = "1" if factor == "timm" else scales_of(photos, preprocess)
            row |= {"differ": int((found.argmax(1) != theirs.argmax(1)).sum()), "of": len(photos)}
            row |= {"largest": float(moved.max()), "mean": float(moved.mean()), "photos_a_second": speed}
            rows.append(row)
            differ = f"{row['differ']:>3} of {row['of']} ({row['differ'] / row['of']:5.1%})"
            print(f"{side:>4} of {crop:<5g} {row['way']:<12} 1/{row['scaled']:<7} differ {differ}  moved", end=" ")
            print(f"{row['largest']:.4f} at most, {row['mean']:.5f} mean {speed:7.0f} photos/s", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
