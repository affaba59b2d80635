"""whichland explain BUNDLE --maximise class:COUNTRY | channel:LAYER:NUMBER | unit:LAYER:NUMBER:ROW,COLUMN"""

import json as json_format
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from whichland.errors import UserError

if TYPE_CHECKING:
    from whichland.explanation.maximise import Goal
    from whichland.model.labels import LabelSpace

FORMS = "class:COUNTRY, channel:LAYER:NUMBER or unit:LAYER:NUMBER[:ROW,COLUMN]"


def run(folder: Path, texts: Sequence[str], out: str, *, steps: int | None, plain: bool, json: bool) -> None:
    """Make the pictures, write them on one sheet to `out`, and print a line for each."""
    import numpy as np

    from whichland.explanation.figure import side_by_side
    from whichland.explanation.maximise import MaximiseConfig, maximise
    from whichland.explanation.overlay import check_picture_path, save_picture
    from whichland.model import bundle as bundles
    from whichland.model.engines import best_device

    check_picture_path(Path(out))
    bundle = bundles.load(folder)
    bundle.model.to(best_device())
    goals = [find_goal(text, bundle.space) for text in texts]
    config = MaximiseConfig() if steps is None else MaximiseConfig(steps=steps)
    pictures, scores_G2 = maximise(bundle.model, goals, bundle.preprocess, config)
    captions = [caption(goal, bundle.space) for goal in goals]
    sheet = np.concatenate(list(pictures), axis=1) if plain else side_by_side(list(pictures), captions)
    path = save_picture(sheet, Path(out))
    for text, named, (grey, reached) in zip(texts, captions, scores_G2.tolist(), strict=True):
        if json:
            values = {"goal": text, "grey": grey, "reached": reached, "picture": str(path)}
            print(json_format.dumps(values))
        else:
            print(f"{' '.join(named.split())}: {grey:.2f} for even grey, {reached:.2f} reached -> {path}")


def find_goal(text: str, labels: "LabelSpace") -> "Goal":
    """Read what is to be maximised. Raises UserError for what is none of the three forms."""
    from whichland.cli.explain import find_target
    from whichland.explanation.maximise import Goal

    kind, _, rest = text.partition(":")
    if kind == "class" and rest:
        code = find_target(rest, labels, flag="--maximise")
        if isinstance(code, tuple):
            raise UserError(f"--maximise {text}: one {labels.noun} at a time; give the option again for another")
        return Goal(kind="class", number=labels.index[code])
    pattern = r"([^:]+):(\d+)" + (r"(?::(\d+),(\d+))?" if kind == "unit" else "()()")
    found = re.fullmatch(pattern, rest)
    if kind not in ("channel", "unit") or not found:
        raise UserError(f"--maximise {text}: give {FORMS}")
    layer, number, row, column = found.groups()
    place = (int(row), int(column)) if row else None
    return Goal(kind="unit" if kind == "unit" else "channel", number=int(number), layer=layer, place=place)


def caption(goal: "Goal", labels: "LabelSpace") -> str:
    """What a picture shows, in up to two lines."""
    if goal.kind == "class":
        return labels.name(labels.codes[goal.number])
    where = f", at {goal.place[0]}, {goal.place[1]}" if goal.place else ""
    return f"{goal.kind} {goal.number}{where}\nof {goal.layer}"
