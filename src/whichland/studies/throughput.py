"""How many photos a second each model judges, measured in turns so that a busy machine is busy for all alike."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whichland.model import bundle as bundles
from whichland.model.bundle import read_info
from whichland.model.engines import best_device
from whichland.model.model import model_of
from whichland.progress import track
from whichland.whole_file import whole_file

FILE = "throughput.json"
TURNS = 7  # the range of seven medians-to-be holds their median in 98 % of cases
TURN_S = 0.4
BATCH = 16


def measured(bundles_by_cell: Mapping[str, Path], out: Path) -> dict[str, dict[str, float]]:
    """Photos a second of each cell's bundle: value, low and high by the cell's name.

    Bundles that differ in their weights alone are one and measured once. Kept in OUT/throughput.json; a bundle of
    a new kind has all measured anew, because only what ran in turns can be compared.
    """
    kinds = {cell: _kind(folder) for cell, folder in bundles_by_cell.items()}
    file = out / FILE
    known: dict[str, dict[str, float]] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if not set(kinds.values()) <= set(known):
        one_of = {kind: bundles_by_cell[cell] for cell, kind in kinds.items()}
        known = in_turns(one_of)
        with whole_file(file) as partial:
            partial.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    return {cell: known[kind] for cell, kind in kinds.items()}


def in_turns(folders: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """Photos a second from decoded crops to probabilities, in batches: median, least and most of several turns."""
    loaded = {}
    device = best_device()
    for name, folder in folders.items():
        bundle = bundles.load(folder)
        bundle.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        height, width = bundle.preprocess.size
        crops = np.random.default_rng(0).integers(0, 256, (BATCH, height, width, 3), dtype=np.uint8)
        probabilities = model_of(bundle).probabilities
        probabilities(crops)  # the first call lays out memory
        loaded[name] = (probabilities, crops)
    rates: dict[str, list[float]] = {name: [] for name in loaded}
    for _ in track(range(TURNS), description="inference speed, in turns"):
        for name, (probabilities, crops) in loaded.items():
            begun, done = time.perf_counter(), 0
            while (spent := time.perf_counter() - begun) < TURN_S or not done:
                probabilities(crops)
                done += BATCH
            rates[name].append(done / spent)
    return {
        name: {"value": float(np.median(found)), "low": min(found), "high": max(found)} for name, found in rates.items()
    }


def _kind(folder: Path) -> str:
    """What the speed of a bundle depends on."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    sizes = {name: config["pretrained_cfg"].get(name) for name in ("input_size", "test_input_size")}
    kind = (config["architecture"], config["model_args"], sizes, read_info(folder).head, config["num_classes"])
    return json.dumps(kind, sort_keys=True)
