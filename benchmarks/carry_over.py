"""What each measure is worth at home and on another sampling of the streets, chosen on one half of the panoramas.

    python benchmarks/carry_over.py data DATA -o PLACE
    python benchmarks/carry_over.py train PLACE --weights W NAME [--seed N] [FLAGS OF whichland train]
    python benchmarks/carry_over.py also PLACE NAME [--weights W --keep SHARE] [--size PIXELS] [--uneven] [--split test]
    python benchmarks/carry_over.py table PLACE
    python benchmarks/carry_over.py report PLACE NAME …

`data` makes two manifests from DATA/compressed_dataset (home) and DATA/pano_parquet: home.parquet with its own
split, and panoramas.parquet with the four pictures of each panorama as views. The panoramas are halved by a hash of
their names: `val` to choose on, `test` to report on; none is trained on. `train` trains a variant on the 22
countries and keeps its probabilities of the home validation photos and of the choosing half. `also` judges a
trained variant in another way: at another size, or with its weights averaged with those it started from, of which
SHARE is kept, or with the shares of the countries as trained though it evens them out. `table` shows all of them
side by side, with the shares of the countries as trained and evened out, each against the first one by a paired
bootstrap over groups; "A + B: size 448 " is the mean of two. `report` asks the home test photos and the reported
half.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from whichland.evaluation.metrics import Outcomes, scores
from whichland.manifest import Manifest, read, write
from whichland.model import bundle as bundles
from whichland.model.head import even_out
from whichland.model.model import predict
from whichland.statistics import group_numbers, interval, replicate
from whichland.training.config import TrainConfig
from whichland.training.run import prepare

COUNTRIES = "US,FR,BR,IT,JP,ES,GB,PL,ID,RU,MX,TH,CA,AU,LT,IE,DE,NL,MY,CZ,BE,AT"


def whichland(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "whichland", *map(str, words)], check=True)


def data(args: argparse.Namespace) -> None:
    place: Path = args.place
    place.mkdir(parents=True, exist_ok=True)
    home, raw, cut = place / "home.parquet", place / "raw.parquet", place / "cut.parquet"
    whichland("data", "prepare", args.data / "compressed_dataset", "-o", home)
    whichland("data", "ingest", f"parquet:{args.data / 'pano_parquet'}", "--source", "pano", "-o", raw)
    whichland("data", "geocode", raw, "-o", raw)
    whichland("data", "merge", raw, "-o", cut, "--projection", "pano=strip:4", "--images", place / "views")
    frame = read(cut).kept.with_columns(
        group=pl.col("panorama"),
        split=pl.col("panorama").map_elements(
            lambda name: "val" if hashlib.sha256(name.encode()).digest()[0] % 2 else "test", pl.String
        ),
    )
    write(Manifest(frame), place / "panoramas.parquet")


def probabilities_of(bundle: bundles.Bundle, manifest: Path, split: str) -> dict[str, np.ndarray]:
    """Probabilities of one split's photos, N×K, with truth and groups."""
    frame = read(manifest).kept.filter(pl.col("split") == split, pl.col("country").is_in(bundle.labels))
    frame = frame.sort("image_id")
    probabilities = np.stack([answer.probabilities for answer in predict(bundle, frame["uri"])])
    truth = np.array([bundle.labels.index(code) for code in frame["country"]])
    return {"probabilities": probabilities, "truth": truth, "groups": group_numbers(frame["group"].to_list())}


def judge(folder: Path, place: Path, split: str, bundle: bundles.Bundle | None = None, how: str = "") -> None:
    """Keep a bundle's probabilities of both sources beside it."""
    bundle = bundle or bundles.load(folder / "bundle")
    for source, manifest in (("home", "home.parquet"), ("away", "panoramas.parquet")):
        found = probabilities_of(bundle, place / manifest, split)
        with (folder / f"{how}{source}-{split}.npz").open("wb") as file:
            np.savez(file, **found)


def train(args: argparse.Namespace, flags: list[str]) -> None:
    folder = args.place / "runs" / (args.name + (f"-{args.seed}" if args.seed else ""))
    words = ["train", args.place / "home.parquet", "--weights", args.weights, "--countries", COUNTRIES]
    words += ["--out", folder, "--seed", args.seed, *(["--resume"] if folder.exists() else []), *flags]
    started = time.perf_counter()
    if not (folder / "bundle").exists():
        whichland(*words)
        (folder / "whole.json").write_text(json.dumps({"seconds": time.perf_counter() - started}))
    judge(folder, args.place, "val")


def also(args: argparse.Namespace) -> None:
    folder = args.place / "runs" / args.name
    bundle, how = bundles.load(folder / "bundle"), ""
    if args.size:
        bundle = replace(bundle, preprocess=replace(bundle.preprocess, size=(args.size, args.size)))
        how += f"size {args.size} "
    if args.keep:
        config = TrainConfig(weights=str(args.weights), countries=bundle.labels, size=256, test_size=320)
        start = prepare(args.place / "home.parquet", config, None).fit.model.state_dict()
        state = bundle.model.state_dict()
        moved = {n: start[n] * args.keep + t * (1 - args.keep) for n, t in state.items() if t.is_floating_point()}
        bundle.model.load_state_dict(state | moved)
        how += f"keep {args.keep:g} "
    if args.uneven:
        even_out(bundle.model, -torch.from_numpy(np.log(trained_shares(args.place, len(bundle.labels)))).float())
        how += "uneven "
    judge(folder, args.place, args.split, bundle, how)


def trained_shares(place: Path, labels: int) -> np.ndarray:
    """Shares of the countries among the training photos as the default weights draw them: 1/√n a photo."""
    frame = read(place / "home.parquet").kept
    frame = frame.filter(pl.col("split") == "train", pl.col("country").is_in(COUNTRIES.split(",")))
    counts = frame.group_by("country").len().sort("country")["len"].to_numpy()
    assert len(counts) == labels
    return np.sqrt(counts) / np.sqrt(counts).sum()


def together(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One answer a group: the sum of its photos' log probabilities."""
    log = np.log(np.maximum(found["probabilities"], 1e-12))
    groups = found["groups"]
    count = groups.max() + 1
    total = np.zeros((count, log.shape[1]))
    np.add.at(total, groups, log)
    first = np.unique(groups, return_index=True)[1]
    return {"probabilities": total, "truth": found["truth"][first], "groups": np.arange(count)}


def drawn(found: dict[str, np.ndarray], other: dict[str, np.ndarray] | None = None) -> tuple:
    """Top-1 and macro-F1, their intervals, and the intervals of the differences from another's."""
    outcomes = Outcomes.from_probabilities(found["truth"], found["probabilities"])
    values, sample = scores(outcomes), replicate(lambda w: scores(outcomes, w), found["groups"])
    keep = [0, 2]
    low, high = interval(sample)
    result = values[keep], low[keep], high[keep]
    if other is None:
        return *result, None
    base = Outcomes.from_probabilities(other["truth"], other["probabilities"])
    differences = sample - replicate(lambda w: scores(base, w), other["groups"])
    low, high = interval(differences)
    return *result, [(values - scores(base))[keep], low[keep], high[keep]]


def variants(place: Path, name: str, split: str, even: bool) -> dict[str, dict[str, np.ndarray]]:
    """Of a run, judged in one way: home, single views, panoramas."""
    home, away = ({}, {})
    parts = [part.partition(": ") for part in name.split(" + ")]
    for source, found in (("home", home), ("away", away)):
        of_parts = [dict(np.load(place / "runs" / run / f"{how}{source}-{split}.npz")) for run, _, how in parts]
        found |= of_parts[0] | {"probabilities": np.mean([one["probabilities"] for one in of_parts], axis=0)}
    shares = trained_shares(place, home["probabilities"].shape[1]) if even else np.ones(1)
    away["probabilities"], home["probabilities"] = (away["probabilities"] / shares, home["probabilities"] / shares)
    return {"home": home, "views": away, "panoramas": together(away)}


def table(args: argparse.Namespace) -> None:
    names = args.names
    if not names:
        found = sorted(args.place.glob(f"runs/*/*away-{args.split}.npz"))
        parts = [(path.parent.name, path.name.removesuffix(f"away-{args.split}.npz")) for path in found]
        names = [f"{run}: {how}" if how else run for run, how in parts]
    rows = [(name, even) for name in names for even in (False, True)]
    base = variants(args.place, *rows[0][:1], args.split, even=False)
    for source in base:
        print(f"\n{source}: {len(base[source]['truth'])} answers, split {args.split}")
        for name, even in rows:
            found = variants(args.place, name, args.split, even)[source]
            value, low, high, against = drawn(found, None if (name, even) == rows[0] else base[source])
            text = "  ".join(f"{v:.3f} [{a:.3f}, {b:.3f}]" for v, a, b in zip(value, low, high, strict=True))
            if against:
                parts = zip(*against, strict=True)
                text += "  " + "  ".join(f"{v:+.3f} [{a:+.3f}, {b:+.3f}]" for v, a, b in parts)
            print(f"{name + (', even' if even else ''):34} {text}")


def report(args: argparse.Namespace) -> None:
    for run in {part for name in args.names for part in name.split(" + ") if ": " not in part}:
        if (args.place / "runs" / run / "bundle").exists():  # what frozen.py has kept is judged there
            judge(args.place / "runs" / run, args.place, "test")
    args.split = "test"
    table(args)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    for name in ("data", "train", "also", "table", "report"):
        command = commands.add_parser(name)
        if name == "data":
            command.add_argument("data", type=Path)
            command.add_argument("-o", dest="place", type=Path, required=True)
            continue
        command.add_argument("place", type=Path)
        if name in ("train", "also"):
            command.add_argument("name")
            command.add_argument("--weights", type=Path, required=name == "train")
            command.add_argument("--seed", type=int, default=0)
            command.add_argument("--size", type=int) if name == "also" else None
            command.add_argument("--keep", type=float) if name == "also" else None
            command.add_argument("--uneven", action="store_true") if name == "also" else None
        else:
            command.add_argument("names", nargs="*")
        if name in ("also", "table"):
            command.add_argument("--split", default="val", choices=("val", "test"))
    args, flags = parser.parse_known_args()
    if args.command == "train":
        train(args, flags)
    elif flags:
        parser.error(f"unknown: {' '.join(flags)}")
    else:
        {"data": data, "also": also, "table": table, "report": report}[args.command](args)


if __name__ == "__main__":
    main()
