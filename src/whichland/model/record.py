"""How often a model was right on photos that it was not trained on: what stands beside its answers.

A bundle keeps one in record.json. Training writes that of the validation photos, `evaluate` on the test split puts
that of the test photos in its place. Answers are counted by the label that they name and by how sure they were, so
that a page can say "when it says Norway: right 11 of 18" and "answers this sure were right 31 of 40 times".
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from whichland import statistics
from whichland.errors import UserError
from whichland.model.labels import LabelSpace
from whichland.statistics import Ints
from whichland.whole_file import whole_file

FILE = "record.json"
EDGES = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # of the first guess's probability


class Counted(BaseModel):
    """Answers, and how many of them were right."""

    model_config = ConfigDict(frozen=True)

    right: int = Field(ge=0)
    of: int = Field(ge=1)


class Sure(Counted):
    """Answers whose first guess had a probability from `least` up to `most`."""

    least: float
    most: float


class Record(BaseModel):
    """What came of a model's answers to one split."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    split: str = Field(description="test, or val where no test photos were judged")
    photos: int
    groups: int = Field(description="of photos taken in one go, each of which counts as one for the interval")
    top1: float = Field(description="share of the answers that were right")
    low: float | None = Field(description="end of its 95 % interval; null where the groups are too few")
    high: float | None
    named: dict[str, Counted] = Field(description="by the label that an answer named; others were never named")
    sure: list[Sure] = Field(description="by the probability of the first guess")
    date: str = Field(description="of the evaluation, ISO 8601")


def record_of(
    space: LabelSpace, split: str, probs_NK: NDArray[np.floating[Any]], truth_N: Ints, group_N: Ints
) -> Record:
    """Count the answers to N photos: their probabilities, the number of each truth, and that of each group."""
    guess_N, sure_N = probs_NK.argmax(axis=1), probs_NK.max(axis=1)
    right_N = guess_N == truth_N
    top1 = statistics.share(right_N, group_N)
    bin_N = np.searchsorted(EDGES, sure_N, side="right") - 1
    return Record(
        split=split,
        photos=len(truth_N),
        groups=int(group_N.max()) + 1,
        top1=top1.value,
        low=top1.low,
        high=top1.high,
        named={space.codes[at]: Counted(**_counted(right_N[guess_N == at])) for at in np.unique(guess_N)},
        sure=[
            Sure(least=EDGES[at], most=(*EDGES, 1.0)[at + 1], **_counted(right_N[bin_N == at]))
            for at in np.unique(bin_N)
        ],
        date=datetime.now(UTC).date().isoformat(),
    )


def _counted(right_N: NDArray[np.bool_]) -> dict[str, int]:
    return {"right": int(right_N.sum()), "of": len(right_N)}


def keep_record(folder: Path, record: Record) -> None:
    """Write a bundle's record, unless it is there already."""
    file, text = folder / FILE, record.model_dump_json(indent=2) + "\n"
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return
    with whole_file(file) as partial:
        partial.write_text(text, encoding="utf-8")


def read_record(folder: Path) -> Record | None:
    """Read a bundle's record; None where it keeps none. Raises UserError for a damaged one."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return Record.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: {where}: {first['msg']}; evaluate the bundle anew, or delete the file") from None
