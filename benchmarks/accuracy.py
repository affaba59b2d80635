"""The floors beside ours: same photos, same weights, same split, same evaluation.

    .venv/bin/python benchmarks/accuracy.py logistic MANIFEST --weights W.safetensors
    .venv/bin/python benchmarks/accuracy.py fastai MANIFEST --weights W.safetensors --epochs 4
    .venv/bin/python benchmarks/accuracy.py ours runs/NAME/bundle MANIFEST

`logistic` is scikit-learn's logistic regression on the frozen MobileNetV2's pooled features at 320 px, its
penalty chosen on validation. `fastai` is its `fine_tune`: 1 epoch of the head, then N of all layers, at its
default rate or, with --find-rate, at the one that its `lr_find` suggests, with RandomResizedCrop 224, brightness
and contrast; after each epoch it tells the seconds so far and the scores on the validation photos, as a run of
ours does in its log.jsonl. It needs the peers of benchmarks/requirements.lock. Each prints the scores on the test
split with 95 % intervals from a bootstrap over groups, and the seconds spent on training, with validation and
without lr_find.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch
from PIL import Image

from whichland.allocator import keep_freed_memory
from whichland.evaluation.metrics import SCORES, Outcomes, scores
from whichland.images.decode import load
from whichland.images.preprocess import Preprocess
from whichland.manifest import read
from whichland.model import backbone
from whichland.model.head import features_before_head
from whichland.statistics import group_numbers, interval, replicate
from whichland.training.config import TrainConfig
from whichland.training.data import choose_labels, select

ARCH = "mobilenetv2_100"


def report(
    name: str, truth: np.ndarray, probabilities: np.ndarray, groups: list, seconds: float, out: Path | None
) -> None:
    """Print one line of scores with intervals; keep the probabilities when a folder is given."""
    outcomes = Outcomes.from_probabilities(truth, probabilities)
    values = scores(outcomes)
    low, high = interval(replicate(lambda weights: scores(outcomes, weights), group_numbers(groups)))
    line = {"name": name, "photos": len(truth), "groups": len(set(groups)), "seconds": round(seconds, 1)}
    for score, value, a, b in zip(SCORES, values, low, high, strict=True):
        line[score] = [round(float(x), 4) for x in (value, a, b)]
    print(json.dumps(line))
    if out:
        out.mkdir(parents=True, exist_ok=True)
        np.savez(out / "probabilities.npz", truth=truth, probabilities=probabilities)
        (out / "scores.json").write_text(json.dumps(line) + "\n")


def report_away(
    args: argparse.Namespace, name: str, labels: tuple[str, ...], answer: Callable[[list[str]], np.ndarray]
) -> None:
    """With --away: the same of its test photos, the views of a panorama combined by mean log probability."""
    if not args.away:
        return
    frame = read(args.away).kept.filter(pl.col("split") == "test", pl.col("country").is_in(list(labels)))
    frame = frame.sort("image_id")
    numbers = group_numbers(frame["panorama"].to_list())
    log = np.log(np.maximum(answer(frame["uri"].to_list()), 1e-12))
    together = np.zeros((numbers.max() + 1, len(labels)))
    np.add.at(together, numbers, log)
    first = np.unique(numbers, return_index=True)[1]
    truth = np.array([labels.index(code) for code in frame["country"]])[first]
    out = args.out / "away" if args.out else None
    report(f"{name}, panoramas", truth, together, list(range(len(truth))), 0.0, out)


def photos_of(args: argparse.Namespace) -> tuple:
    table = read(args.manifest)
    labels = choose_labels(table, TrainConfig(countries=tuple(c for c in args.countries.split(",") if c)))
    train = select(table, "train", labels, photos=args.photos)
    test = select(table, "test", labels)
    frame = table.kept.filter(pl.col("split") == "test", pl.col("country").is_in(labels.codes)).sort("image_id")
    return labels.codes, train, select(table, "val", labels), test, frame["group"].to_list()


@torch.inference_mode()
def features(model: torch.nn.Module, uris: list[str], preprocess: Preprocess) -> np.ndarray:
    parts = []
    for start in range(0, len(uris), 32):
        crops = [preprocess.crop(load(uri)) for uri in uris[start : start + 32]]
        x = torch.from_numpy(preprocess.normalise(np.stack(crops))).contiguous(memory_format=torch.channels_last)
        parts.append(features_before_head(model, x).numpy())
    return np.concatenate(parts)


def logistic(args: argparse.Namespace) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels, train, val, test, groups = photos_of(args)
    made = backbone.create(ARCH, len(labels), weights=args.weights)
    model = made.model.eval().to(memory_format=torch.channels_last)
    preprocess = Preprocess.from_config(made.pretrained_cfg | {"test_input_size": (3, 320, 320), "crop_pct": 1.0})
    started = time.perf_counter()
    x, x_val = features(model, train.uris, preprocess), features(model, val.uris, preprocess)
    best, best_score = None, -1.0
    for c in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2):  # the penalty is chosen on validation
        fitted = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=500))
        fitted.fit(x, train.targets)
        score = float((fitted.predict(x_val) == val.targets).mean())
        if score > best_score:
            best, best_score = fitted, score
    seconds = time.perf_counter() - started
    print(f"validation top-1 {best_score:.3f}", file=sys.stderr)

    def answer(uris: list[str]) -> np.ndarray:
        return best.predict_proba(features(model, uris, preprocess))

    name = "logistic regression on frozen features"
    report(name, test.targets, answer(test.uris), groups, seconds, args.out)
    report_away(args, name, labels, answer)


def file_of(uri: str, place: Path) -> str:
    """A file that Pillow opens by its path: the photo itself, or what lies in a shard, kept losslessly."""
    if Path(uri).is_file():
        return uri
    Image.fromarray(load(uri)).save(place, compress_level=1)
    return str(place)


def fastai(args: argparse.Namespace) -> None:
    from fastai.vision.all import (
        Brightness,
        Callback,
        CategoryBlock,
        Contrast,
        DataBlock,
        F1Score,
        ImageBlock,
        IndexSplitter,
        Learner,
        Normalize,
        RandomResizedCrop,
        accuracy,
        create_timm_model,
        default_split,
        set_seed,
    )  # fmt: skip

    set_seed(0)
    labels, train, val, test, groups = photos_of(args)
    items = train.uris + val.uris
    label_of = dict(zip(items, [labels[t] for part in (train, val) for t in part.targets], strict=True))
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=list(labels))),
        get_y=lambda uri: label_of[uri],
        splitter=IndexSplitter(list(range(len(train), len(items)))),
        item_tfms=RandomResizedCrop(224, min_scale=0.35),
        batch_tfms=[Brightness(), Contrast(), Normalize.from_stats([0.5] * 3, [0.5] * 3)],
    )  # fmt: skip
    data = block.dataloaders(items, bs=64, num_workers=2)
    model, _ = create_timm_model(ARCH, len(labels), pretrained=False, pad_type="same")
    given = backbone.load_file(args.weights)
    body = {name: t for name, t in given.items() if not name.startswith("classifier")}
    missing = model[0].model.load_state_dict(body, strict=False).missing_keys
    assert not missing, missing
    curve = []

    class Curve(Callback):  # what stands in a log of ours: seconds and scores on the validation photos
        order = 60  # after the recorder

        def after_epoch(self) -> None:
            _, _, top1, macro_f1, *_ = self.recorder.values[-1]
            line = {"seconds": time.perf_counter() - started, "val_top1": top1, "val_macro_f1": macro_f1}
            curve.append(line)
            print(json.dumps(line), file=sys.stderr)

    metrics = [accuracy, F1Score(average="macro")]
    learner = Learner(data, model, splitter=default_split, metrics=metrics, path=tempfile.mkdtemp())
    learner.freeze()
    rate = learner.lr_find(show_plot=False).valley if args.find_rate else 2e-3
    started = time.perf_counter()
    learner.add_cb(Curve())
    learner.fine_tune(args.epochs, base_lr=rate, freeze_epochs=1)
    seconds = time.perf_counter() - started
    learner.remove_cb(Curve)

    def answer(uris: list[str]) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            paths = [file_of(uri, Path(folder) / f"{number}.png") for number, uri in enumerate(uris)]
            return learner.get_preds(dl=data.test_dl(paths, num_workers=2))[0].numpy()

    name = f"fastai fine_tune({args.epochs})"
    report(name, test.targets, answer(test.uris), groups, seconds, args.out)
    report_away(args, name, labels, answer)


def ours(args: argparse.Namespace) -> None:
    from whichland.model import bundle
    from whichland.model.model import predict

    loaded = bundle.load(args.bundle)
    table = read(args.manifest)
    frame = table.kept.filter(pl.col("split") == "test", pl.col("country").is_in(list(loaded.labels)))
    frame = frame.sort("image_id")

    def answer(uris: list[str]) -> np.ndarray:
        return np.stack([answer.probabilities for answer in predict(loaded, uris)])

    probabilities = answer(frame["uri"].to_list())
    truth = np.array([loaded.labels.index(code) for code in frame["country"]])
    lines = (Path(args.bundle).parent / "log.jsonl").read_text().splitlines()
    seconds = json.loads(lines[-1])["seconds"]
    report("whichland", truth, probabilities, frame["group"].to_list(), seconds, args.out)
    report_away(args, "whichland", loaded.labels, answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, function in (("logistic", logistic), ("fastai", fastai), ("ours", ours)):
        command = commands.add_parser(name)
        if name == "ours":
            command.add_argument("bundle", type=Path)
        command.add_argument("manifest", type=Path)
        command.add_argument("--weights", type=Path)
        command.add_argument("--countries", default="", help="ISO codes with commas; all when empty")
        command.add_argument("--photos", type=int, help="first N training photos of each country, by rank")
        command.add_argument("--epochs", type=int, default=8)
        command.add_argument("--find-rate", action="store_true", help="fastai: ask lr_find first")
        command.add_argument("--out", type=Path)
        command.add_argument("--away", type=Path, help="panoramas.parquet of benchmarks/carry_over.py")
        command.set_defaults(function=function)
    args = parser.parse_args()
    keep_freed_memory()  # ours does so when training; the peers get the same
    args.function(args)


if __name__ == "__main__":
    main()
