"""Explanations judged: on the synthetic world, where the clues are known, and beside pytorch-grad-cam.

    .venv/bin/python benchmarks/explain.py peer                       # agreement and time an image, in turns
    .venv/bin/python benchmarks/explain.py scores world.parquet runs/demo/run/bundle [BUNDLE …]
    .venv/bin/python benchmarks/explain.py scores world.parquet --train resnet10t,vit_tiny_patch16_224 --out runs

`scores` takes the test split of a manifest of the synthetic world (`whichland demo` leaves one) and bundles
trained on it; --train makes them, with the demo's settings. For each bundle and method: how much heat falls on
clues (beside an even map's, and beside that of maps of other photos) and the pointing game, over all photos; and
for --verified of them insertion less deletion over random maps of the same smoothness, the share of single maps
that hold, and how alike the maps of a model with shuffled late layers are. Intervals are of 95 %, over groups. On
real photos, which have no masks, the scores of clues stay away.

`peer` needs grad-cam of benchmarks/requirements.lock. Weights are random, which changes neither agreement nor
time.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import timm
import torch

from whichland import manifest as manifests
from whichland.errors import UserError
from whichland.explanation.clues import clue_shares
from whichland.explanation.explain import explain
from whichland.explanation.gradcam import gradcam
from whichland.explanation.methods import METHODS
from whichland.explanation.verify import Verdict, Verifier
from whichland.images.decode import ImageError
from whichland.model import bundle as bundles
from whichland.progress import track
from whichland.statistics import mean_interval

PEERS = ("resnet18", "resnet50", "vit_tiny_patch16_224", "vit_small_patch16_224", "deit_tiny_patch16_224")


def peer(archs: list[str], batch: int, turns: int) -> list[dict[str, object]]:
    """Grad-CAM of a batch by us and by pytorch-grad-cam, in turns: correlation of maps, median time an image."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    rows: list[dict[str, object]] = []
    for arch in archs:
        torch.manual_seed(0)
        model = timm.create_model(arch, num_classes=22).eval()
        x_BCHW = torch.nn.functional.interpolate(torch.randn(batch, 3, 28, 28), 224, mode="bicubic")
        tokens = hasattr(model, "blocks")
        layer = model.blocks[-1].norm1 if tokens else model.layer4[-1]  # as their documentation has it
        theirs = GradCAM(model, [layer], reshape_transform=_grid_of_14 if tokens else None)

        def ask_theirs(cam: GradCAM = theirs, x: torch.Tensor = x_BCHW) -> np.ndarray:
            return cam(x, targets=[ClassifierOutputTarget(3)] * len(x))

        def ask_ours(m: torch.nn.Module = model, x: torch.Tensor = x_BCHW) -> np.ndarray:
            return gradcam(m, x, 3).numpy()

        found, seconds = _in_turns({"ours": ask_ours, "theirs": ask_theirs}, turns)
        alike = [_correlation(a, b) for a, b in zip(found["ours"], found["theirs"], strict=True)]
        rows.append(
            {
                "arch": arch,
                "correlation_min": min(alike),
                "ours_ms": seconds["ours"] / batch * 1000,
                "theirs_ms": seconds["theirs"] / batch * 1000,
                "ratio": seconds["theirs"] / seconds["ours"],
            }
        )
        theirs.activations_and_grads.release()
    return rows


def _grid_of_14(tokens_BNC: torch.Tensor) -> torch.Tensor:
    patches_BNC = tokens_BNC[:, -14 * 14 :]
    return patches_BNC.reshape(len(patches_BNC), 14, 14, -1).permute(0, 3, 1, 2)


def _correlation(a_HW: np.ndarray, b_HW: np.ndarray) -> float:
    """1 when both are empty, 0 when one is."""
    if not a_HW.any() or not b_HW.any():
        return float(a_HW.any() == b_HW.any())
    return float(np.corrcoef(a_HW.ravel(), b_HW.ravel())[0, 1])


def _in_turns(calls: dict[str, Callable[[], np.ndarray]], turns: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """What each gives, and the median of its times; the first turn warms up."""
    found: dict[str, np.ndarray] = {}
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(turns + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            found[name] = call()
            taken[name].append(time.perf_counter() - started)
    return found, {name: statistics.median(times[1:]) for name, times in taken.items()}


def scores(
    manifest: Path, folders: list[Path], methods: list[str], verified: int, split: str
) -> list[dict[str, object]]:
    """A row for each bundle and method that fits it."""
    table = manifests.read(manifest).kept.filter(pl.col("split") == split).sort("image_id")
    rows: list[dict[str, object]] = []
    for folder in folders:
        bundle = bundles.load(folder)
        known = table.filter(pl.col("country").is_in(list(bundle.labels)))
        few = known.sample(min(verified, known.height), seed=0)
        for method in methods:
            row: dict[str, object] = {"bundle": str(folder), "model": type(bundle.model).__name__, "method": method}
            try:
                row |= _on_clues(bundle, method, known) if "mask_uri" in known.columns else {}
                rows.append(row | (_verified(bundle, method, few) if verified else {}))
            except UserError as error:
                print(f"{folder}, {method}: {error}")
    return rows


def _on_clues(bundle: bundles.Bundle, method: str, judged: pl.DataFrame) -> dict[str, object]:
    columns = (judged[name].to_list() for name in ("uri", "mask_uri", "group"))
    everything, *single = clue_shares(bundle, *columns, method=method)
    return {
        "photos": everything.photos,
        "mass": (everything.mass, *everything.mass_interval),
        "area": everything.area,
        "others_mass": everything.others_mass,
        "pointing": (everything.pointing, *everything.pointing_interval),
        "others_pointing": everything.others_pointing,
        "by_clue": {s.clue: (s.photos, s.mass, *s.mass_interval, s.area, s.others_mass) for s in single},
    }


def _verified(bundle: bundles.Bundle, method: str, judged: pl.DataFrame) -> dict[str, object]:
    verifier = Verifier(bundle.model, method)
    verdicts, groups = [], []
    for uri, group in track(judged.select("uri", "group").iter_rows(), judged.height, f"verifying {method}"):
        try:
            verdict = explain(bundle, uri, None, method, verifier=verifier).views[0].verdict
        except ImageError:
            continue
        assert verdict is not None
        verdicts.append(verdict)
        groups.append(group)

    def mean(value: Callable[[Verdict], float]) -> tuple[float, float, float]:
        return mean_interval(np.array([value(verdict) for verdict in verdicts], float), groups)

    return {
        "verified": len(verdicts),
        "insertion": float(np.mean([v.insertion for v in verdicts])),
        "random_insertion": float(np.mean([v.random_insertion for v in verdicts])),
        "deletion": float(np.mean([v.deletion for v in verdicts])),
        "random_deletion": float(np.mean([v.random_deletion for v in verdicts])),
        "gain": mean(lambda v: v.gain),
        "beats_all": mean(lambda v: v.beaten == v.random_maps),
        "rank_correlation": mean(lambda v: v.rank_correlation),
        "ssim": mean(lambda v: v.ssim),
        "holds": mean(lambda v: v.passed),
    }


def train(manifest: Path, archs: list[str], out: Path) -> list[Path]:
    """Train the architectures with the demo's settings, at a size that fits all of them."""
    from whichland.studies.demo import SETTINGS
    from whichland.training.run import train as fit

    folders = []
    for arch in archs:
        folder = out / arch.split(".")[0]
        if not (folder / "bundle").is_dir():
            config = replace(SETTINGS, arch=arch)
            if any(part in arch for part in ("vit", "deit", "swin")):  # they learn slower, at a lower rate
                config = replace(config, size=128, test_size=None, lr=1e-3, epochs=3 * SETTINGS.epochs)
            fit(manifests.read(manifest), config, folder, resume=(folder / "config.toml").exists())
        folders.append(folder / "bundle")
    return folders


def show(value: object) -> str:
    """A number, or a mean with its interval."""
    if isinstance(value, tuple):
        return f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}]"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    beside = commands.add_parser("peer")
    beside.add_argument("--archs", default=",".join(PEERS))
    beside.add_argument("--batch", type=int, default=8)
    beside.add_argument("--turns", type=int, default=5)
    judged = commands.add_parser("scores")
    judged.add_argument("manifest", type=Path)
    judged.add_argument("bundles", type=Path, nargs="*")
    judged.add_argument("--train", default="", help="architectures to train first")
    judged.add_argument("--out", type=Path, default=Path("runs"), help="where --train puts them")
    judged.add_argument("--methods", default=",".join(METHODS))
    judged.add_argument("--verified", type=int, default=100, help="photos whose maps are put to the test")
    judged.add_argument("--split", default="test")
    for command in (beside, judged):
        command.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.command == "peer":
        rows = peer(args.archs.split(","), args.batch, args.turns)
    else:
        trained = train(args.manifest, args.train.split(","), args.out) if args.train else []
        folders = [*args.bundles, *trained]
        rows = scores(args.manifest, folders, args.methods.split(","), args.verified, args.split)
    for row in rows:
        print("; ".join(f"{name} {show(value)}" for name, value in row.items()))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
