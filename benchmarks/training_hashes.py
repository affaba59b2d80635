"""SHA-256 of what training ends with, one tiny run of each kind on the CPU: the same before and after a refactoring.

    OMP_NUM_THREADS=1 PYTHONPATH=src .venv/bin/python benchmarks/training_hashes.py WORLD [KIND …]

WORLD is a folder for photos of the synthetic world, rendered when it holds none; give the same one for both versions
of the code. Each line is a kind, the first 16 digits of the hash of the bundle's tensors, and those of the hash of the
steps' losses. docs/decisions/training-unchanged.md has the lines of earlier versions.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from signal import SIGINT

import polars as pl
import torch
from safetensors.torch import load_file, save_file

from whichland.manifest import Manifest, write

try:
    from whichland.sources.synthetic.files import write as render
    from whichland.sources.synthetic.world import WorldConfig
    from whichland.training.config import TrainConfig
    from whichland.training.process import Interrupted
    from whichland.training.run import train
except ImportError:  # where they were before
    from whichland.train.config import TrainConfig
    from whichland.train.run import train
    from whichland.train.stopping import Interrupted

    from whichland.sources.synthetic.world import WorldConfig
    from whichland.sources.synthetic.world import write as render

COUNTRIES = ("JP", "NA", "US")
QUICK = {"arch": "test_resnet", "weights": "none", "size": 64, "test_size": 64, "batch_size": 8, "precision": "fp32"}
VIT = {"arch": "test_vit", "size": 160, "test_size": 160}
KINDS = {
    "plain": {},
    "pretrained": {"weights": "FILE"},  # the head is fitted first
    "vit, layer decay": {**VIT, "layer_decay": 0.7, "clip": 1.0},
    "head after the logits": {"weights": "FILE", "head": (16,), "head_after": "logits"},
    "frozen backbone, cached": {"freeze": "backbone", "views": 2, "weights": "FILE", "epochs": 3},
    "frozen front, views": {"freeze": "front", "views": 2, "epochs": 3, "test_size": 80},
    "frozen front, no cache": {"freeze": "front", "views": 0},
    "pixels decoded once": {"cache": "CACHE"},
    "phases": {"freeze": "backbone:1,front:1,none", "epochs": 3, "restart": True},
    "mixup and cutmix": {"mixup": 0.4, "cutmix": 1.0},
    "distance smoothing": {"smoothing_by": "distance", "smoothing": 0.2},
    "accumulate and clip": {"accumulate": 3, "clip": 0.5, "weighting": "loss", "balance": "class"},
    "patience": {"patience": 2, "epochs": 12, "lr": 0.3, "body_lr": 1.0, "prior": "trained"},
    "resumed": {"freeze": "backbone:1,none", "views": 2, "epochs": 3, "mixup": 0.0},
    "two processes": {},
    "two processes, no batch norm": {**VIT, "freeze": "front:1,none", "accumulate": 2, "clip": 1.0},
}


def world(folder: Path) -> Path:
    """The manifest of 96 scenes; every sixth is for validation."""
    table = folder / "m.parquet"
    if not table.exists():
        scenes = WorldConfig(scenes=96, seed=3, width=128, height=96, countries=COUNTRIES)
        frame = render(scenes, folder, workers=1, progress=False)
        number = pl.int_range(pl.len())
        split = pl.when(number % 6 == 5).then(pl.lit("val")).otherwise(pl.lit("train"))
        dropped = pl.lit(None, dtype=pl.String)
        write(Manifest(frame.with_columns(split=split, country="label_country", drop_reason=dropped)), table)
    return table


def run(kind: str, manifest: Path, folder: Path) -> None:
    """Train one kind into folder/run."""
    weights = folder.parent / "w.safetensors"
    if not weights.exists():
        import timm

        torch.manual_seed(0)
        save_file(timm.create_model("test_resnet").state_dict(), weights)
    named = {"FILE": str(weights), "CACHE": str(folder / "cache")}
    settings = {"epochs": 2, "workers": 1} | QUICK | KINDS[kind]
    config = TrainConfig(**{name: named.get(str(value), value) for name, value in settings.items()})
    out = folder / "run"
    if kind == "resumed":
        threading.Thread(target=interrupt, args=(out / "log.jsonl", 14), daemon=True).start()
        try:
            train(manifest, config, out)
        except Interrupted:
            train(manifest, config, out, resume=True)
        else:
            raise SystemExit("the run ended before it was interrupted")
    else:
        train(manifest, config, out)


def interrupt(log: Path, lines: int) -> None:
    """Send Ctrl-C to this process once the log has so many lines."""
    while not log.exists() or log.read_bytes().count(b"\n") < lines:
        time.sleep(0.001)
    os.kill(os.getpid(), SIGINT)


def hashes(out: Path) -> tuple[str, str]:
    """Of the bundle's tensors, and of the steps' losses."""
    tensors, losses = hashlib.sha256(), hashlib.sha256()
    for name, tensor in sorted(load_file(out / "bundle" / "model.safetensors").items()):
        tensors.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes())
    for line in map(json.loads, (out / "log.jsonl").read_text().splitlines()):
        if line["kind"] == "step":
            losses.update(repr(line["loss"]).encode())
    return tensors.hexdigest()[:16], losses.hexdigest()[:16]


def main() -> None:
    """Train and hash the kinds that are named, or all."""
    manifest = world(Path(sys.argv[1]).resolve())
    for kind in sys.argv[2:] or KINDS:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "one"
            folder.mkdir()
            command = [sys.executable, __file__, "--one", kind, str(manifest), str(folder)]
            if kind.startswith("two"):
                torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
                command[1:1] = torchrun
            environment = os.environ | {
                "OMP_NUM_THREADS": "1",
                "ACCELERATE_USE_CPU": "true",
            }  # which the old code needs
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            if done.returncode:
                raise SystemExit(f"{kind}: {done.stderr[-2000:]}")
            print(f"{kind:30}", *hashes(folder / "run"), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        run(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()
