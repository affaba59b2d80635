"""The matrix of training and test sources: what a model that learnt from some scores on the photos of another."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whichland.evaluation import metrics
from whichland.evaluation.predictions import Predictions
from whichland.manifest import Manifest
from whichland.statistics import Flags, Score, renumbered

OTHERS = "all others"


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """One model on the test photos of one source."""

    trained_on: str  # a source, or OTHERS: all but the one it is tested on
    tested_on: str
    countries: tuple[str, ...]  # shared by the two, and judged
    photos: int
    groups: int
    macro_f1: Score | None  # None: no country is shared
    top1: Score | None
    at_home: float | None  # macro-F1 of the same model on its own sources, on the same countries

    @property
    def unseen(self) -> bool:
        return self.trained_on != self.tested_on


@dataclass(frozen=True, kw_only=True)
class CrossSource:
    """The matrix; its files lie in `folder`."""

    folder: Path
    sources: tuple[str, ...]  # the one that is hardest to a model that never saw it first
    cells: tuple[Transfer, ...]
    untrained: dict[str, str]  # sources that could only be tested on, and why

    @property
    def held_out(self) -> dict[str, Transfer]:
        """For each source the model that saw most without seeing it: of all others, or of the one other."""
        best: dict[str, Transfer] = {}
        for cell in sorted(self.cells, key=lambda cell: cell.trained_on != OTHERS):
            if cell.unseen and cell.macro_f1:
                best.setdefault(cell.tested_on, cell)
        return best

    @property
    def worst(self) -> Transfer | None:
        """The headline: the source on which a model that never saw it does worst, by macro-F1."""
        cells = self.held_out.values()
        return min(cells, key=lambda cell: cell.macro_f1.value if cell.macro_f1 else 1.0, default=None)


def cells_of(found: Predictions, table: Manifest, learnt: tuple[str, ...], tested: Sequence[str]) -> list[Transfer]:
    """The cells that one model fills: all sources, or for a model of several the one left out."""
    source_of = dict(table.frame.select("image_id", "source").iter_rows())
    source_N = np.array([source_of[image] for image in found.frame["image_id"]])
    own_N = np.isin(source_N, learnt)
    alone = len(learnt) == 1
    cells = []
    for source in tested if alone else [name for name in tested if name not in learnt]:
        here_N = source_N == source
        shared = np.unique(found.truth[here_N])
        judged = _scores(found, here_N)
        at_home = _scores(found, own_N & np.isin(found.truth, shared)) if source not in learnt else {}
        cells.append(
            Transfer(
                trained_on=learnt[0] if alone else OTHERS,
                tested_on=source,
                countries=tuple(found.labels[at] for at in shared),
                photos=int(here_N.sum()),
                groups=len(np.unique(found.groups[here_N])),
                macro_f1=judged.get("macro_f1"),
                top1=judged.get("top1"),
                at_home=at_home["macro_f1"].value if at_home else None,
            )
        )
    return cells


def _scores(found: Predictions, some_N: Flags) -> dict[str, Score]:
    """The scores over some of the photos, with 95 % intervals over their groups; none for no photos."""
    if not some_N.any():
        return {}
    outcomes = metrics.Outcomes.from_probabilities(found.truth[some_N], found.probabilities[some_N])
    return metrics.judged(outcomes, renumbered(found.groups[some_N]))


def hardest_first(tested: Sequence[str], cells: Sequence[Transfer]) -> tuple[str, ...]:
    """Sources by the mean macro-F1 of the models that never saw them, lowest first."""

    def ease(source: str) -> float:
        seen = [cell.macro_f1.value for cell in cells if cell.tested_on == source and cell.unseen and cell.macro_f1]
        return float(np.mean(seen)) if seen else 1.0

    return tuple(sorted(tested, key=lambda source: (ease(source), source)))


def numbers(result: CrossSource) -> dict[str, Any]:
    """The matrix, ready for JSON."""
    worst = result.worst
    return {
        "worst_source": worst.tested_on if worst else None,
        "worst_macro_f1": asdict(worst)["macro_f1"] if worst else None,
        "sources": list(result.sources),
        "untrained": result.untrained,
        "cells": [asdict(cell) | {"unseen": cell.unseen} for cell in result.cells],
    }
