"""Which of several models is better, on the photos that all of them answered: differences, tests, tie groups."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, count
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from whichland import manifest as manifests
from whichland.errors import UserError
from whichland.evaluation import paired
from whichland.evaluation.evaluate import evaluate
from whichland.evaluation.outside import read_outside
from whichland.evaluation.paired import SCORES, Tally
from whichland.evaluation.predictions import FILE, Identity, identity_of, metadata
from whichland.manifest import Manifest
from whichland.model.bundle import bundle_hash, home, read_settings
from whichland.model.hub_bundles import found
from whichland.model.labels import COUNTRY
from whichland.statistics import ALPHA, Floats, Ints, Score, errors, group_numbers, holm, scored

POINTS = 0.05  # the difference in top-1 for which enough test photos are counted


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One model of a comparison; models that share a letter do not differ demonstrably by that score."""

    name: str
    labels: int | None  # countries it knows; None: it may name any
    top1: Score
    macro_f1: Score
    ties_top1: str
    ties_macro_f1: str


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two models: `first` minus `second`; p are two-sided, for this pair alone unless adjusted."""

    first: str
    second: str
    top1: Score
    macro_f1: Score
    p_top1: float  # groups change sides, exact
    p_top1_adjusted: float  # for the number of pairs, after Holm
    p_macro_f1: float  # groups change sides, at random
    p_macro_f1_adjusted: float
    p_mcnemar: float  # photos for themselves, exact; too small where groups have several photos
    photos_needed: int  # test photos that a difference of POINTS in top-1 would need


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a comparison found, the best model by macro-F1 first."""

    split: str
    photos: int
    groups: int
    left_out: int  # photos that not all models answered
    models: tuple[Contender, ...]
    pairs: tuple[Pair, ...]

    @property
    def grouped(self) -> bool:
        """Whether photos come in groups, so that McNemar's test takes for independent what is not."""
        return self.groups < self.photos

    @property
    def photos_needed(self) -> int:
        """Test photos that a difference of `POINTS` in top-1 would need, for the median pair."""
        return int(np.median([pair.photos_needed for pair in self.pairs]))

    def json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return asdict(self) | {
            "grouped": self.grouped,
            "points": POINTS,
            "alpha": ALPHA,
            "photos_needed": self.photos_needed,
        }


def compare(places: Sequence[str | Path], manifest: Manifest | str | Path, split: str = "test") -> Comparison:
    """Compare models on the photos of a split that all of them answered.

    A place is a bundle, a run folder, a report folder of this manifest and split, or a table of answers that were
    made elsewhere (`read_outside`). A bundle that has answered the split is not asked again; one that has not gets a
    report beside it, as `evaluate` makes it.
    Raises UserError for fewer than two models, and where they share no photos.
    """
    if len(places) < 2:
        raise UserError("a comparison needs two models or more")
    table = manifest if isinstance(manifest, Manifest) else manifests.read(manifest)
    answered = [_answers(Path(place), table, split) for place in places]
    if len(kinds := {answers.kind for answers in answered}) > 1:
        raise UserError(f"the models distinguish different labels, {' and '.join(sorted(kinds))}: compare those of one")
    names = _names([Path(place) for place in places])
    return compare_answers({n: [a] for n, a in zip(names, answered, strict=True)}, split)


@dataclass(frozen=True, kw_only=True)
class Guesses:
    """One model's answers: a row a photo with image_id, truth, group and guess."""

    kind: str  # what the labels are, see `LabelSpace`
    labels: tuple[str, ...] | None  # what it may answer; None: anything
    frame: pl.DataFrame

    @property
    def named(self) -> set[str]:
        """Every label that it may answer, or that it does and that is true."""
        return set(self.labels or ()) | set(self.frame["guess"]) | set(self.frame["truth"])


def compare_answers(runs: Mapping[str, Sequence[Guesses]], split: str) -> Comparison:
    """Compare models of which each has the answers of one or several runs; Holm is over all pairs."""
    counted, photos = count_answers(runs)
    everyone = {row for of in runs.values() for answers in of for row in answers.frame["image_id"]}
    seen_MS, moved_BMS = paired.scores(counted)[0], paired.leave_out(counted)
    pairs = _pairs(counted, seen_MS, moved_BMS)
    letters = {score: _ties(counted.names, pairs, seen_MS[:, at], score) for at, score in enumerate(SCORES)}
    judged_MS = [scored(seen_S, moved_BMS[:, at], counted.group_of, "share") for at, seen_S in enumerate(seen_MS)]
    models = [
        Contender(
            name=name,
            labels=None if (labels := runs[name][0].labels) is None else len(labels),
            top1=judged_MS[at][0],
            macro_f1=judged_MS[at][1],
            ties_top1=letters["top1"][at],
            ties_macro_f1=letters["macro_f1"][at],
        )
        for at, name in enumerate(counted.names)
    ]
    return Comparison(
        split=split,
        photos=photos,
        groups=len(counted.photos),
        left_out=len(everyone) - photos,
        models=tuple(sorted(models, key=lambda model: -model.macro_f1.value)),
        pairs=tuple(pairs),
    )


def count_answers(runs: Mapping[str, Sequence[Guesses]]) -> tuple[Tally, int]:
    """Count the answers to the photos that all runs answered; return (counts, photos).

    The best model by macro-F1 comes first. Raises UserError where runs share no photos or differ in what is true.
    """
    every = [answers for of in runs.values() for answers in of]
    joined = every[0].frame.sort("image_id").rename({"guess": "guess0"})
    for at, answers in enumerate(every[1:], 1):
        other = answers.frame.select("image_id", pl.col("truth").alias("other"), pl.col("guess").alias(f"guess{at}"))
        joined = joined.join(other, on="image_id", how="inner", maintain_order="left")
        if (joined["other"] != joined["truth"]).any():
            raise UserError("two of the reports state different labels for one photo: make them anew")
        joined = joined.drop("other")
    if joined.is_empty():
        raise UserError("no photo was answered by all of the models: they share no labels of this split")
    labels = sorted(set().union(*(answers.named for answers in every)))
    index = {label: at for at, label in enumerate(labels)}

    def numbers(column: str) -> Ints:
        return joined[column].replace_strict(index, return_dtype=pl.Int64).to_numpy()

    run = count()
    guesses = {name: [numbers(f"guess{next(run)}") for _ in of] for name, of in runs.items()}
    counted = paired.tally(guesses, numbers("truth"), group_numbers(joined["group"].to_list()), len(labels))
    return counted.only(np.argsort(-paired.scores(counted)[0, :, 1], kind="stable")), joined.height


def _pairs(counted: Tally, seen_MS: Floats, moved_BMS: Floats) -> list[Pair]:
    """Every pair, the better one by macro-F1 first."""
    both = list(combinations(range(len(counted.names)), 2))
    swaps = max(10_000, round(4 * len(both) / ALPHA))  # enough for Holm's first step to be passed
    p_top1 = [paired.sign_flip_p(paired.group_difference(counted, a, b)) for a, b in both]
    p_f1 = [paired.swap_p(counted, a, b, swaps=swaps) for a, b in both]
    adjusted_top1, adjusted_f1 = holm(p_top1), holm(p_f1)
    found = []
    for at, (a, b) in enumerate(both):
        moved_BS = moved_BMS[:, a] - moved_BMS[:, b]
        top1, macro_f1 = scored(seen_MS[a] - seen_MS[b], moved_BS, counted.group_of, "difference")
        variance = float(errors(moved_BS)[0][0] ** 2)
        found.append(
            Pair(
                first=counted.names[a],
                second=counted.names[b],
                top1=top1,
                macro_f1=macro_f1,
                p_top1=p_top1[at],
                p_top1_adjusted=adjusted_top1[at],
                p_macro_f1=p_f1[at],
                p_macro_f1_adjusted=adjusted_f1[at],
                p_mcnemar=paired.sign_flip_p(paired.photo_difference(counted, a, b)),
                photos_needed=paired.photos_needed(variance, int(counted.photos.sum()), difference=POINTS, level=ALPHA),
            )
        )
    return found


def _ties(names: Sequence[str], pairs: Sequence[Pair], seen_M: Floats, score: str) -> list[str]:
    apart_MM = np.zeros((len(names), len(names)), dtype=bool)
    for pair in pairs:
        a, b = names.index(pair.first), names.index(pair.second)
        apart_MM[a, b] = apart_MM[b, a] = getattr(pair, f"p_{score}_adjusted") <= ALPHA
    return paired.tie_groups(seen_M.tolist(), apart_MM)


def _answers(place: Path, table: Manifest, split: str) -> Guesses:
    """The answers of a bundle, a run folder, a report folder or a table of answers to a split of the manifest."""
    if place.is_file():
        return Guesses(kind=COUNTRY, labels=None, frame=read_outside(place, table, split))
    if (place / FILE).is_file():
        return _of_report(place, table, split)
    bundle = found(place)
    if not (bundle / "whichland.json").is_file():
        raise UserError(f"{place} is no bundle, run folder, report folder with {FILE} or table of answers")
    digest = table.digest(read_settings(bundle).space.kind)
    identity = Identity(bundle_sha256=bundle_hash(bundle), manifest_sha256=digest, split=split)
    beside = sorted(path.parent for path in home(bundle).glob(f"report*/{FILE}"))
    folder = next((folder for folder in beside if identity_of(folder) == identity), None)
    return read_answers(folder or evaluate(bundle, table, split).folder)


def _of_report(folder: Path, table: Manifest, split: str) -> Guesses:
    identity, answers = identity_of(folder), read_answers(folder)
    digest = table.digest(answers.kind) if answers.kind in table.frame.columns else None
    if identity is None or (identity.manifest_sha256, identity.split) != (digest, split):
        raise UserError(f"{folder} holds the report of another manifest or split; evaluate the bundle on this one")
    return answers


def read_answers(folder: Path) -> Guesses:
    """Read the answers that lie in a report folder."""
    written = metadata(folder)
    kind, labels = written.get("kind", COUNTRY), written["labels"]
    frame = pl.read_parquet(folder / FILE, glob=False)
    guesses = frame["probabilities"].to_numpy().argmax(axis=1)
    frame = frame.select("image_id", "group", truth=kind, guess=pl.Series(np.array(labels)[guesses]))
    return Guesses(kind=kind, labels=tuple(labels), frame=frame)


def _names(places: Sequence[Path]) -> list[str]:
    """A short name for each model: that of its run folder, or the whole path where that is not unique."""
    resolved = [place.resolve() for place in places]
    if again := [place for place, times in Counter(resolved).items() if times > 1]:
        raise UserError(f"{again[0]} is named twice; a model is not compared with itself")
    short = []
    for place in resolved:
        inside = place.name == "bundle" or (place / FILE).is_file()  # of its run folder
        short.append(place.parent.name if inside and place.parent.name else place.name)
    return [name if short.count(name) == 1 else str(place) for name, place in zip(short, places, strict=True)]
