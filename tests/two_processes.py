"""What each of two processes does in test_distributed: torchrun runs it with a manifest, a folder and a part.

A script of its own, because starting torch twice takes longer than all that it does.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from signal import SIGINT, raise_signal
from typing import Any

import torch

from whichland.model.freezing import train_mode
from whichland.training.config import TrainConfig
from whichland.training.run import prepare, train
from whichland.training.stopping import Interrupted

QUICK: dict[str, Any] = {"size": 160, "test_size": 160, "batch_size": 8, "precision": "fp32", "workers": 1}
VIT = {
    "arch": "test_vit",
    "weights": "none",
    "freeze": "front:1,none",
    "epochs": 2,
    "accumulate": 2,
    "clip": 1.0,
    "ema": 0.9,
    "patience": 5,
    "views": 0,  # a model that is shared out keeps no activations
}
STOP = 2  # the step of the second epoch at which it is asked for


def config(**changes: Any) -> TrainConfig:
    return TrainConfig(**(QUICK | changes))


def models(manifest: Path, folder: Path) -> None:
    """The same run with the model in each process and shared out; then the latter is stopped."""
    train(manifest, config(**VIT), folder / "whole")
    train(manifest, config(**VIT, shard=True), folder / "shared")
    ready = prepare(manifest, config(**VIT, shard=True), folder / "stopped")
    rank = torch.distributed.get_rank()
    here = sum(p.to_local().numel() for p in ready.made.model.parameters())  # type: ignore[attr-defined]
    (folder / f"parameters-{rank}.json").write_text(json.dumps(here))

    def stop(line: dict[str, Any]) -> None:
        if (line["kind"], line["epoch"], line.get("step")) == ("step", 1, STOP):
            raise_signal(SIGINT)

    ready.fit.watchers.append(stop)
    try:
        ready.fit.run(train_mode)
    except Interrupted:
        return
    raise SystemExit("it was not stopped")


def opened(manifest: Path, folder: Path) -> None:
    """Note which photos this process opens, by what it opens them for."""
    seen: list[str] = []
    notes: dict[str, list[str]] = {}

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(".jpg"):
            seen.append(Path(str(arguments[0])).name)

    def note(name: str, work: Callable[[], object]) -> Any:
        seen.clear()
        result = work()
        notes[name] = list(seen)
        return result

    sys.addaudithook(watch)
    for own in (False, True):
        settings = {"arch": "test_resnet", "weights": str(folder / "w.safetensors"), "own_photos": own}
        out = folder / f"own-{own}"

        fit = note(f"head {own}", partial(prepare, manifest, config(**settings), out)).fit
        for epoch in range(3):
            note(f"epoch {epoch} {own}", partial(list, fit.loader.epoch(epoch)))
        note(f"validation {own}", fit.validate)
    for freeze in ("none", "backbone"):
        cached = {"arch": "test_resnet", "weights": "none", "own_photos": True, "freeze": freeze, "epochs": 1}
        kept = config(**cached, cache=str(folder / f"cache-{freeze}"))
        note(f"cached {freeze}", partial(train, manifest, kept, folder / freeze))
    rank = torch.distributed.get_rank()
    (folder / f"opened-{rank}.json").write_text(json.dumps(notes))


if __name__ == "__main__":
    part = {"models": models, "opened": opened}[sys.argv[3]]
    part(Path(sys.argv[1]), Path(sys.argv[2]))
