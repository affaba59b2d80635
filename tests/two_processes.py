"""What each of two processes does in test_distributed: torchrun runs it with a manifest and a folder.

It notes which photos this process opens, by what it opens them for.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from whichland.training.config import TrainConfig
from whichland.training.run import prepare


def main(manifest: Path, folder: Path) -> None:
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
    weights = str(folder / "w.safetensors")
    config = TrainConfig(
        arch="test_resnet", weights=weights, size=160, test_size=160, batch_size=8, precision="fp32", workers=1
    )
    fit = note("head", partial(prepare, manifest, config, folder / "run")).fit
    for epoch in range(3):
        note(f"epoch {epoch}", partial(list, fit.loader.epoch(epoch)))
    note("validation", partial(fit.judge.scores, fit.model))
    rank = torch.distributed.get_rank()
    (folder / f"opened-{rank}.json").write_text(json.dumps(notes))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
