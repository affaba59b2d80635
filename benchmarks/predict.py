"""Photos a second from JPEG files to probabilities, end to end, beside what others offer; accuracy of each.

    .venv/bin/python benchmarks/predict.py BUNDLE MANIFEST --photos 1000 --rounds 3 --json FILE

BUNDLE was exported (`whichland export BUNDLE --int8 --photos MANIFEST`); the photos are kept rows of MANIFEST of
countries that the model knows, test photos first. In turns in one process: timm's way as its inference.py does it
(ImageDataset, create_loader with 2 workers, batches of 32, softmax, top-5); the pipeline "image-classification" of
transformers on the same bundle, in batches of 32; ours with each engine that the bundle holds. All read the files
anew. Accuracy is given for the test photos alone. "decoding" and "network" are the times that reading, decoding and
cropping take alone, and the network alone, over the whole, each on all cores; together they are the share of the limit
that the whole reaches. The ratio is the median of the rounds, with its least and most. With --keep-memory every way
keeps the memory that it frees, as `whichland` does on the command line and its peers do not.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from whichland.allocator import keep_freed_memory
from whichland.bulk.config import PredictConfig
from whichland.bulk.rows import answers
from whichland.manifest import read
from whichland.model.engines import FLOAT_FILE, INT8_FILE, Engine
from whichland.model.model import Model
from whichland.model.model import load as open_model
from whichland.model.views import middles_ahead

BATCH = 32
WORKERS = 2
Way = Callable[[list[str]], list[int]]  # paths → index of the likeliest label


def with_timm(folder: Path) -> Way:
    """As timm's inference.py: its data set, its loader, its transforms."""
    import timm
    from timm.data import create_loader, resolve_data_config
    from timm.data.readers.reader import Reader

    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    config = resolve_data_config({}, model=model, use_test_size=True)

    class Listed(Reader):
        def __init__(self, paths: list[str]) -> None:
            super().__init__()
            self.paths = paths

        def __getitem__(self, at: int) -> tuple[Any, int]:
            return open(self.paths[at], "rb"), 0

        def __len__(self) -> int:
            return len(self.paths)

        def _filename(self, index: int, basename: bool = False, absolute: bool = False) -> str:
            return self.paths[index]

    def way(paths: list[str]) -> list[int]:
        loader = create_loader(
            timm.data.ImageDataset("", reader=Listed(paths)),
            batch_size=BATCH,
            use_prefetcher=False,
            num_workers=WORKERS,
            device=torch.device("cpu"),
            **{key: config[key] for key in ("input_size", "interpolation", "mean", "std", "crop_pct")},
        )
        found: list[int] = []
        with torch.inference_mode():
            for batch, _ in loader:
                probabilities = model(batch).softmax(-1)
                found += probabilities.topk(5)[1][:, 0].tolist()
        return found

    return way


def with_transformers(folder: Path, labels: tuple[str, ...]) -> Way:
    """The pipeline of transformers on the same folder, which it reads through its wrapper of timm."""
    from transformers import TimmWrapperConfig, TimmWrapperForImageClassification, TimmWrapperImageProcessor
    from transformers import pipeline as make_pipeline
    from transformers.utils import logging

    logging.set_verbosity_error()
    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = TimmWrapperConfig.from_dict(written)
    model = TimmWrapperForImageClassification(config).eval()
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    model.timm_model.load_state_dict(tensors)
    processor = TimmWrapperImageProcessor(
        pretrained_cfg=written["pretrained_cfg"]
        | {"input_size": written["pretrained_cfg"].get("test_input_size") or written["pretrained_cfg"]["input_size"]},
        architecture=written["architecture"],
    )
    pipeline = make_pipeline(
        "image-classification", model=model, image_processor=processor, device="cpu", batch_size=BATCH
    )
    index = {label: at for at, label in enumerate(labels)}

    def way(paths: list[str]) -> list[int]:
        found = pipeline(paths, top_k=5)
        return [index.get(one[0]["label"], _number(one[0]["label"])) for one in found]

    return way


def _number(label: str) -> int:
    return int(label.rpartition("_")[2]) if label.rpartition("_")[2].isdecimal() else -1


def with_runner(runner: Model) -> Way:
    """Ours, as `whichland predict` goes through a folder."""
    config = PredictConfig(batch_size=BATCH)

    def way(paths: list[str]) -> list[int]:
        found = (one for batch in answers(runner, paths, config, addresses=False) for one, _ in batch)
        return [-1 if one.error else int(one.probabilities.argmax()) for one in found]

    return way


def decoding_alone(runner: Model, paths: list[str]) -> float:
    """Seconds that reading, decoding and cropping takes with no network behind it."""
    begun = time.perf_counter()
    for _ in middles_ahead(paths, runner.preprocess, BATCH, "decoding"):
        pass
    return time.perf_counter() - begun


def network_alone(runner: Model, crops: np.ndarray, photos: int) -> float:
    """Seconds that the network takes for so many photos, from the crops of some that lie in memory."""
    begun = time.perf_counter()
    for at in range(0, len(crops), BATCH):
        runner.run(crops[at : at + BATCH])
    return (time.perf_counter() - begun) / len(crops) * photos


def ways(folder: Path, labels: tuple[str, ...], left_out: list[str]) -> Iterator[tuple[str, Way | Model]]:
    """Each way that this bundle can be run in, by name; ours are open models."""
    made: dict[str, Callable[[], Way | Model]] = {
        "timm's inference": lambda: with_timm(folder),
        "transformers pipeline": lambda: with_transformers(folder, labels),
    }
    engines: list[Engine] = ["torch", *(["onnx", "openvino"] if (folder / FLOAT_FILE).is_file() else [])]
    engines += ["int8"] if (folder / INT8_FILE).is_file() else []
    for engine in engines:
        made[f"ours, {engine}"] = partial(open_model, folder, engine=engine)
    for name, make in made.items():
        if not any(word in name for word in left_out):
            yield name, make()


def photos(manifest: Path, labels: tuple[str, ...], most: int) -> pl.DataFrame:
    """Up to `most` photos that the model knows the country of, test photos first."""
    rows = read(manifest).kept.filter(pl.col("country").is_in(list(labels)))
    order = pl.col("split").replace_strict({"test": 0, "val": 1, "train": 2}, default=3)
    return rows.sort(order, "image_id").head(most)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip", default="", help="words of ways to leave out, separated by commas")
    parser.add_argument("--keep-memory", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.keep_memory:
        keep_freed_memory()
    reference = open_model(given.bundle, engine="torch")
    chosen = photos(given.manifest, reference.labels, given.photos)
    paths = chosen["uri"].to_list()
    truth = np.array([reference.labels.index(code) for code in chosen["country"]])
    test = (chosen["split"] == "test").to_numpy()
    found = dict(ways(given.bundle, reference.labels, [word for word in given.skip.split(",") if word]))
    ours = {name: way for name, way in found.items() if isinstance(way, Model)}
    all_ways = {name: with_runner(way) if isinstance(way, Model) else way for name, way in found.items()}
    crops = np.concatenate(
        [some for _, some in middles_ahead(paths[: 2 * BATCH], reference.preprocess, BATCH, "crops")]
    )
    networks: dict[str, list[float]] = {name: [] for name in ours}
    seconds: dict[str, list[float]] = {name: [] for name in all_ways}
    guessed: dict[str, list[int]] = {}
    for way in all_ways.values():
        way(paths[:BATCH])  # what is made at the first call
    decoding = []
    for _ in range(given.rounds):
        decoding.append(decoding_alone(reference, paths))
        for name, way in all_ways.items():
            begun = time.perf_counter()
            guessed[name] = way(paths)
            seconds[name].append(time.perf_counter() - begun)
            if name in ours:
                networks[name].append(network_alone(ours[name], crops, len(paths)))
    report(paths, truth, test, seconds, guessed, decoding, networks, given)


def report(
    paths: list[str],
    truth: np.ndarray,
    test: np.ndarray,
    seconds: dict[str, list[float]],
    guessed: dict[str, list[int]],
    decoding: list[float],
    networks: dict[str, list[float]],
    given: argparse.Namespace,
) -> None:
    """Print the table, and write it as JSON where asked."""
    base = next(iter(seconds))
    alone = statistics.median(decoding)
    print(f"{len(paths):,} JPEG files, {given.rounds} rounds in turns, {torch.get_num_threads()} cores")
    print(f"decoding alone: {len(paths) / alone:.0f} photos/s")
    print(
        f"{'way':24}{'photos/s':>10}{'ratio':>8}{'least':>8}{'most':>8}{'right':>8}{'same':>8}{'decoding':>10}"
        f"{'network':>9}{'of the limit':>14}"
    )
    found = {}
    first = np.array(guessed[base])
    for name, taken in seconds.items():
        rates = sorted(len(paths) / each for each in taken)
        guesses = np.array(guessed[name])
        ratios = sorted(one / other for one, other in zip(seconds[base], taken, strict=True))
        network = statistics.median(networks[name]) / statistics.median(taken) if name in networks else float("nan")
        found[name] = {
            "photos_per_second": statistics.median(rates),
            "ratio": statistics.median(ratios),
            "least": ratios[0],
            "most": ratios[-1],
            "right": float((guesses == truth)[test].mean()),
            "same_as_first": float((guesses == first).mean()),
            "decoding_share": alone / statistics.median(taken),
            "network_share": network,
        }
        row = found[name]
        print(
            f"{name:24}{row['photos_per_second']:10.1f}{row['ratio']:8.2f}{row['least']:8.2f}{row['most']:8.2f}"
            f"{row['right']:8.1%}{row['same_as_first']:8.1%}{row['decoding_share']:10.1%}{network:9.1%}"
            f"{row['decoding_share'] + network:14.1%}"
        )
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
