"""Training speed beside the field's loops, from 800×800 JPEGs, and its distance from what the machine can do.

    .venv/bin/python benchmarks/train.py --arch resnet18 --json FILE
    .venv/bin/python benchmarks/train.py --arch vit_small_patch16_224 --json FILE

In turns in one run: fastai with RandomResizedCropGPU on batches of whole photos; fastai with RandomResizedCrop
per item; a plain PyTorch loop with torchvision's transforms; ours with all learning, with the front frozen, and
with the head alone. Each is timed from the end of its first step to the end of its last, so starting workers,
validation and our cache do not count; what the cache costs once is told beside. Ours keeps the memory that it
frees (see whichland.allocator); each peer runs in a process of its own, as it comes, and fastai once more with
that setting of ours, to tell what is owed to it. All have two workers; the peers compute in fp32, as they do by
default, ours in bf16 where the machine has it. Needs the peers of benchmarks/requirements.lock.

--profile tells where the time of our full loop goes: decoding and cropping alone, a step alone, and the loop.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from whichland.allocator import keep_freed_memory
from whichland.manifest import Manifest, write
from whichland.model.freezing import train_mode
from whichland.training.config import TrainConfig
from whichland.training.fit import Fit
from whichland.training.run import prepare

COUNTRIES = ("AU", "BR", "DE", "JP", "US")
BATCH = 32
SIZE = 224
FASTAI_BATCH, FASTAI_ITEM, PLAIN = "fastai, crops per batch", "fastai, crops per item", "plain PyTorch loop"
FASTAI_KEPT = f"{FASTAI_ITEM}, freed memory kept"
OURS = {"full": "none", "front": "front", "head": "backbone"}  # freezing policies
EPOCHS = {"full": 1, "front": 2, "head": 40}  # a turn's; short ones are repeated to be timed well


def make_photos(folder: Path, count: int) -> tuple[list[str], Path]:
    """Write photos that compress like street scenes, and their manifest."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(count + 5):
        layers = [
            np.asarray(Image.fromarray(generator.integers(0, 255, (side, side, 3), dtype=np.uint8)).resize((800, 800)))
            for side in (5, 40, 400)
        ]
        pixels = sum(weight * layer.astype(np.float32) for weight, layer in zip((0.6, 0.3, 0.1), layers, strict=True))
        path = folder / f"{number:04}.jpg"
        Image.fromarray(pixels.astype(np.uint8)).save(path, quality=90)
        split = "train" if number < count else "val"
        country = COUNTRIES[number % len(COUNTRIES)]
        rows.append({"image_id": f"b/{number:04}", "uri": str(path), "source": "b", "country": country, "split": split})
    frame = pl.DataFrame(rows).with_columns(drop_reason=pl.lit(None, dtype=pl.String))
    manifest = write(Manifest(frame), folder / "m.parquet")
    return [row["uri"] for row in rows[:count]], manifest


def rate(ends: list[float]) -> float:
    """Photos a second from the ends of steps, the first being the start."""
    return (len(ends) - 1) * BATCH / (ends[-1] - ends[0])


def fastai_party(arch: str, uris: list[str], *, per_item: bool) -> Callable[[], float]:
    from fastai.vision.all import (
        Callback,
        CategoryBlock,
        DataBlock,
        ImageBlock,
        IndexSplitter,
        Normalize,
        RandomResizedCrop,
        RandomResizedCropGPU,
        imagenet_stats,
        vision_learner,
    )

    ends: list[float] = []

    class Clock(Callback):
        def after_batch(self) -> None:
            if self.training:
                ends.append(time.perf_counter())

    normalise = Normalize.from_stats(*imagenet_stats)
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=list(COUNTRIES))),
        get_y=lambda uri: COUNTRIES[int(Path(uri).stem) % len(COUNTRIES)],
        splitter=IndexSplitter([0]),
        item_tfms=RandomResizedCrop(SIZE, min_scale=0.35) if per_item else None,
        batch_tfms=[normalise] if per_item else [RandomResizedCropGPU(SIZE, min_scale=0.35), normalise],
    )
    data = block.dataloaders([*uris, uris[0]], bs=BATCH, num_workers=2)
    learner = vision_learner(data, arch, pretrained=False, n_out=len(COUNTRIES), path=tempfile.mkdtemp())
    learner.unfreeze()

    def turn() -> float:
        ends.clear()
        with learner.no_bar(), learner.no_logging():
            learner.fit(1, cbs=Clock())
        return rate(ends)

    return turn


def plain_party(arch: str, uris: list[str]) -> Callable[[], float]:
    import timm
    from torchvision import transforms

    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIZE, scale=(0.35, 1)),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )

    class Photos(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(uris)

        def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
            return transform(Image.open(uris[number]).convert("RGB")), number % len(COUNTRIES)

    loader = torch.utils.data.DataLoader(Photos(), batch_size=BATCH, shuffle=True, num_workers=2)
    model = timm.create_model(arch, num_classes=len(COUNTRIES)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def turn() -> float:
        ends = []
        for x, targets in loader:
            loss = torch.nn.functional.cross_entropy(model(x), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            ends.append(time.perf_counter())
        return rate(ends)

    return turn


class Apart:
    """A peer in a process of its own, where memory is handled as the system does or, with `keep`, as ours does."""

    def __init__(
        self, make: Callable[..., Callable[[], float]], *args: object, keep: bool = False, **named: object
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=take_turns, args=(theirs, keep, make, args, named))
        self.process.start()
        theirs.close()  # so that its end is noticed here

    def __call__(self) -> float:
        try:
            self.pipe.send("turn")
            return self.pipe.recv()
        except (EOFError, OSError):
            print("train: a peer's process has ended; the reason stands above", file=sys.stderr)
            sys.exit(2)

    def end(self) -> None:
        self.pipe.close()
        self.process.join()


def take_turns(pipe, keep: bool, make: Callable[..., Callable[[], float]], args: tuple, named: dict) -> None:
    """What a peer's process does until its pipe is closed."""
    multiprocessing.set_start_method("fork", force=True)  # Linux's default, as its loader's workers expect
    if keep:
        keep_freed_memory()
    turn = make(*args, **named)
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        pipe.send(turn())


class OurParty:
    """Our own loop, an epoch or more a turn, timed by the lines of its log."""

    def __init__(self, manifest: Path, folder: Path, arch: str, which: str, views: int) -> None:
        config = TrainConfig(
            arch=arch, weights="none", size=SIZE, test_size=SIZE, batch_size=BATCH, freeze=OURS[which], views=views
        )  # fmt: skip
        self.fit: Fit = prepare(manifest, config, folder).fit
        self.epochs, self.lines = EPOCHS[which], []
        self.fit.watchers.append(self.lines.append)
        self.once = 0.0

    def __call__(self) -> float:
        self.lines.clear()
        first = self.fit.position.epoch
        self.fit.config = replace(self.fit.config, epochs=first + self.epochs)
        self.fit.clock = time.perf_counter()
        self.fit.run()
        if not first:  # the first turn makes the cache, before its first step
            self.once = self.lines[0]["seconds"]
        each = [
            [line["seconds"] for line in self.lines if line["kind"] == "step" and line["epoch"] == epoch]
            for epoch in range(first, first + self.epochs)
        ]
        return statistics.median(rate(ends) for ends in each)

    def flops(self) -> float:
        """Floating point operations of a training step, a photo."""
        model = self.fit.model
        x = torch.randn(4, 3, SIZE, SIZE, device=next(model.parameters()).device)
        with FlopCounterMode(display=False) as counter:
            self.fit.model.train()(x).sum().backward()
        model.zero_grad()
        return counter.get_total_flops() / len(x)

    def profile(self) -> dict[str, float]:
        """Photos a second of the loader alone and of the step alone."""
        started, photos, batch = time.perf_counter(), 0, None
        for batch in self.fit.loader.epoch(0):
            photos += len(batch.images)
        alone = photos / (time.perf_counter() - started)
        train_mode(self.fit.model)
        seconds = []
        for number in range(6):
            times = [time.perf_counter()]
            for part in self.fit.objective.parts(self.fit.model, batch):
                self.fit.objective.loss(self.fit.objective.predict(self.fit.model, part), part).backward()
            times.append(time.perf_counter())
            self.fit.optimizer.step()
            self.fit.optimizer.zero_grad()
            times.append(time.perf_counter())
            self.fit.average.update(number)
            times.append(time.perf_counter())
            seconds.append([after - before for before, after in pairwise(times)])
        gradients, adamw, average = (statistics.median(column) for column in zip(*seconds[1:], strict=True))
        return {
            "loader alone, photos/s": alone,
            "step alone, photos/s": BATCH / (gradients + adamw + average),
            "forward and backward, ms": gradients * 1000,
            "AdamW, ms": adamw * 1000,
            "average of the weights, ms": average * 1000,
        }


def machine_rates(device: torch.device | None = None) -> dict[str, float]:
    """The best of a few bf16 products and convolutions, in floating point operations a second."""
    best = {"matmul": 0.0, "convolution": 0.0}
    for side in (1024, 2048) if device is None or device.type == "cpu" else (4096, 8192):
        a, b = (torch.randn(side, side, dtype=torch.bfloat16, device=device) for _ in range(2))
        best["matmul"] = max(best["matmul"], 2 * side**3 / fastest(lambda a=a, b=b: a @ b))
    for channels, side in ((64, 56), (128, 28), (256, 14), (256, 28)):
        x = torch.randn(BATCH, channels, side, side, dtype=torch.bfloat16, device=device)
        x = x.to(memory_format=torch.channels_last)
        layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False).bfloat16()
        layer = layer.to(device, memory_format=torch.channels_last)
        with torch.inference_mode():
            seconds = fastest(lambda layer=layer, x=x: layer(x))
        work = 2 * BATCH * side**2 * channels**2 * 9
        best["convolution"] = max(best["convolution"], work / seconds)
    return best


def fastest(function: Callable[[], object]) -> float:
    times = []
    for _ in range(12):
        started = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--photos", type=int, default=384)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--views", type=int, default=2, help="of each photo in our cache")
    parser.add_argument("--only", default="", help="parties by their first letters, with commas")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if find_spec("fastai") is None:
        print("train: its peer fastai is not installed; `make bench-train` does that", file=sys.stderr)
        sys.exit(2)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        uris, manifest = make_photos(folder, args.photos)
        ours = {w: OurParty(manifest, folder / w, args.arch, w, args.views) for w in OURS}
        result = measure(args, uris, ours)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


def measure(args: argparse.Namespace, uris: list[str], ours: dict[str, OurParty]) -> dict:
    """Run all parties in turns; print and return what came out."""
    peers: dict[str, Callable[[], Apart]] = {
        FASTAI_BATCH: lambda: Apart(fastai_party, args.arch, uris, per_item=False),
        FASTAI_ITEM: lambda: Apart(fastai_party, args.arch, uris, per_item=True),
        FASTAI_KEPT: lambda: Apart(fastai_party, args.arch, uris, per_item=True, keep=True),
        PLAIN: lambda: Apart(plain_party, args.arch, uris),
    }
    names = [*peers, *ours]
    chosen = [name for name in names if not args.only or name.startswith(tuple(args.only.split(",")))]
    apart = {name: start() for name, start in peers.items() if name in chosen}
    parties: dict[str, Callable[[], float]] = {**apart, **ours}
    rates: dict[str, list[float]] = {name: [] for name in chosen}
    limits: list[dict[str, float]] = []
    for turn in range(args.turns):
        for name in chosen:
            rates[name].append(parties[name]())
            print(f"turn {turn + 1}: {name} {rates[name][-1]:.1f} photos/s", file=sys.stderr)
        limits.append(machine_rates())
    for peer in apart.values():
        peer.end()
    middle = {name: statistics.median(values) for name, values in rates.items()}
    machine = {kind: statistics.median(limit[kind] for limit in limits) for kind in limits[0]}
    result: dict = {"arch": args.arch, "size": SIZE, "batch": BATCH, "photos_per_s": middle, "machine": machine}
    if FASTAI_ITEM in middle:
        base = middle[FASTAI_ITEM]
        result["ratios"] = {name: middle[name] / base for name in ours if name in middle}
    for name, value in middle.items():
        print(f"{name:42} {value:10.1f} photos/s  {value / middle.get(FASTAI_ITEM, value):8.2f}×")
    for which in ("front", "head"):
        if which in middle:
            photos = len(uris) * args.views
            result[f"once_{which}"] = {"seconds": ours[which].once, "photos_per_s": photos / ours[which].once}
            print(f"cache for {which}: {photos / ours[which].once:.1f} views/s, once")
    if "full" in middle:
        achieved = ours["full"].flops() * middle["full"]
        result["achieved"] = achieved
        for kind, limit in machine.items():
            print(f"full: {achieved / 1e9:.0f} of {limit / 1e9:.0f} GFLOP/s of bf16 {kind}, {achieved / limit:.0%}")
    if args.profile:
        result["profile"] = ours["full"].profile()
        for name, value in result["profile"].items():
            print(f"{name:42} {value:10.1f}")
    return result


if __name__ == "__main__":
    main()
