"""The training curve: losses and validation scores over epochs, from log.jsonl."""

import json
from pathlib import Path

from whichland.whole_file import whole_file


def draw_curve(log: Path, out: Path) -> None:
    """Draw losses on the left and validation scores on the right; write a PNG atomically."""
    # pyplot with a backend of its own would take a notebook's way of showing pictures away
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]
    epochs = [line for line in lines if line["kind"] == "epoch"]
    judged = [line for line in epochs if "val_loss" in line]
    each = max((line["step"] for line in steps), default=0) + 1
    last = max((line["epoch"] + (line["step"] + 1) / each for line in steps), default=0.0)  # may be cut short
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(
        [line["epoch"] + (line["step"] + 1) / each for line in steps],
        [line["loss"] for line in steps],
        color="0.8",
        linewidth=0.8,
        label="each step",
    )
    trained = [line for line in epochs if "train_loss" in line]  # all but what is judged before the first step
    middle = [line["epoch"] - 0.5 for line in trained]  # a mean over the epoch, drawn at its middle
    left.plot(middle, [line["train_loss"] for line in trained], color="0.1", label="training, mean")
    if judged:
        at = [min(line["epoch"], last) for line in judged]
        left.plot(at, [line["val_loss"] for line in judged], "o--", color="#0072b2", label="validation")
        right.plot(at, [line["val_top1"] for line in judged], "o-", color="#0072b2", label="top-1")
        right.plot(at, [line["val_macro_f1"] for line in judged], "s--", color="#d55e00", label="macro-F1")
        right.legend(frameon=False, loc="lower right")
    left.set(xlabel="epoch", ylabel="loss", title="Loss")
    left.legend(frameon=False)
    right.set(xlabel="epoch", ylim=(0, 1), xlim=left.get_xlim(), title="Validation scores")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.92")
        axes.set_axisbelow(True)
    with whole_file(out) as partial:
        figure.savefig(partial, format="png", dpi=150)
