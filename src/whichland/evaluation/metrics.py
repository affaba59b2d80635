"""Scores of a set of answers. Every score takes a weight for each photo, so that resampling is counting.

What happens at the edges:
- Macro-F1 and balanced accuracy are means over the countries present in the truth (with positive weight). A
  country without photos has no recall and stands in neither mean; guesses at it are misses of the true ones.
- A country that is never guessed has precision and F1 of zero, as in scikit-learn with `zero_division=0`.
- Equal probabilities are ranked in the order of the labels, so a constant answer is not right by luck.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichland import statistics
from whichland.statistics import Flags, Floats, Ints, Score

SCORES = ("top1", "top5", "macro_f1", "balanced_accuracy")
TOP = 5


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What was true and what was guessed, each an array over N photos, for K labels."""

    truth: Ints
    guess: Ints
    in_top5: Flags
    labels: int  # K

    @classmethod
    def from_probabilities(cls, truth_N: Ints, probs_NK: NDArray[np.floating[Any]]) -> "Outcomes":
        """Rank the probabilities of each photo: N×K, of any scale that orders them."""
        own = probs_NK[np.arange(len(truth_N)), truth_N][:, None]
        earlier = np.arange(probs_NK.shape[1]) < truth_N[:, None]
        rank = ((probs_NK > own) | ((probs_NK == own) & earlier)).sum(axis=1)
        return cls(truth=truth_N, guess=probs_NK.argmax(axis=1), in_top5=rank < TOP, labels=probs_NK.shape[1])


@dataclass(frozen=True, kw_only=True)
class CountryScores:
    """One label's scores; recall, precision and F1 from 0 to 1."""

    label: int
    photos: int  # support
    guessed: int
    recall: float
    precision: float
    f1: float


def scores(outcomes: Outcomes, weights_N: Floats | None = None) -> Floats:
    """Top-1, top-5, macro-F1 and balanced accuracy, in the order of `SCORES`."""
    weights_N = np.ones(len(outcomes.truth)) if weights_N is None else weights_N
    photos_K, guessed_K, hits_K = _counts(outcomes, weights_N)
    present = photos_K > 0
    total = weights_N.sum()
    f1_K = 2 * hits_K[present] / (photos_K + guessed_K)[present]
    recall_K = hits_K[present] / photos_K[present]
    top5 = outcomes.in_top5 @ weights_N
    return np.array([hits_K.sum() / total, top5 / total, f1_K.mean(), recall_K.mean()])


def judged(outcomes: Outcomes, group_N: Ints) -> dict[str, Score]:
    """The overall scores by name, each with its 95 % interval over groups."""
    found = statistics.judged(lambda weights_N: scores(outcomes, weights_N), group_N, "share")
    return dict(zip(SCORES, found, strict=True))


def balanced_accuracy(guess_N: Ints, truth_N: Ints, group_N: Ints) -> Score:
    """Recall averaged over the classes that have photos; chance is one over their number."""
    classes = int(max(guess_N.max(), truth_N.max())) + 1
    outcomes = Outcomes(truth=truth_N, guess=guess_N, in_top5=truth_N == guess_N, labels=classes)
    return judged(outcomes, group_N)["balanced_accuracy"]


def _counts(outcomes: Outcomes, weights_N: Floats) -> tuple[Floats, Floats, Floats]:
    """Photos, guesses and hits of each label, weighted: three of length K."""
    hits_N = (outcomes.truth == outcomes.guess) * weights_N
    of_3 = (outcomes.truth, weights_N), (outcomes.guess, weights_N), (outcomes.truth, hits_N)
    photos_K, guessed_K, hits_K = (np.bincount(of, weights, outcomes.labels).astype(float) for of, weights in of_3)
    return photos_K, guessed_K, hits_K


def by_country(outcomes: Outcomes) -> list[CountryScores]:
    """Scores of every label that has photos or was guessed, in the order of the labels; no photos: recall NaN."""
    photos_K, guessed_K, hits_K = _counts(outcomes, np.ones(len(outcomes.truth)))
    return [
        CountryScores(
            label=label,
            photos=int(photos),
            guessed=int(guessed),
            recall=hits / photos if photos else float("nan"),
            precision=hits / guessed if guessed else 0.0,
            f1=2 * hits / (photos + guessed),
        )
        for label, (photos, guessed, hits) in enumerate(zip(photos_K, guessed_K, hits_K, strict=True))
        if photos or guessed
    ]


def confusion(outcomes: Outcomes) -> Ints:
    """Count photos by truth (rows) and guess (columns): K×K."""
    flat = outcomes.truth * outcomes.labels + outcomes.guess
    return np.bincount(flat, minlength=outcomes.labels**2).reshape(outcomes.labels, outcomes.labels)


def worst_tenth(outcomes: Outcomes) -> list[CountryScores]:
    """The tenth of the countries with photos (one at least) that have the lowest recall, the worst first."""
    known = sorted((country for country in by_country(outcomes) if country.photos), key=lambda c: c.recall)
    return known[: max(1, len(known) // 10)]


def floors(outcomes: Outcomes) -> dict[str, dict[str, float]]:
    """What two answers that never look at the photo would score on the same photos.

    "majority" always ranks the countries by how many of these photos they have, most first; "chance" draws a
    label at random, all alike (its macro-F1 is that of the expected counts).
    """
    photos_K, _, _ = _counts(outcomes, np.ones(len(outcomes.truth)))
    by_size = np.argsort(-photos_K, kind="stable")
    constant = Outcomes(
        truth=outcomes.truth,
        guess=np.full_like(outcomes.truth, by_size[0]),
        in_top5=np.isin(outcomes.truth, by_size[:TOP]),
        labels=outcomes.labels,
    )
    one = 1 / outcomes.labels
    present = photos_K[photos_K > 0]
    f1 = 2 * present * one / (present + photos_K.sum() * one)
    chance = [one, min(TOP * one, 1.0), float(f1.mean()), one]
    return {
        "majority": dict(zip(SCORES, scores(constant).tolist(), strict=True)),
        "chance": dict(zip(SCORES, chance, strict=True)),
    }
