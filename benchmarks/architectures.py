"""The families' models at full size: trained two steps, saved, loaded through plain timm; photos a second.

    .venv/bin/python benchmarks/architectures.py                   # the sixteen of the first write-up, at 224
    .venv/bin/python benchmarks/architectures.py --filter dino --size 256x384 --batch 4 --json rows.json

Weights are random. Training is a step of AdamW at batch size --batch, prediction a forward pass, each the median
after a first one that warms up; bf16 and channels last as `whichland train` has them on this machine, fp32 for
prediction on a CPU as `whichland predict` has it. "Same" says that logits of the saved bundle, loaded through
timm alone, are identical.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from torch import nn

from whichland.allocator import keep_freed_memory
from whichland.errors import UserError
from whichland.model import bundle
from whichland.model.backbone import Backbone, create
from whichland.model.engines import best_device
from whichland.model.families import SIXTEEN, matching
from whichland.model.freezing import freeze, train_mode
from whichland.model.input_size import Size

LABELS = tuple(f"{first}{second}" for first in "ABCD" for second in "ABCDEF")[:22]


def judge(arch: str, size: Size, batch: int, turns: int) -> dict[str, object]:
    """Train, save, load and time one model."""
    device = best_device()
    torch.manual_seed(0)
    made = create(arch, len(LABELS), weights="none", size=size)
    made.model.to(device).to(memory_format=torch.channels_last)
    x_BCHW = torch.randn(batch, 3, *size, device=device).to(memory_format=torch.channels_last)
    targets = torch.randint(len(LABELS), (batch,), device=device)
    freeze(made.model, "none")
    train_mode(made.model)
    optimizer = torch.optim.AdamW(made.model.parameters(), lr=1e-4)
    losses: list[float] = []

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=_fast_bf16(device)):
            loss = nn.functional.cross_entropy(made.model(x_BCHW), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))

    def predict() -> None:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            made.model(x_BCHW).float().cpu()

    training = batch / seconds(step, turns)
    made.model.eval()
    prediction = batch / seconds(predict, turns)
    return {
        "arch": arch,
        "size": f"{size[0]}x{size[1]}",
        "train": training,
        "predict": prediction,
        "loss": [losses[0], losses[-1]],
        "same": same_through_timm(made, size),
    }


def seconds(work: Callable[[], None], turns: int) -> float:
    """Median time of `turns` calls after one that is not counted."""
    work()
    taken = []
    for _ in range(turns):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def same_through_timm(made: Backbone, size: Size) -> bool:
    """Save the model as a bundle; tell whether timm alone makes one of identical logits from it."""
    model = made.model.cpu().to(memory_format=torch.contiguous_format).eval()
    x_BCHW = torch.randn(2, 3, *size)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        saved = bundle.save(
            Path(folder) / "bundle",
            model=model,
            arch=made.arch,
            model_args=made.model_args,
            pretrained_cfg=made.pretrained_cfg,
            labels=LABELS,
            info={},
            metrics={},
            card="",
        )
        plain = timm.create_model(f"local-dir:{saved}", pretrained=True).eval()
        return torch.equal(plain(x_BCHW), model(x_BCHW))


def _fast_bf16(device: torch.device) -> bool:
    return device.type == "cuda" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filter", help="models of the families by name; the sixteen when left out")
    parser.add_argument("--size", default="224", help="a side, or HEIGHTxWIDTH, in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the rows there, too")
    args = parser.parse_args()
    sides = [int(side) for side in args.size.split("x")]
    size = (sides[0], sides[-1])
    keep_freed_memory()
    device = best_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{name}; batch {args.batch}, {size[0]}×{size[1]}")
    print(f"{'model':44} {'train/s':>9} {'predict/s':>10}  {'loss':15} same")
    rows = []
    for member in matching(args.filter) if args.filter else SIXTEEN:
        try:
            row = judge(member.arch, size, args.batch, args.turns)
        except UserError as error:
            print(f"{member.arch:44} {error}")
            continue
        rows.append(row)
        first, last = row["loss"]
        speeds = f"{row['train']:9.1f} {row['predict']:10.1f}"
        print(f"{member.arch:44} {speeds}  {first:.3f} → {last:.3f}   {row['same']}", flush=True)
    if args.json:
        args.json.write_text(json.dumps({"device": name, "batch": args.batch, "rows": rows}, indent=2) + "\n")
    sys.exit(0 if all(row["same"] for row in rows) else 1)


if __name__ == "__main__":
    main()
