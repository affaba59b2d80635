"""Answers as rows of one table: the same columns in every form that is written.

path, country, probability, country_2, probability_2, …, and where they are asked for set_90 (the countries of
which one is right with that probability), pin_lat, pin_lon, pin_score, exif_lat, exif_lon, exif_country, agrees;
then views (how many the probabilities were combined of) and error (why a photo could not be read; the rest is
empty then).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whichland.bulk.answers import Answer
from whichland.bulk.config import PredictConfig
from whichland.model.calibration import Calibration, require_level
from whichland.model.runner import Probabilities, Runner

if TYPE_CHECKING:
    from whichland.model.pins import PinTable

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Turns answers into rows."""

    labels: tuple[str, ...]
    top: int  # guesses to name
    config: PredictConfig
    calibration: Calibration | None  # where sets are asked for
    table: "PinTable | None"  # where pins are asked for

    @property
    def set_column(self) -> str | None:
        """The name of the column of sets, such as set_90; None when none are asked for."""
        return None if self.config.sets is None else f"set_{self.config.sets:g}"

    @property
    def columns(self) -> list[str]:
        """The names of all columns, in order."""
        guesses = [name for n in range(2, self.top + 1) for name in (f"country_{n}", f"probability_{n}")]
        found = ["path", "country", "probability", *guesses]
        found += [self.set_column] if self.set_column else []
        found += ["pin_lat", "pin_lon", "pin_score"] if self.config.pin else []
        found += ["exif_lat", "exif_lon", "exif_country", "agrees"] if self.config.check_exif else []
        return [*found, "views", "error"]

    def of(self, answers: Sequence[Answer]) -> list[Row]:
        """The rows of a batch of answers, in order; `thumbnail` is there as well where one was kept."""
        rows: list[Row] = [dict.fromkeys(self.columns) | {"path": shown(one.path)} for one in answers]
        good = [at for at, one in enumerate(answers) if one.probabilities is not None]
        for row, one in zip(rows, answers, strict=True):
            row["error"], row["views"] = one.error, one.views or None
            if one.thumbnail:
                row["thumbnail"] = one.thumbnail
        if good:
            probs_NK = np.stack([probs for one in answers if (probs := one.probabilities) is not None])
            self._fill([rows[at] for at in good], probs_NK, [answers[at] for at in good])
        return rows

    def _fill(self, rows: list[Row], probs_NK: Probabilities, answers: Sequence[Answer]) -> None:
        best_NK = np.argsort(-probs_NK, axis=1, kind="stable")[:, : self.top]
        for row, probs_K, best_K in zip(rows, probs_NK, best_NK, strict=True):
            for n, at in enumerate(best_K, 1):
                ending = "" if n == 1 else f"_{n}"
                row[f"country{ending}"] = self.labels[at]
                row[f"probability{ending}"] = round(float(probs_K[at]), 6)
        if self.calibration is not None and self.config.level is not None:
            for row, probs_K, within_K in zip(
                rows, probs_NK, self.calibration.set_of(probs_NK, self.config.level), strict=True
            ):
                order_K = np.argsort(-probs_K, kind="stable")
                row[str(self.set_column)] = [self.labels[at] for at in order_K if within_K[at]]
        if self.table is not None:
            from whichland.model.pins import pins

            points_N2, score_N = pins(probs_NK, self.table)
            for row, (lat, lon), score in zip(rows, points_N2, score_N, strict=True):
                row["pin_lat"], row["pin_lon"] = round(float(lat), 4), round(float(lon), 4)
                row["pin_score"] = round(float(score), 1)
        if self.config.check_exif:
            _fill_exif(rows, answers)


def _fill_exif(rows: list[Row], answers: Sequence[Answer]) -> None:
    from whichland.bulk.exif import countries_at

    codes = countries_at([one.place for one in answers])
    for row, one, code in zip(rows, answers, codes, strict=True):
        row["exif_lat"], row["exif_lon"] = one.place or (None, None)
        row["exif_country"] = code
        row["agrees"] = None if code is None else row["country"] == code


def rows_for(runner: Runner, config: PredictConfig) -> Rows:
    """What it takes to turn a bundle's answers into rows.

    Raises UserError where sets are asked for that the bundle does not keep.
    """
    return Rows(
        labels=runner.labels,
        top=min(config.top, len(runner.labels)),
        config=config,
        calibration=None if config.level is None else require_level(runner, config.level),
        table=_pin_table(runner.folder, runner.labels) if config.pin else None,
    )


def _pin_table(folder: Path, labels: tuple[str, ...]) -> "PinTable":
    from whichland.model.pins import pin_table
    from whichland.model.places import places_of, read_places

    return pin_table((read_places(folder, labels) or places_of(labels)).points)


def shown(path: str) -> str:
    """A path as text that any file can hold: bytes of a name that are no UTF-8 are written as \\xff."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def guesses(row: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Country and probability of a row's guesses, likeliest first."""
    found = [(row["country"], row["probability"])]
    n = 2
    while row.get(f"country_{n}") is not None:
        found.append((row[f"country_{n}"], row[f"probability_{n}"]))
        n += 1
    return found
