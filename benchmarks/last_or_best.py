"""Small sets: is the last epoch as good as the best by validation? The same runs, judged by both on many test photos.

    python benchmarks/last_or_best.py kaggle.parquet --weights W --out PLACE [--photos 53 100 250] [--seeds 6]

The manifest is that of docs/results.md, section 1. A run stands for a user with so many photos: each seed draws as
many of each country from the training photos (70 of 100) and from the validation photos (15 of 100), and trains
with the default recipe. It is judged on all test photos with three sets of weights: the last, those of the best
macro-F1 on its few validation photos, and those of the fitted head that training begins with. Differences are means
over the runs, paired, with Student's interval over the runs. Goes on where it stopped.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import t

from whichland.allocator import keep_freed_memory
from whichland.manifest import Manifest, read
from whichland.training.checkpoint import copy_of, holding
from whichland.training.config import TrainConfig
from whichland.training.data import select
from whichland.training.run import prepare
from whichland.training.validation import Judge

COUNTRIES = ("AU", "JP", "US", "BR", "DE")
SHARES = {"train": 0.7, "val": 0.15}


def drawn(table: Manifest, photos: int, seed: int) -> Manifest:
    """As many of each country as who has `photos` trains and validates on, and all test photos."""
    frame = table.kept.filter(pl.col("country").is_in(COUNTRIES)).sample(fraction=1, shuffle=True, seed=seed)
    parts = [frame.filter(pl.col("split") == "test")]
    for split, share in SHARES.items():
        each = frame.filter(pl.col("split") == split).group_by("country", maintain_order=True)
        parts.append(each.head(round(photos * share / len(COUNTRIES))))
    return Manifest(pl.concat(parts, how="diagonal").select(frame.columns), table.history)


def run(table: Manifest, args: argparse.Namespace, photos: int, seed: int) -> dict[str, dict[str, float]]:
    """Top-1 and macro-F1 on the test photos of the last, the best and the first weights of a run."""
    # patience keeps the best, and never stops here
    config = TrainConfig(weights=str(args.weights), seed=seed, freeze=args.freeze, patience=1000)
    small = drawn(table, photos, seed)
    ready = prepare(small, config, args.out / f"run-{photos}-{seed}")
    fit = ready.fit
    first = copy_of(fit.model)
    fit.run()
    test = Judge(select(small, "test", ready.labels), fit.judge.preprocess, fit.accelerator, fit.judge.log_shares)
    found = {}
    for name, weights in (("last", fit.average.state), ("best", fit.patience.best), ("first", first)):
        with holding(fit.model, weights):
            found[name] = {key.removeprefix("val_"): value for key, value in test.scores(fit.model).items()}
    return found


def table_of(out: Path, photos: list[int], seeds: int) -> None:
    """Print the means, and what the last is worth over the others."""
    for number in photos:
        runs = [json.loads((out / f"{number}-{seed}.json").read_text()) for seed in range(seeds)]
        for score in ("top1", "macro_f1"):
            means = {name: float(np.mean([one[name][score] for one in runs])) for name in runs[0]}
            line = "  ".join(f"{name} {mean:.3f}" for name, mean in means.items())
            for other in ("best", "first"):
                change = np.array([one["last"][score] - one[other][score] for one in runs])
                half = t.ppf(0.975, seeds - 1) * change.std(ddof=1) / np.sqrt(seeds)
                low, high = change.mean() - half, change.mean() + half
                line += f"  last - {other} {change.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
            print(f"{number} photos, {seeds} runs, {score}: {line}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--photos", type=int, nargs="+", default=[53, 100, 250])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--freeze", default="none", help="backbone: the head alone learns")
    args = parser.parse_args()
    keep_freed_memory()
    table = read(args.manifest)
    for seed in range(args.seeds):
        for photos in args.photos:
            place = args.out / f"{photos}-{seed}.json"
            if not place.exists():
                found = run(table, args, photos, seed)
                place.write_text(json.dumps(found))
    table_of(args.out, args.photos, args.seeds)


if __name__ == "__main__":
    main()
