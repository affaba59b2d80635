"""whichland evaluate BUNDLE MANIFEST"""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichland.cli.main import require_extra

if TYPE_CHECKING:
    from whichland.evaluate.report import Report


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    manifest: Annotated[Path, typer.Argument(help="The table of photos, with splits.")],
    split: Annotated[str, typer.Option(help="Which part to judge on.")] = "test",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the report; beside the bundle when left out, never over another one."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
) -> None:
    """Judge a bundle on a split: scores with 95 % intervals over groups, and a report in one HTML file.

    Writes report.html, metrics.json, predictions.parquet, confusion.csv and confusion.svg. The same bundle and
    manifest again: the report is made anew without predicting again.
    """
    require_extra("train", "torch")
    from whichland.evaluate.report import evaluate as judge
    from whichland.evaluate.report import numbers

    report = judge(bundle, manifest, split, out)
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
    lines.append(
        f"{found.frame.height:,} photos in {int(found.groups.max()) + 1:,} groups, split {found.identity.split}"
    )
    lines += [f"left out: {count:,} photos {why}" for why, count in left.items() if count]
    if report.evaluations > 1:
        lines.append(f"this model has been put to this split {report.evaluations} times")
    if report.doubt:
        lines.append(report.doubt)
    return "\n".join([*lines, f"report: {report.html}"])
