"""One cell of a study in a process of its own: train, judge, and leave the numbers in its folder.
The folder is a run folder like any other, with cell.json (what to do), result.json (what came of it) or
failed.txt (why nothing did), and output.txt (all that it printed).
"""

import json
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whichland.allocator import keep_freed_memory
from whichland.config import build
from whichland.errors import UserError
from whichland.evaluation.evaluate import evaluate
from whichland.manifest import read
from whichland.statistics import interval
from whichland.training.config import TrainConfig
from whichland.training.process import Interrupted
from whichland.training.run import train
from whichland.whole_file import whole_file

TASK, RESULT, FAILED, OUTPUT = "cell.json", "result.json", "failed.txt", "output.txt"
STOPPED = 130  # exit code of a cell that was asked to stop and has written its checkpoint


def run(folder: Path) -> dict[str, Any]:
    """Train what is not trained yet, judge it, and write the result."""
    task = json.loads((folder / TASK).read_text(encoding="utf-8"))
    config = build(TrainConfig, task["config"], str(folder / TASK))
    table = read(task["manifest"])
    bundle = folder / "bundle"
    if not bundle.is_dir():
        train(table, config, folder, resume=(folder / "config.toml").exists())
    report = evaluate(bundle, table, task["split"])
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    info = report.bundle.info
    metrics = json.loads((bundle / "metrics.json").read_text(encoding="utf-8"))
    result = {
        "split": task["split"],
        "scores": {name: asdict(score) for name, score in report.scores.items()},
        "validation": metrics["validation"],
        "test_photos": len(report.outcomes.truth),
        "test_groups": int(report.predictions.groups.max()) + 1,
        "report": report.folder.name,
        "countries": len(report.bundle.labels),
        "train_photos": info.photos,
        "parameters": sum(p.numel() for p in report.bundle.model.parameters()),
        "train_photos_s": rate(lines, min(config.batch_size, info.photos or 0)),
        "seconds": next((line["seconds"] for line in reversed(lines) if "seconds" in line), None),
        "version": info.version,
        "packages": info.packages,
    }
    with whole_file(folder / RESULT) as partial:
        partial.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def rate(lines: list[Mapping[str, Any]], batch: int) -> dict[str, float] | None:
    """Photos a second of the median training step, with the interval of that median over steps.

    Only steps that follow a step: neither validation nor what comes before an epoch's first step counts. None
    where there are too few.
    """
    steps = [b["seconds"] - a["seconds"] for a, b in pairwise(lines) if a["kind"] == b["kind"] == "step"]
    if len(steps) < 3:
        return None
    taken = np.maximum(np.array(steps), 1e-9)
    random = np.random.default_rng(0)
    medians = np.median(random.choice(taken, (400, len(taken))), axis=1)[:, None]
    low, high = (float(bound[0]) for bound in interval(medians))
    return {"value": batch / float(np.median(taken)), "low": batch / high, "high": batch / low}


def run_alone(folder: str, threads: int | None = None) -> None:
    """Be the process of one cell: what it says goes to its folder, and so does, in one line, why it failed."""
    place = Path(folder)
    with (place / OUTPUT).open("ab") as output:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(output.fileno(), stream.fileno())
    (place / FAILED).unlink(missing_ok=True)
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    try:
        run(place)
    except (Interrupted, KeyboardInterrupt):
        sys.exit(STOPPED)
    except Exception as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
        (place / FAILED).write_text(reason(error) + "\n", encoding="utf-8")
        sys.exit(1)


def reason(error: Exception) -> str:
    """Why a cell failed, in one line."""
    text = " ".join(str(error).split()) or "no more is known"
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"[:300]
