"""What the cells of a study say together: a tidy table, and each model's scores over photos and seeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from whichland.evaluation import paired
from whichland.evaluation.compare import Comparison, compare_answers, count_answers, read_answers
from whichland.evaluation.metrics import SCORES
from whichland.statistics import Score, interval
from whichland.studies import learning_curve
from whichland.studies.grid import Cell, places
from whichland.studies.learning_curve import Floats, LearningCurve
from whichland.studies.runs import state

Speeds = Mapping[str, Mapping[str, float]]  # value, low, high by cell
Results = Mapping[str, Mapping[str, Any] | None]  # what `runs.result_of` found of each cell


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
    cells: tuple[Cell, ...], out: Path, results: Results, failed: Mapping[str, str], speeds: Speeds, jobs: int
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


def _spread(name: str, found: Mapping[str, float] | None) -> dict[str, float | None]:
    found = found or {}
    return {name: found.get("value"), f"{name}_low": found.get("low"), f"{name}_high": found.get("high")}


def find(table: pl.DataFrame, cells: tuple[Cell, ...], out: Path, results: Results) -> Findings:
    """Draw a study's conclusions from its table and its cells' answers."""
    reports = {name: str(result["report"]) for name, result in results.items() if result}
    done = [cell for cell in cells if cell.name in reports]
    if not done:
        return Findings(table=table, models=(), comparison=None)
    split = str(next(result["split"] for result in results.values() if result))
    answers = {cell.name: read_answers(out / "runs" / cell.name / reports[cell.name]) for cell in done}
    counted, _ = count_answers({name: [found] for name, found in answers.items()})
    drawn_RMS, seen_MS = paired.redraw(counted), paired.scores(counted)[0]
    place = {name: at for at, name in enumerate(counted.names)}
    rows = {row["cell"]: row for row in table.iter_rows(named=True)}
    seen = {name: seen_MS[at] for name, at in place.items()}
    drawn = {name: drawn_RMS[:, at, 1] for name, at in place.items()}

    models = []
    for name in dict.fromkeys(cell.model for cell in done):
        own = [cell for cell in done if cell.model == name]
        points, redraws = _points(own, rows, seen, drawn)
        best = max(points, key=lambda point: (point.validation, point.photos))
        models.append((own, points, redraws, best))
    pooled = {own[0].model: [answers[cell] for cell in best.cells] for own, _, _, best in models}
    comparison = compare_answers(pooled, split) if len(pooled) > 1 else None
    letters = {model.name: model.ties_macro_f1 for model in comparison.models} if comparison else {}
    found = [
        _model(own, points, redraws, best, rows, letters.get(own[0].model, "a"))
        for own, points, redraws, best in models
    ]
    return Findings(
        table=table, models=tuple(sorted(found, key=lambda model: -model.best.score.value)), comparison=comparison
    )


def _points(
    cells: list[Cell], rows: Mapping[str, Mapping[str, Any]], seen: Mapping[str, Floats], drawn: Mapping[str, Floats]
) -> tuple[tuple[Point, ...], Floats]:
    """A model's points, fewest photos first, and their redraws: R×P, over test groups and over seeds."""
    points, redraws = [], []
    random = np.random.default_rng(0)
    for wanted in dict.fromkeys(cell.config.photos for cell in cells):
        of = [cell.name for cell in cells if cell.config.photos == wanted]
        scores_RS = np.stack([drawn[name] for name in of], axis=1)
        seeds_RS = random.integers(0, len(of), scores_RS.shape)
        redrawn_R = np.take_along_axis(scores_RS, seeds_RS, axis=1).mean(axis=1)
        low, high = interval(redrawn_R[:, None])
        value = float(np.mean([seen[name][1] for name in of]))
        points.append(
            Point(
                photos=float(np.mean([rows[name]["train_photos"] / rows[name]["countries"] for name in of])),
                wanted=wanted,
                score=Score(value=value, low=min(float(low[0]), value), high=max(float(high[0]), value)),
                top1=float(np.mean([seen[name][0] for name in of])),
                validation=float(np.mean([rows[name]["val_macro_f1"] or 0.0 for name in of])),
                cells=tuple(of),
            )
        )
        redraws.append(redrawn_R)
    order = sorted(range(len(points)), key=lambda at: points[at].photos)
    return tuple(points[at] for at in order), np.stack([redraws[at] for at in order], axis=1)


def _model(
    cells: list[Cell],
    points: tuple[Point, ...],
    redraws_RP: Floats,
    best: Point,
    rows: Mapping[str, Mapping[str, Any]],
    ties: str,
) -> Model:
    photos = np.array([point.photos for point in points])
    scores = np.array([point.score.value for point in points])
    own = [rows[cell.name] for cell in cells]
    taken = [rows[name]["seconds"] for name in best.cells if rows[name]["seconds"] is not None]
    inference = _range(own, "inference_photos_s")
    assert inference is not None  # every judged cell was timed
    return Model(
        name=cells[0].model,
        family=cells[0].family,
        tier=cells[0].tier,
        points=points,
        best=best,
        ties=ties,
        parameters=own[0]["parameters"],
        training=_range(own, "train_photos_s"),
        inference=inference,
        seconds=float(np.median(taken)) if taken else None,
        curve=learning_curve.fit(photos, scores, redraws_RP),
    )


def _range(rows: list[Mapping[str, Any]], name: str) -> Score | None:
    known = [row for row in rows if row[name] is not None]
    if not known:
        return None
    return Score(
        value=float(np.median([row[name] for row in known])),
        low=min(row[f"{name}_low"] for row in known),
        high=max(row[f"{name}_high"] for row in known),
    )
