"""What the cells of a study say together: a tidy table, each model's scores over photos and seeds, learning curves.

A learning curve is a score as a power law of the number of photos, a - b n^-c, with a band from redraws of the test.
The form is that of Hestness et al. 2017 (arXiv 1712.00409) for errors, with a the score of endless photos. Three
sizes are three parameters: that the curve meets its points then says nothing, only the band does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from whichland import statistics
from whichland.evaluation import paired
from whichland.evaluation.compare import Comparison, compare_answers, count_answers, read_answers
from whichland.evaluation.metrics import SCORES
from whichland.statistics import REPLICATES, Floats, Ints, Score, interval, with_errors
from whichland.studies.grid import Cell, places
from whichland.studies.runs import state

Row = Mapping[str, Any]  # of the table, or the values of a score or speed: value, low, high
Results = Mapping[str, Row | None]  # by cell, such as what `runs.result_of` found of each

POWERS = np.geomspace(0.05, 3.0, 80)
BEYOND = 4.0  # times the most photos seen, to where a curve is drawn
STEPS = 60


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """A fitted curve over S numbers of photos."""

    photos: Floats  # S
    score: Floats  # S
    low: Floats  # S
    high: Floats  # S
    last: float  # the most photos that were learnt from; the rest is a guess ahead


@dataclass(frozen=True, kw_only=True)
class Point:
    """A model's macro-F1 after learning from so many photos, over its seeds."""

    photos: float  # a country, on average
    wanted: int | None  # the setting
    score: Score
    top1: float
    validation: float
    cells: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is known of one model of the study."""

    name: str
    family: str | None
    tier: str | None
    points: tuple[Point, ...]  # fewest photos first
    best: Point  # by validation, so that the test's own luck does not choose
    ties: str  # letters; models that share one were not distinguished at their best
    parameters: int
    training: Score | None  # photos a second: median over runs, the least and most of their intervals
    inference: Score  # photos a second: median, least and most of the turns
    seconds: float | None  # of a training run at the best point
    curve: LearningCurve | None


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A study's outcome."""

    table: pl.DataFrame
    models: tuple[Model, ...]  # the best first
    comparison: Comparison | None  # of the models at their best; None for fewer than two


def table_of(
    cells: tuple[Cell, ...], out: Path, results: Results, failed: Mapping[str, str], speeds: Results, jobs: int
) -> pl.DataFrame:
    """A row a cell: its state, its scores with intervals, speeds, size, time; empty where it failed."""
    rows = []
    for cell in cells:
        result = results[cell.name]
        row: dict[str, Any] = {"state": state(out / "runs" / cell.name, result), "reason": failed.get(cell.name)}
        if result:
            for name in SCORES:
                row |= _spread(name, result["scores"][name])
            row |= {name: result["validation"].get(name) for name in ("val_top1", "val_macro_f1")}
            for name in ("countries", "train_photos", "test_photos", "test_groups", "parameters", "seconds"):
                row[name] = result[name]
            row |= _spread("train_photos_s", result["train_photos_s"])
            row |= _spread("inference_photos_s", speeds[cell.name])
            row |= {"jobs": jobs, "version": result["version"]}
        rows.append(row)
    runs = pl.DataFrame({"run": [f"runs/{cell.name}" for cell in cells]})
    return pl.concat([places(cells), pl.DataFrame(rows, infer_schema_length=None), runs], how="horizontal")


def _spread(name: str, found: Row | None) -> dict[str, float | None]:
    ends = {name: "value", f"{name}_low": "low", f"{name}_high": "high"}
    return {column: (found or {}).get(end) for column, end in ends.items()}


def find(table: pl.DataFrame, cells: tuple[Cell, ...], out: Path, results: Results) -> Findings:
    """Draw a study's conclusions from its table and its cells' answers."""
    reports = {name: str(result["report"]) for name, result in results.items() if result}
    done = [cell for cell in cells if cell.name in reports]
    if not done:
        return Findings(table=table, models=(), comparison=None)
    split = str(next(result["split"] for result in results.values() if result))
    answers = {cell.name: read_answers(out / "runs" / cell.name / reports[cell.name]) for cell in done}
    counted, _ = count_answers({name: [found] for name, found in answers.items()})
    times_RG = statistics.redraws(len(counted.photos), REPLICATES, seed=0)
    drawn_RMS, seen_MS = paired.scores(counted, times_RG), paired.scores(counted)[0]
    seen = {name: (seen_MS[at], drawn_RMS[:, at, 1]) for at, name in enumerate(counted.names)}
    rows = {row["cell"]: row for row in table.iter_rows(named=True)}

    found = {}
    for name in dict.fromkeys(cell.model for cell in done):
        points, redraws = _points([cell for cell in done if cell.model == name], rows, seen, counted.group_of)
        best = max(points, key=lambda point: (point.validation, point.photos))
        found[name] = (points, redraws, best)
    pooled = {name: [answers[cell] for cell in best.cells] for name, (_, _, best) in found.items()}
    comparison = compare_answers(pooled, split) if len(pooled) > 1 else None
    letters = {model.name: model.ties_macro_f1 for model in comparison.models} if comparison else {}
    models = []
    for name, (points, redraws, best) in found.items():
        cell, *_ = own = [cell for cell in done if cell.model == name]
        of_model = [rows[each.name] for each in own]
        taken = [rows[each]["seconds"] for each in best.cells if rows[each]["seconds"] is not None]
        inference = _range(of_model, "inference_photos_s")
        assert inference is not None  # every judged cell was timed
        models.append(
            Model(
                name=name,
                family=cell.family,
                tier=cell.tier,
                points=points,
                best=best,
                ties=letters.get(name, "a"),
                parameters=of_model[0]["parameters"],
                training=_range(of_model, "train_photos_s"),
                inference=inference,
                seconds=float(np.median(taken)) if taken else None,
                curve=fit(
                    np.array([point.photos for point in points]),
                    np.array([point.score.value for point in points]),
                    redraws,
                ),
            )
        )
    models.sort(key=lambda model: -model.best.score.value)
    return Findings(table=table, models=tuple(models), comparison=comparison)


def _points(
    cells: Sequence[Cell], rows: Mapping[str, Row], seen: Mapping[str, tuple[Floats, Floats]], group_N: Ints
) -> tuple[tuple[Point, ...], Floats]:
    """A model's points, fewest photos first, and their redraws: R×P, over test groups and over seeds.

    `seen` has a cell's scores, and its macro-F1 in each redraw of the test groups, `group_N` the photos' groups.
    """
    found = []
    random = np.random.default_rng(0)
    for wanted in dict.fromkeys(cell.config.photos for cell in cells):
        of = [cell.name for cell in cells if cell.config.photos == wanted]
        scores_RS = np.stack([seen[name][1] for name in of], axis=1)
        seeds_RS = random.integers(0, len(of), scores_RS.shape)
        redrawn_R = np.take_along_axis(scores_RS, seeds_RS, axis=1).mean(axis=1)
        groups = int(group_N.max()) + 1
        error = redrawn_R.std(ddof=1) * np.sqrt(groups / max(groups - 1, 1))
        value = float(np.mean([seen[name][0][1] for name in of]))
        point = Point(
            photos=float(np.mean([rows[name]["train_photos"] / rows[name]["countries"] for name in of])),
            wanted=wanted,
            score=with_errors(value, error, max(groups - 1, 1), group_N, "share")[0],
            top1=float(np.mean([seen[name][0][0] for name in of])),
            validation=float(np.mean([rows[name]["val_macro_f1"] or 0.0 for name in of])),
            cells=tuple(of),
        )
        found.append((point, redrawn_R))
    found.sort(key=lambda pair: pair[0].photos)
    return tuple(point for point, _ in found), np.stack([redrawn_R for _, redrawn_R in found], axis=1)


def _range(rows: Sequence[Row], name: str) -> Score | None:
    known = [row for row in rows if row[name] is not None]
    if not known:
        return None
    value = float(np.median([row[name] for row in known]))
    return Score(
        value=value, low=min(row[f"{name}_low"] for row in known), high=max(row[f"{name}_high"] for row in known)
    )


def fit(photos_P: Floats, score_P: Floats, drawn_RP: Floats) -> LearningCurve | None:
    """Fit the scores at P numbers of photos, and each of R redraws of them; None for fewer than three numbers."""
    if len(np.unique(photos_P)) < 3:
        return None
    along = np.geomspace(photos_P.min(), photos_P.max() * BEYOND, STEPS)
    a, b, c = parameters(photos_P, np.concatenate([score_P[None], drawn_RP]))
    curves = a[:, None] - b[:, None] * along ** -c[:, None]
    low, high = interval(curves[1:])
    return LearningCurve(
        photos=along,
        score=curves[0],
        low=np.minimum(low, curves[0]),
        high=np.maximum(high, curves[0]),
        last=float(photos_P.max()),
    )


def parameters(photos_P: Floats, scores_RP: Floats) -> tuple[Floats, Floats, Floats]:
    """Least squares with a ≤ 1, b ≥ 0 and c one of `POWERS`, for each row of scores: a, b, c of length R."""
    best = np.full(len(scores_RP), np.inf)
    found = np.zeros((3, len(scores_RP)))
    mean_R = scores_RP.mean(axis=1)
    for c in POWERS:
        x_P = photos_P**-c
        apart_P = x_P - x_P.mean()
        b_R = np.maximum(-(scores_RP @ apart_P) / (apart_P @ apart_P), 0.0)
        a_R = mean_R + b_R * x_P.mean()
        over = a_R > 1  # the best under a = 1
        b_R = np.where(over, np.maximum((1 - scores_RP) @ x_P / (x_P @ x_P), 0.0), b_R)
        a_R = np.where(over, 1.0, a_R)
        error_R = ((scores_RP - a_R[:, None] + b_R[:, None] * x_P) ** 2).sum(axis=1)
        better = error_R < best - 1e-12
        best = np.where(better, error_R, best)
        found[:, better] = np.stack([a_R, b_R, np.full_like(a_R, c)])[:, better]
    return found[0], found[1], found[2]
