"""The report as one HTML file: what the template needs, worked out; the template only lays it out."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

import whichland
from whichland.charts import Line, Look, lines_svg, track
from whichland.evaluation import figures, metrics
from whichland.evaluation.report import Confused, Report, confusion_csv, confusion_rows, numbers
from whichland.images.decode import ImageError, load
from whichland.images.preprocess import Pixels
from whichland.manifest import credit
from whichland.model.answer import CERTAINTY
from whichland.model.label_sources import column_labels
from whichland.model.labels import COUNTRY, LabelSpace
from whichland.printed import setting_said
from whichland.statistics import FEWEST, Ints
from whichland.templates import templates_beside

Picture = tuple[Pixels, str]  # a picture and its caption

PAIRS, EXAMPLES = 10, 3
FEW = 20  # photos below which a country's own numbers say little


def render(report: Report, explanations: Sequence[Picture] = ()) -> str:
    """Fill the template; every text is escaped, every picture stands inside the file."""
    environment = templates_beside(__file__)
    environment.filters.update(percent=lambda share, digits=0: f"{share:.{digits}%}", plain=setting_said)
    found, info, history = report.predictions, report.bundle.info, report.manifest.history
    space = found.space
    environment.globals.update(label_name=space.name, noun=space.noun, nouns=space.nouns)
    if space.has_countries:
        environment.globals["country_name"] = space.at(COUNTRY).name
    environment.globals["band"] = lambda score, *ticks: Markup(track(score, ticks))
    strange = column_labels(report.manifest, space.kind, tuple(found.unknown))
    return environment.get_template("report.html.j2").render(
        report=report,
        found=found,
        numbers=numbers(report),
        unit=found.per,
        version=whichland.__version__,
        certainty=CERTAINTY,
        few=FEW,
        fewest=FEWEST,
        largest=found.labels[int(report.confusion.sum(axis=1).argmax())],
        strange=[(strange.name(code), photos) for code, photos in found.unknown.items()],
        levels={space.kind: report.scores, **report.levels},
        countries=_countries(report),
        **_confusion(report),
        reliability_figure=Markup(figures.reliability_svg(report.probabilities.bins)),
        risk_figure=Markup(figures.risk_svg(report.probabilities.curve)),
        confused=[_pair(report, pair) for pair in report.most_confused(PAIRS)],
        explanations=[(figures.inline_image(picture, 640), caption) for picture, caption in explanations],
        curves=_curves(report.bundle.folder.parent / "log.jsonl"),
        info=info.written,
        arch=str(info.train.get("arch", "model")),
        preprocess=report.bundle.preprocess,
        steps=history,
        split=next((step.params for step in reversed(history) if step.step == "split"), {}),
    )


def _countries(report: Report) -> list[dict[str, Any]]:
    """Rows of the table, best F1 first; countries that were only guessed stand last."""
    space, rows = report.predictions.space, []
    for country in metrics.by_country(report.outcomes):
        wrong = report.confusion[country.label].copy()
        wrong[country.label] = 0
        taken = int(wrong.argmax())
        taken_for = space.codes[taken] if wrong[taken] else None
        row = {"code": space.codes[country.label], "scores": country}
        rows.append(row | {"taken_for": taken_for, "taken": int(wrong[taken])})
    return sorted(rows, key=lambda row: (row["scores"].photos == 0, -row["scores"].f1, space.name(row["code"])))


def shown_confusion(report: Report) -> tuple[Ints, LabelSpace]:
    """The confusion matrix of the labels that have photos or were guessed, and those labels."""
    counts = report.confusion
    seen = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    space = report.predictions.space
    return counts[np.ix_(seen, seen)], space.only(space.codes[at] for at in seen)


def _confusion(report: Report) -> dict[str, Any]:
    counts, labels = shown_confusion(report)
    small = len(labels) <= figures.NUMBERED and max(map(len, labels.codes)) <= figures.SHORT
    return {
        "matrix": Markup(figures.confusion_svg(counts, labels)),
        "phone_matrix": Markup(figures.confusion_svg(counts, labels, phone=True)) if small else None,
        "matrix_csv": "data:text/csv;base64," + base64.b64encode(confusion_csv(report).encode()).decode(),
        "matrix_rows": confusion_rows(report) if len(labels) <= figures.TOOLTIPS else None,
    }


def _pair(report: Report, pair: Confused) -> dict[str, Any]:
    """A confused pair and the photos to show, the surest mistakes first; unreadable by now: no picture."""
    found, examples = report.predictions, []
    for row in pair.rows[:EXAMPLES]:
        photo = found.frame.row(row, named=True)
        try:
            picture = figures.inline_image(load(photo["uri"], short_side=320))
        except ImageError:
            picture = None
        guess, truth = (float(found.probabilities[row, found.space.index[code]]) for code in (pair.guess, pair.truth))
        probabilities = {"guess_probability": guess, "truth_probability": truth}
        examples.append({"picture": picture, "credit": credit(photo)} | probabilities)
    return {"pair": pair, "examples": examples}


def _curves(log: Path) -> list[Markup]:
    """The training curve as figures, from the run's log; none when there is no log or nothing to draw."""
    if not log.is_file():
        return []
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    epochs = {line["epoch"]: line for line in lines if line.get("kind") == "epoch"}  # a resumed one occurs twice

    def line(name: str, key: str, look: Look = "first") -> Line:
        values = np.array([(at, epochs[at].get(key)) for at in sorted(epochs)], np.float64).reshape(-1, 2)
        x, y = values[np.isfinite(values[:, 1])].T
        return Line(name=name, x=x, y=y, look=look, dots=True)

    end = float(max(epochs, default=0))
    losses = [line("training", "train_loss"), line("validation", "val_loss", "second")]
    judged = [line("top-1", "val_top1"), line("macro-F1", "val_macro_f1", "second")]
    drawn = (
        lines_svg("Loss", losses, end=end),
        lines_svg("Validation scores", judged, end=end, percent=True, y_range=(0, 1)),
    )
    return [Markup(figure) for figure in drawn if figure]
