"""Judge a bundle on a split: scores with intervals, the numbers as files, and one HTML page that holds it all."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whichland import bootstrap
from whichland import manifest as manifests
from whichland.bootstrap import Score as Score
from whichland.evaluation import metrics
from whichland.evaluation.predictions import Identity, Per, Predictions, bundle_hash, collect, doubt_about
from whichland.evaluation.report_folder import LOG, borrow, choose_folder, model_hash, note, times
from whichland.manifest import Manifest
from whichland.model import bundle as bundles
from whichland.model.bundle import Bundle
from whichland.training.run import manifest_hash
from whichland.whole_file import whole_file

if TYPE_CHECKING:
    from whichland.evaluation.geography import Geography
    from whichland.evaluation.pins import PinReport
    from whichland.evaluation.probabilities import ProbabilityReport

Explanation = tuple[NDArray[np.uint8], str]  # a picture, H×W×3, and what to say of it


@dataclass(frozen=True, kw_only=True)
class Confused:
    """Photos of one country that were taken for another."""

    truth: str
    guess: str
    photos: int
    of: int  # photos of the true country
    rows: tuple[int, ...] = field(repr=False)  # in `predictions`, the surest first


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of an evaluation; its files lie in `folder`."""

    folder: Path
    bundle: Bundle
    manifest: Manifest
    predictions: Predictions
    scores: dict[str, Score]  # top1, top5, macro_f1, balanced_accuracy
    floors: dict[str, dict[str, float]]  # the same scores for "majority" and "chance"
    evaluations: int  # how often this bundle has answered this split, this time included

    @cached_property
    def outcomes(self) -> metrics.Outcomes:
        return self.predictions.outcomes

    @cached_property
    def confusion(self) -> metrics.Ints:
        """Photos by truth (rows) and guess (columns), in the order of the bundle's labels."""
        return metrics.confusion(self.outcomes)

    @property
    def html(self) -> Path:
        return self.folder / "report.html"

    @property
    def trained_on_this(self) -> bool:
        """Whether the manifest is the one the bundle was trained from, so that its split was kept apart."""
        trained = self.bundle.info.get("manifest_sha256")
        return bool(trained == self.predictions.identity.manifest_sha256)

    @cached_property
    def probabilities(self) -> "ProbabilityReport":
        from whichland.evaluation.probabilities import judge_probabilities

        return judge_probabilities(self.predictions, self.bundle.info)

    @cached_property
    def geography(self) -> "Geography":
        from whichland.evaluation.geography import geography

        return geography(self.outcomes, self.predictions.labels, self.predictions.groups)

    @cached_property
    def pins(self) -> "PinReport":
        from whichland.evaluation.pins import judge_pins, places_for

        return judge_pins(self.predictions, places_for(self), self.manifest)

    @cached_property
    def doubt(self) -> str | None:
        """Why the photos may not be new to the model, in one line; None when its own split kept them apart."""
        return doubt_about(self.bundle.info, self.manifest, self.predictions.identity.manifest_sha256)

    def most_confused(self, n: int = 10) -> list[Confused]:
        """The `n` pairs (truth, guess) with the most wrong answers; among equals the larger share of the truth."""
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        photos = self.confusion.sum(axis=1)
        pairs = sorted(np.argwhere(wrong).tolist(), key=lambda p: (-wrong[*p], photos[p[0]], p))
        sureness = self.predictions.probabilities.max(axis=1)
        found = []
        for truth, guess in pairs[:n]:
            rows = np.flatnonzero((self.outcomes.truth == truth) & (self.outcomes.guess == guess))
            surest = rows[np.argsort(-sureness[rows], kind="stable")]
            found.append(
                Confused(
                    truth=self.predictions.labels[truth],
                    guess=self.predictions.labels[guess],
                    photos=int(wrong[truth, guess]),
                    of=int(photos[truth]),
                    rows=tuple(surest.tolist()),
                )
            )
        return found


def evaluate(
    bundle: str | Path,
    manifest: Manifest | str | Path,
    split: str = "test",
    out: str | Path | None = None,
    *,
    per: Per = "photo",
    explanations: Sequence[Explanation] = (),
) -> Report:
    """Judge the bundle in a folder on the kept photos of one split, and write the report.

    Without `out` the report goes beside the bundle, into `report` for the test split and `report-SPLIT` for
    others; when another bundle's or manifest's report lies there, into the next free `report-2`, `report-3`, …
    The same bundle and manifest again: the report is made anew from the answers that lie there. With `per`
    "panorama" the answers for the views of one panorama are combined, and the folder is `report-panorama`.
    Raises UserError when `out` holds another evaluation, or the split has nothing to judge.
    """
    loaded = bundles.load(bundle)
    table = manifest if isinstance(manifest, Manifest) else manifests.read(manifest)
    table.require("split", "country", hint="make it with `whichland data split`")
    if per == "panorama":
        table.require("panorama", hint="`whichland data merge --images views` cuts panoramas into views")
    identity = Identity(bundle_sha256=bundle_hash(loaded.folder), manifest_sha256=manifest_hash(table), split=split)
    folder = choose_folder(loaded.folder.parent, split, Path(out) if out else None, identity, per)
    if per == "panorama":
        borrow(folder, loaded.folder.parent, identity)
    predictions, asked = collect(loaded, table, identity, folder)
    log, model = loaded.folder.parent / LOG, model_hash(loaded.folder)
    if asked:
        note(log, identity, model)
    if per == "panorama":
        predictions = predictions.per_panorama()
    outcomes = predictions.outcomes
    report = Report(
        folder=folder,
        bundle=loaded,
        manifest=table,
        predictions=predictions,
        scores=score(outcomes, predictions.groups),
        floors=metrics.floors(outcomes),
        evaluations=times(log, identity, model),
    )
    _write(report, explanations)
    return report


def score(outcomes: metrics.Outcomes, group_N: metrics.Ints) -> dict[str, Score]:
    """The overall scores, each with a 95 % percentile interval from a bootstrap over groups."""
    drawn = bootstrap.replicate(lambda weights_N: metrics.scores(outcomes, weights_N), group_N)
    return dict(zip(metrics.SCORES, bootstrap.scored(metrics.scores(outcomes), drawn), strict=True))


def numbers(report: Report) -> dict[str, Any]:
    """Everything the report says in numbers, ready for JSON."""
    from whichland.evaluation.probabilities import numbers as probability_numbers

    found, outcomes = report.predictions, report.outcomes
    worst, countries = metrics.worst_tenth(outcomes)
    return {
        **asdict(found.identity),
        "per": found.per,
        "photos": len(outcomes.truth),
        "groups": int(found.groups.max()) + 1,
        "countries": len(np.unique(outcomes.truth)),
        "labels": len(found.labels),
        "scores": {name: asdict(score) for name, score in report.scores.items()},
        "floors": report.floors,
        "worst_tenth": {"recall": worst, "countries": countries},
        "mean_probability_of_first_guess": float(found.probabilities.max(axis=1).mean()),
        "by_country": {
            found.labels[c.label]: {
                "photos": c.photos,
                "guessed": c.guessed,
                "recall": None if isnan(c.recall) else c.recall,
                "precision": c.precision,
                "f1": c.f1,
            }
            for c in metrics.by_country(outcomes)
        },
        "probabilities": probability_numbers(report.probabilities),
        "geography": asdict(report.geography),
        "pins": asdict(report.pins),
        "left_out": {
            "unknown_countries": found.unknown,
            "without_country": found.unplaced,
            "unreadable": sorted(found.unreadable),
        },
        "trained_on_this_manifest": report.trained_on_this,
        "doubt": report.doubt,
        "evaluations_of_this_split": report.evaluations,
        "bootstrap": {"replicates": bootstrap.REPLICATES, "level": bootstrap.LEVEL, "over": "groups", "seed": 0},
    }


def confusion_csv(report: Report) -> str:
    """The confusion matrix as CSV: a row a true country, a column a guess, countries ordered by region."""
    from whichland.geo.countries import region_order

    labels = report.predictions.labels
    order = region_order(labels)
    at = [labels.index(code) for code in order]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["true\\guessed", *order])
    for code, row in zip(order, report.confusion[np.ix_(at, at)].tolist(), strict=True):
        writer.writerow([code, *row])
    return text.getvalue()


def _write(report: Report, explanations: Sequence[Explanation]) -> None:
    from whichland.evaluation import page
    from whichland.evaluation.figures import confusion_svg

    writes: dict[str, Callable[[], str]] = {
        "metrics.json": lambda: json.dumps(numbers(report), indent=2, ensure_ascii=False) + "\n",
        "confusion.csv": lambda: confusion_csv(report),
        "confusion.svg": lambda: confusion_svg(*page.shown_confusion(report)),
        "report.html": lambda: page.render(report, explanations),
    }
    for name, make in writes.items():
        with whole_file(report.folder / name) as partial:
            partial.write_text(make(), encoding="utf-8")
