"""What the flip, the resolution and the freezing policy are worth: one split, several seeds, paired intervals.

    python benchmarks/choices.py run home.parquet --weights W --out PLACE [--only NAME …]
    python benchmarks/choices.py table home.parquet --out PLACE

Each variant differs from `base` in what its line below says, and is trained with each seed on the first 100
photos of five countries. They are judged on the validation photos: a difference is the mean over the seeds, its
interval that of a bootstrap over groups in which all variants and seeds see the same groups. `run` goes on where
it stopped.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

from carry_over import probabilities_of
from whichland.evaluation.metrics import Outcomes, scores
from whichland.model import bundle as bundles
from whichland.statistics import interval, replicate

BASE = "--countries AU,JP,US,BR,DE --photos 100 --freeze front2 --epochs 4 --prior trained --set validate_every=4"
SIZES = "--size 256 --test-size 320"
VARIANTS = {
    "base": SIZES,
    "flip": f"{SIZES} --set flip=true",
    "392 px": "--size 392 --test-size 448",
    "448 px": "--size 448 --test-size 448",
    "256 px as judged": "--size 256 --test-size 256",
    "backbone frozen": f"{SIZES} --freeze backbone",
    "front frozen": f"{SIZES} --freeze front",
    "nothing frozen": f"{SIZES} --freeze none",
}


def run(args: argparse.Namespace) -> None:
    for seed in range(args.seeds):
        for name in args.only or VARIANTS:
            folder = place_of(args.out, name, seed)
            flags = f"{BASE} {VARIANTS[name]}".split()
            words = ["train", args.manifest, "--weights", args.weights, "--seed", seed, "--out", folder]
            if not (folder / "bundle").exists():
                command = [sys.executable, "-m", "whichland", *map(str, words), "--resume", *last_of_each(flags)]
                subprocess.run(command, check=True)
            if not (folder / "probabilities.npz").exists():
                found = probabilities_of(bundles.load(folder / "bundle"), args.manifest, "val")
                with (folder / "probabilities.npz").open("wb") as file:
                    np.savez(file, **found)


def last_of_each(flags: list[str]) -> list[str]:
    """Drop a flag and its value where the same flag stands again later."""
    given: dict[str, list[str]] = {}
    for word in flags:
        if word.startswith("--"):
            given[word] = []
            current = given[word]
        else:
            current.append(word)
    return [word for flag, values in given.items() for word in (flag, *values)]


def place_of(out: Path, name: str, seed: int) -> Path:
    return out / f"{name.replace(' ', '-')}-{seed}"


def table(args: argparse.Namespace) -> None:
    samples: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name in VARIANTS:
        folders = [place_of(args.out, name, seed) for seed in range(args.seeds)]
        if not all((folder / "probabilities.npz").exists() for folder in folders):
            continue
        found = [dict(np.load(folder / "probabilities.npz")) for folder in folders]
        outcomes = [Outcomes.from_probabilities(one["truth"], one["probabilities"]) for one in found]
        values = np.array([scores(one)[[0, 2]] for one in outcomes])
        drawn = replicate(
            lambda weights, outcomes=outcomes: np.mean([scores(o, weights) for o in outcomes], axis=0)[[0, 2]],
            found[0]["groups"],
        )
        samples[name] = values, drawn
    for name, (values, drawn) in samples.items():
        low, high = interval(drawn - samples["base"][1])
        change = values.mean(0) - samples["base"][0].mean(0)
        mean, spread = values.mean(0), np.ptp(values, axis=0)
        parts = [
            f"{m:.3f} (seeds {s:.3f} apart)  {c:+.3f} [{a:+.3f}, {b:+.3f}]"
            for m, s, c, a, b in zip(mean, spread, change, low, high, strict=True)
        ]
        print(f"{name:18} top-1 {parts[0]}   macro-F1 {parts[1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS))
    args = parser.parse_args()
    {"run": run, "table": table}[args.command](args)


if __name__ == "__main__":
    main()
