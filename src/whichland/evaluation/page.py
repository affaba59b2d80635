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
from whichland.evaluation.report import Confused, Report, confusion_csv
from whichland.images.decode import ImageError, load
from whichland.images.preprocess import Pixels
from whichland.manifest import credit
from whichland.model.label_sources import column_labels
from whichland.model.labels import COUNTRY, LabelSpace
from whichland.statistics import Ints, Score
from whichland.templates import templates_beside

Picture = tuple[Pixels, str]  # a picture and its caption

PAIRS, EXAMPLES = 10, 3
SPLIT_NAMES = {"val": "validation", "test": "test"}
FEW = 20  # photos below which a country's own numbers say little

SAID = {
    "top1": ("Top-1", "the first guess is right"),
    "top5": ("Top-5", "the right country is among the first five guesses"),
    "macro_f1": ("Macro-F1", "F1 averaged over countries: a small country counts as much as a large one"),
    "balanced_accuracy": ("Balanced accuracy", "recall averaged over countries"),
}


def render(report: Report, explanations: Sequence[Picture] = ()) -> str:
    """Fill the template; every text is escaped, every picture stands inside the file."""
    environment = templates_beside(__file__)
    environment.filters["percent"] = lambda share, digits=0: f"{share:.{digits}%}"
    space = report.predictions.space
    environment.globals.update(label_name=space.name, noun=space.noun, nouns=space.nouns)
    if space.has_countries:
        environment.globals["country_name"] = space.at(COUNTRY).name
    environment.globals["band"] = lambda score, tick: Markup(track(score, [(tick, True)]))
    return environment.get_template("report.html.j2").render(
        report=report,
        found=report.predictions,
        version=whichland.__version__,
        few=FEW,
        strange=_strange(report),
        levels=_levels(report),
        **_headline(report),
        countries=_countries(report),
        **_confusion(report),
        reliability_figure=Markup(figures.reliability_svg(report.probabilities.bins)),
        risk_figure=Markup(figures.risk_svg(report.probabilities.curve)),
        confused=[_pair(report, pair) for pair in report.most_confused(PAIRS)],
        explanations=[(figures.inline_image(picture, 640), caption) for picture, caption in explanations],
        curves=_curves(report.bundle.folder.parent / "log.jsonl"),
        **_provenance(report),
    )


def _headline(report: Report) -> dict[str, Any]:
    outcomes = report.outcomes
    photos_K = report.confusion.sum(axis=1)
    worst = metrics.worst_tenth(outcomes)
    return {
        "unit": report.predictions.per,
        "photos": len(outcomes.truth),
        "groups": int(report.predictions.groups.max()) + 1,
        "tested_countries": int((photos_K > 0).sum()),
        "largest": report.predictions.labels[int(photos_K.argmax())],
        "sure": float(report.predictions.probabilities.max(axis=1).mean()),
        "worst": float(np.mean([country.recall for country in worst])),
        "worst_countries": len(worst),
        "scores": [_score_row(report, name, score) for name, score in report.scores.items()],
    }


def _score_row(report: Report, name: str, score: Score) -> dict[str, Any]:
    majority, chance = (report.floors[floor][name] for floor in ("majority", "chance"))
    drawn = Markup(track(score, [(majority, False), (chance, True)]))
    title, meaning = SAID[name]
    return {"name": title, "meaning": meaning, "score": score, "track": drawn, "majority": majority, "chance": chance}


def _countries(report: Report) -> list[dict[str, Any]]:
    """Rows of the table, best F1 first; countries that were only guessed stand last."""
    space, rows = report.predictions.space, []
    labels = space.codes
    for country in metrics.by_country(report.outcomes):
        wrong = report.confusion[country.label].copy()
        wrong[country.label] = 0
        taken = int(wrong.argmax())
        rows.append(
            {
                "code": labels[country.label],
                "scores": country,
                "taken_for": labels[taken] if wrong[taken] else None,
                "taken": int(wrong[taken]),
            }
        )
    return sorted(rows, key=lambda row: (row["scores"].photos == 0, -row["scores"].f1, space.name(row["code"])))


def shown_confusion(report: Report) -> tuple[Ints, LabelSpace]:
    """The confusion matrix of the labels that have photos or were guessed, and those labels."""
    counts = report.confusion
    seen = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    space = report.predictions.space
    return counts[np.ix_(seen, seen)], space.only(space.codes[at] for at in seen)


def _confusion(report: Report) -> dict[str, Any]:
    counts, labels = shown_confusion(report)
    text = confusion_csv(report)
    small = len(labels) <= figures.NUMBERED and max(map(len, labels.codes)) <= figures.SHORT
    return {
        "matrix": Markup(figures.confusion_svg(counts, labels)),
        "phone_matrix": Markup(figures.confusion_svg(counts, labels, phone=True)) if small else None,
        "matrix_csv": "data:text/csv;base64," + base64.b64encode(text.encode()).decode(),
        "matrix_rows": [line.split(",") for line in text.splitlines()] if len(labels) <= figures.TOOLTIPS else None,
    }


def _strange(report: Report) -> list[tuple[str, int]]:
    """Name and photos of each label that the model does not know."""
    found = report.predictions
    labels = column_labels(report.manifest, found.space.kind, tuple(found.unknown))
    return [(labels.name(code), photos) for code, photos in found.unknown.items()]


def _levels(report: Report) -> list[dict[str, Any]]:
    """Rows of the table of levels: the labels' own first."""
    space = report.predictions.space
    rows = {space.kind: report.scores, **report.levels}
    return [{"level": level, "labels": len(space.at(level)), "scores": scores} for level, scores in rows.items()]


def _pair(report: Report, pair: Confused) -> dict[str, Any]:
    """A confused pair and the photos to show, the surest mistakes first; unreadable by now: no picture."""
    examples = []
    found = report.predictions
    for row in pair.rows[:EXAMPLES]:
        photo = found.frame.row(row, named=True)
        probabilities = dict(zip(found.labels, found.probabilities[row].tolist(), strict=True))
        try:
            picture = figures.inline_image(load(photo["uri"], short_side=320))
        except ImageError:
            picture = None
        examples.append(
            {
                "picture": picture,
                "guess_probability": probabilities[pair.guess],
                "truth_probability": probabilities[pair.truth],
                "credit": credit(photo),
            }
        )
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


def _provenance(report: Report) -> dict[str, Any]:
    """Where the model and the data came from, as tables of (name, value)."""
    info = report.bundle.info
    preprocess = report.bundle.preprocess
    model = {
        "labels": len(report.bundle.labels),
        "input": f"{preprocess.size[1]}×{preprocess.size[0]} pixels, crop {preprocess.crop_pct:g}, "
        f"{preprocess.interpolation}",
        **{name: value for name, value in info.written.items() if not isinstance(value, dict | list)},
    }
    steps: list[dict[str, Any]] = [
        {"step": step, "params": _plain(step.params), "dropped": _plain(step.dropped)}
        for step in report.manifest.history
    ]
    nested = {name: value for name, value in info.written.items() if isinstance(value, dict)}
    return {
        "arch": str(info.train.get("arch", "model")),
        "model": [(name, _plain(value)) for name, value in model.items()],
        "settings": [
            (name, [(key, _plain(value)) for key, value in values.items()]) for name, values in nested.items()
        ],
        "steps": steps,
        "split_said": _split_said(report.manifest.last("split")),
        "split_record": next((s["params"] for s in reversed(steps) if s["step"].step == "split"), None),
    }


def _split_said(settings: dict[str, Any] | None) -> str | None:
    """How the photos were split, in a sentence for people; None where no split is recorded."""
    if not settings:
        return None
    certificate = settings.get("certificate") or {}
    shares = certificate.get("shares") or {name: settings[name] for name in ("val", "test") if name in settings}
    asked = " and ".join(f"{share:.0%} for {SPLIT_NAMES[name]}" for name, share in shares.items())
    said = "Whole groups of photos that belong together were assigned at random"
    said += f", {asked} of each country." if asked else "."
    if "groups" in certificate:
        said += f" There are {certificate['photos']:,} photos in {certificate['groups']:,} groups."
    nearest = (certificate.get("nearest_km") or {}).get("train-test")
    if nearest is not None:
        near = f"{nearest * 1000:.0f} m" if nearest < 1 else f"{nearest:.1f} km"
        said += f" The nearest photos of training and test lie {near} apart."
    return said


def _plain(value: Any) -> str:
    """A setting as text for reading."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    if value is None or isinstance(value, bool):
        return {None: "unset", True: "yes", False: "no"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    return Path(value).name if str(value).startswith("/") else str(value)  # a path on this machine: its name
