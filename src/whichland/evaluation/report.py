"""What came of an evaluation: its scores with intervals, and everything else that follows from its answers."""

import csv
import io
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from whichland import statistics
from whichland.evaluation import metrics, probabilities
from whichland.evaluation.geography import Geography, geography
from whichland.evaluation.neighbours import Neighbours
from whichland.evaluation.pins import PinReport, judge_pins
from whichland.evaluation.predictions import Predictions, doubt_about
from whichland.evaluation.probabilities import ProbabilityReport, judge_probabilities
from whichland.manifest import Manifest
from whichland.model.answer import CERTAINTY
from whichland.model.bundle import Bundle
from whichland.model.calibration import reaches
from whichland.model.label_points import located
from whichland.model.labels import COUNTRY
from whichland.printed import spelled
from whichland.sources.synthetic.files import ATTRIBUTION
from whichland.statistics import Ints, Score


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
    evaluations: int  # how often this bundle has answered this split of this manifest, this time included
    elsewhere: int  # how often the split of that name of other manifests, which may share photos with it
    neighbours: Neighbours | None = None  # a k-nearest-neighbour head on the same photos, where it was asked for

    def __repr__(self) -> str:
        judged = ", ".join(f"{spelled(name)} {score}" for name, score in self.scores.items())
        return f"<Report on {self.predictions.frame.height:,} photos: {judged}; {self.html}>"

    @property
    def drawn(self) -> bool:
        """Whether the photos are drawn scenes of the synthetic world."""
        frame = self.predictions.frame
        return "attribution" in frame.columns and bool((frame["attribution"] == ATTRIBUTION).all())

    @property
    def looks(self) -> str:
        """How often the model was put to this split, in words."""
        own, others = ("once" if count == 1 else f"{count} times" for count in (self.evaluations, self.elsewhere))
        split = self.predictions.identity.split
        return f"{own}, and to the {split} split of other manifests {others}" if self.elsewhere else own

    @cached_property
    def outcomes(self) -> metrics.Outcomes:
        return self.predictions.outcomes

    @cached_property
    def confusion(self) -> Ints:
        """Photos by truth (rows) and guess (columns), in the order of the bundle's labels."""
        return metrics.confusion(self.outcomes)

    @property
    def html(self) -> Path:
        return self.folder / "report.html"

    @property
    def trained_on_this(self) -> bool:
        """Whether the manifest is the one the bundle was trained from, so that its split was kept apart."""
        trained = self.bundle.info.manifest_sha256
        return bool(trained == self.predictions.identity.manifest_sha256)

    @cached_property
    def probabilities(self) -> ProbabilityReport:
        return judge_probabilities(self.predictions, self.bundle.info)

    @cached_property
    def geography(self) -> Geography | None:
        """Of the countries that the probabilities add up to; None where labels lie in no country."""
        if not self.predictions.space.has_countries:
            return None
        of_countries = self.predictions.at(COUNTRY)
        return geography(of_countries.outcomes, of_countries.labels, of_countries.groups)

    @cached_property
    def levels(self) -> dict[str, dict[str, Score]]:
        """The overall scores at every level above the labels, from the probabilities added up to it."""
        rolled = {level: self.predictions.at(level) for level in self.predictions.space.levels[1:]}
        return {level: metrics.judged(found.outcomes, found.groups) for level, found in rolled.items()}

    @cached_property
    def certain(self) -> dict[str, tuple[Score, Score | None]]:
        """Where an answer is to be `CERTAINTY` percent certain (`Answer.certain`), what is named at each level.

        The share of photos, and how many of these are right (None where there are none).
        """
        found, left_N = {}, np.ones(len(self.outcomes.truth), bool)
        for level in self.predictions.space.levels:
            at = self.predictions.at(level)
            if len(at.labels) == 1 < len(self.predictions.labels):
                continue
            named_N = left_N & reaches(at.probabilities.max(axis=1), CERTAINTY / 100)
            right = statistics.shares([at.outcomes.guess == at.outcomes.truth], [named_N], at.groups)[0]
            found[level] = statistics.share(named_N, at.groups), right
            left_N &= ~named_N
        return found

    @cached_property
    def pins(self) -> PinReport | None:
        """Judged by the points that the bundle keeps; else by its training photos, or the land where it has none.

        None where its labels have no points.
        """
        labels = self.bundle.space
        if labels.points is None:
            labels = located(labels, self.manifest if self.trained_on_this else None)
        return judge_pins(self.predictions, labels, self.manifest) if labels.points is not None else None

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


def numbers(report: Report) -> dict[str, Any]:
    """Everything the report says in numbers, ready for JSON."""
    found, outcomes = report.predictions, report.outcomes
    worst = metrics.worst_tenth(outcomes)
    return {
        **asdict(found.identity),
        "per": found.per,
        "photos": len(outcomes.truth),
        "groups": int(found.groups.max()) + 1,
        "countries": len(np.unique(outcomes.truth)),
        "labels": len(found.labels),
        "kind": found.space.kind,
        "scores": {name: asdict(score) for name, score in report.scores.items()},
        "floors": report.floors,
        "neighbours": asdict(report.neighbours) if report.neighbours else None,
        "worst_tenth": {
            "recall": float(np.mean([c.recall for c in worst])),
            "countries": len(worst),
            "codes": [found.labels[c.label] for c in worst],
        },
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
        "probabilities": probabilities.numbers(report.probabilities),
        "geography": asdict(report.geography) if report.geography else None,
        "levels": {
            level: {name: asdict(score) for name, score in scores.items()} for level, scores in report.levels.items()
        },
        "certain": {
            level: {"named": asdict(named), "right": asdict(right) if right else None}
            for level, (named, right) in report.certain.items()
        },
        "pins": asdict(report.pins) if report.pins else None,
        "left_out": {
            "unknown_countries": found.unknown,
            "without_country": found.unplaced,
            "unreadable": sorted(found.unreadable),
        },
        "trained_on_this_manifest": report.trained_on_this,
        "doubt": report.doubt,
        "evaluations_of_this_split": report.evaluations,
        "evaluations_of_other_manifests": report.elsewhere,
        "intervals": {"level": statistics.LEVEL, "over": "groups", "fewest_groups": statistics.FEWEST},
    }


def confusion_rows(report: Report) -> list[list[str]]:
    """The confusion matrix as a table of texts: a row a true label, a column a guess, labels ordered by region."""
    labels = report.predictions.space
    order = labels.in_order()
    at = [labels.index[code] for code in order]
    counts = report.confusion[np.ix_(at, at)].astype(str).tolist()
    return [["true\\guessed", *order], *([code, *row] for code, row in zip(order, counts, strict=True))]


def confusion_csv(report: Report) -> str:
    """The same as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(confusion_rows(report))
    return text.getvalue()
