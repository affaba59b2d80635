"""Whether a small model learns more from what an ensemble of frozen backbones says than from the labels alone.

    python benchmarks/distil.py PLACE NAME --weights W [--share 0.5] [--seed N] [--freeze front2] [--cache FOLDER]

PLACE is the folder of `carry_over.py data`, with the features of `frozen.py` for each of TEACHERS. What the ensemble
says of a training photo comes from regressions fitted on the photos of other groups, in five parts, so that it knows
no more of it than of a photo it never saw. `share` of a photo's target is that, the rest its label as the default
recipe has it; all else is the default recipe. The run is judged as those of `carry_over.py train` are, and stands in
its tables.
"""

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import torch

from carry_over import COUNTRIES, judge
from frozen import LABELS, VARIANTS, answers, matrix, photos
from whichland import allocator
from whichland.training import run
from whichland.training.config import TrainConfig

TEACHERS = [f"{name}, stages and rows" for name in ("MobileNetV2", "EfficientNet-Lite2", "ResNet-50")]
PARTS = 5


def said(place: Path) -> dict[str, np.ndarray]:
    """What the ensemble says of each training photo at home, by uri: probabilities of LABELS."""
    rows = photos(place)
    train = (rows["home"] & (rows["split"] == "train")).to_numpy()
    part = np.array([hashlib.sha256(group.encode()).digest()[0] % PARTS for group in rows["group"]])
    nobody = np.zeros(len(rows), dtype=bool)
    total = np.zeros((len(rows), len(LABELS)))
    for name, names, parts, decay in VARIANTS:
        if name not in TEACHERS:
            continue
        x_NF, _ = matrix(place, names, parts)
        for number in range(PARTS):
            held = train & (part == number)
            seen = rows.with_columns(split=pl.when(pl.Series(held)).then(pl.lit("held")).otherwise(pl.col("split")))
            total[held] += answers(x_NF, seen, decay, nobody)[0][held]
    taught = total[train] / len(TEACHERS)
    uris = rows.filter(pl.Series(train))["uri"].to_list()
    truth = [LABELS.index(code) for code in rows.filter(pl.Series(train))["country"]]
    print(f"the ensemble names {np.mean(taught.argmax(1) == truth):.3f} of the training photos rightly")
    return dict(zip(uris, taught, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("place", type=Path)
    parser.add_argument("name")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--freeze", default="none")
    parser.add_argument("--cache")
    args = parser.parse_args()
    allocator.keep_freed_memory()
    taught = said(args.place)
    config = TrainConfig(
        weights=args.weights,
        countries=tuple(COUNTRIES.split(",")),
        seed=args.seed,
        freeze=args.freeze,
        cache=args.cache,
        novelty_photos=0,
    )
    plain = run.prepare

    def taught_by_them(*given: Any, **named: Any) -> run.Prepared:
        ready = plain(*given, **named)
        seen, labels = ready.fit.loader.photos, len(ready.labels)
        assert list(ready.labels.codes) == LABELS
        own = np.eye(labels)[seen.targets] * (1 - config.smoothing) + config.smoothing / labels
        both = (1 - args.share) * own + args.share * np.stack([taught[uri] for uri in seen.uris])
        each = replace(seen, targets=np.arange(len(seen)))  # a photo has a target of its own
        ready.fit.loader = replace(ready.fit.loader, photos=each)
        ready.fit.objective.soft_targets = torch.from_numpy(both).float()
        return ready

    folder = args.place / "runs" / args.name
    with patch.object(run, "prepare", taught_by_them):
        run.train(args.place / "home.parquet", config, folder, resume=folder.exists())
    judge(folder, args.place, "val")


if __name__ == "__main__":
    main()
