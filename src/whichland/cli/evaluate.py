"""whichland evaluate BUNDLE MANIFEST"""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichland.cli.main import require_extra
from whichland.errors import UserError

if TYPE_CHECKING:
    from whichland.evaluation.probabilities import ProbabilityReport
    from whichland.evaluation.report import Report


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    manifest: Annotated[Path, typer.Argument(help="The table of photos, with splits.")],
    split: Annotated[str, typer.Option(help="Which part to judge on.")] = "test",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the report; beside the bundle when left out, never over another one."),
    ] = None,
    per: Annotated[
        str,
        typer.Option(
            metavar="photo|panorama",
            help="What counts as one: every photo, or every panorama, the probabilities of its views combined.",
        ),
    ] = "photo",
    json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
) -> None:
    """Judge a bundle on a split: scores with 95 % intervals over groups, and a report in one HTML file.

    Writes report.html, metrics.json, predictions.parquet, confusion.csv and confusion.svg. The same bundle and
    manifest again: the report is made anew without predicting again.
    """
    if per not in ("photo", "panorama"):
        raise UserError(f"--per {per}: choose photo or panorama")
    require_extra("train", "torch")
    from whichland.evaluation.evaluate import evaluate as judge
    from whichland.evaluation.report import numbers

    report = judge(bundle, manifest, split, out, per="panorama" if per == "panorama" else "photo")
    print(json_format.dumps(numbers(report), indent=2) if json else table(report))


def table(report: "Report") -> str:
    """The scores with their intervals and floors, as text, and where the report lies."""
    found = report.predictions
    lines = [f"{'':<20}{'score':>8}{'95% interval':>20}{'largest country':>18}{'chance':>9}"]
    for name, score in report.scores.items():
        floors = report.floors["majority"][name], report.floors["chance"][name]
        interval = f"{score.low:.1%} to {score.high:.1%}"
        title = {"top1": "top-1", "top5": "top-5", "macro_f1": "macro-F1"}.get(name, name.replace("_", " "))
        lines.append(f"{title:<20}{score.value:>8.1%}{interval:>20}{floors[0]:>18.1%}{floors[1]:>9.1%}")
    left = {
        "of countries the model does not know": sum(found.unknown.values()),
        "without a country": found.unplaced,
        "unreadable": len(found.unreadable),
    }
    groups = int(found.groups.max()) + 1
    lines.append(f"{found.frame.height:,} {found.per}s in {groups:,} groups, split {found.identity.split}")
    lines += [f"left out: {count:,} photos {why}" for why, count in left.items() if count]
    lines += probability_lines(report.probabilities)
    if report.evaluations > 1:
        lines.append(f"this model has been put to this split {report.evaluations} times")
    if report.doubt:
        lines.append(report.doubt)
    return "\n".join([*lines, f"report: {report.html}"])


def probability_lines(probabilities: "ProbabilityReport") -> list[str]:
    """What the probabilities are worth, in a few lines."""
    lines = [f"calibration error of the probabilities: {probabilities.scores.ece}"]
    if probabilities.calibration is None:
        return [*lines, "not calibrated: `whichland calibrate BUNDLE MANIFEST` fits probabilities, sets and thresholds"]
    lines += [
        f"sets at {row.level * 100:.4g} %: truth inside in {row.coverage}, {row.size.value:.1f} countries each"
        for row in probabilities.sets
    ]
    lines += [
        f"answering from probability {row.threshold:.2f} on: {row.right} right, {row.answered.value:.1%} answered"
        for row in probabilities.abstention
        if row.threshold is not None and row.right and row.answered
    ]
    return lines
