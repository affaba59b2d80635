"""Sixteen models on a graphics card, training and answering: ours beside fastai and timm, and what the card can do.

    .venv/bin/python benchmarks/run.py gpu                 # with the peers, see run.py
    .venv/bin/python benchmarks/gpu.py --quick             # two models, also without a card: does it run?

Training goes from 800×800 JPEGs, as in benchmarks/train.py: fastai as it comes, with crops per batch, and ours with all
learning. Answering goes from crops in memory, batches of 256: timm's model in fp32, and the network as `whichland`
runs it. All in turns; "of the card" is the share of the best bf16 matrix product's rate that our training reaches. The
models are those of recipes/seed000.toml. Prints a Markdown table.
"""

import argparse
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import timm
import torch

from train import COUNTRIES, Apart, OurParty, fastai_party, machine_rates, make_photos
from whichland.allocator import keep_freed_memory
from whichland.images.preprocess import Preprocess
from whichland.model.engines import best_device, torch_network

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "seed000.toml"
OTHER_SIZE = "swin"  # takes one size alone, which is not that of benchmarks/train.py
QUICK = ("resnet18", "vit_tiny_patch16_224")


def models() -> list[str]:
    """The recipe's architectures, in its order."""
    recipe = tomllib.loads(RECIPE.read_text(encoding="utf-8"))
    return [model["arch"].partition(".")[0] for model in recipe["grid"]["model"]]


def answering(arch: str, device: torch.device, batch: int, seconds: float) -> dict[str, float]:
    """Crops a second of timm's model in fp32 and of ours, in turns on a device."""
    theirs, own = (timm.create_model(arch, num_classes=len(COUNTRIES)).eval().to(device) for _ in range(2))
    preprocess = Preprocess.from_config(theirs.pretrained_cfg)
    crops_BHWC = np.random.default_rng(0).integers(0, 256, (batch, *preprocess.size, 3), dtype=np.uint8)
    x_BCHW = torch.from_numpy(np.ascontiguousarray(preprocess.normalise(crops_BHWC))).to(device)
    bundle: Any = SimpleNamespace(model=own, preprocess=preprocess)
    network = torch_network(bundle)

    @torch.inference_mode()
    def in_timm() -> object:
        return theirs(x_BCHW).cpu()

    ways: dict[str, Callable[[], object]] = {"timm": in_timm, "ours": lambda: network(crops_BHWC)}
    best = dict.fromkeys(ways, 0.0)
    for way in ways.values():
        way()
    for _ in range(3):
        for name, way in ways.items():
            begun, runs = time.perf_counter(), 0
            while time.perf_counter() - begun < seconds:
                way()
                runs += 1
            best[name] = max(best[name], runs * batch / (time.perf_counter() - begun))
    return best


def training(arch: str, photos: int, turns: int) -> dict[str, float]:
    """Photos a second of fastai and of ours, in turns, and the operations a second that ours comes to."""
    with tempfile.TemporaryDirectory() as place:
        uris, manifest = make_photos(Path(place), photos)
        ours = OurParty(manifest, Path(place) / "run", arch, "full", 2)
        fastai = Apart(fastai_party, arch, uris, per_item=False)
        rates = [(fastai(), ours()) for _ in range(turns)]
        fastai.end()
        theirs, own = map(max, zip(*rates, strict=True))
        return {"fastai": theirs, "ours": own, "flops": own * ours.flops()}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two models, few photos")
    parser.add_argument("--photos", type=int, default=2048, help="to train on")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    if find_spec("fastai") is None:
        print("gpu: its peer fastai is not installed; `make bench-gpu` does that", file=sys.stderr)
        sys.exit(2)
    keep_freed_memory()
    device = best_device()
    limit = machine_rates(device)["matmul"]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "no card, on the processor"
    print(f"{name}: {limit / 1e12:.1f} Tflop/s of bf16 matrix products\n")
    print("| model | training: fastai | ours | × | of the card | answering: timm | ours | × |\n|" + "---|" * 8)
    for arch in QUICK if given.quick else models():
        cells = ["–"] * 4
        if not arch.startswith(OTHER_SIZE):
            trained = training(arch, 64 if given.quick else given.photos, 1 if given.quick else given.turns)
            times, share = trained["ours"] / trained["fastai"], trained["flops"] / limit
            cells = [f"{trained['fastai']:,.1f}", f"{trained['ours']:,.1f}", f"{times:.2f}", f"{share:.0%}"]
        on_card = device.type == "cuda"
        answered = answering(arch, device, 256 if on_card else 8, 2.0 if on_card else 0.5)
        cells += [f"{answered['timm']:,.1f}", f"{answered['ours']:,.1f}", f"{answered['ours'] / answered['timm']:.2f}"]
        print(f"| {arch} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
