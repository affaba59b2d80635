"""Can the source of a photo be read from its file? A classifier that sees no pixel tries.

Where it can, a model that is trained on several sources may learn the source in place of the country: a set of
photos is recognisable even without such facts (Liu & He, arXiv 2403.08632).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import polars as pl
from annotated_types import Ge, Interval

from whichland.config import Config
from whichland.errors import UserError
from whichland.evaluation.metrics import balanced_accuracy
from whichland.images.decode import ImageError, read_bytes
from whichland.images.file_facts import FileFacts, file_facts
from whichland.manifest import Manifest
from whichland.printed import install
from whichland.progress import track
from whichland.statistics import Floats, Ints, Score, group_numbers

SIZE = ("bytes", "bytes_per_pixel")
HEADER = tuple(name for name in FileFacts._fields if name not in SIZE)
MEASURES = ("brightness", "contrast", "sharpness", "entropy")
FOLDS = 5
TREES = 50


@dataclass(frozen=True, kw_only=True)
class ProbeConfig(Config):
    """How the probe is taken."""

    photos: Annotated[int, "of each source at most, drawn at random", Ge(2 * FOLDS)] = 2000
    seed: Annotated[int, "which are drawn, and the trees' randomness", Interval(ge=0, lt=2**32)] = 0


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How well one set of facts predicts the source; shares of 1, intervals of 95 % over groups."""

    facts: str
    balanced_accuracy: float  # mean over the sources of the share of their photos that is recognised
    low: float | None  # None: too few groups for an interval
    high: float | None
    chance: float  # of balanced accuracy: one over the number of sources
    accuracy: float
    majority: float  # accuracy of always naming the largest source
    telling: tuple[str, ...]  # the facts the classifier leans on, most of all first

    @property
    def score(self) -> Score:
        return Score(value=self.balanced_accuracy, low=self.low, high=self.high)


@dataclass(frozen=True, kw_only=True)
class SourceProbe:
    """What the probe found."""

    sources: dict[str, int]  # photos looked at
    groups: int
    unreadable: int
    readings: tuple[Reading, ...]


def source_probe(manifest: Manifest, config: ProbeConfig | None = None, *, progress: bool = True) -> SourceProbe:
    """Predict the source of the kept photos from facts of their files, cross-validated by group.

    Three sets of facts, each with what it says: `header` (size in pixels, encoder settings, layout; at chance
    once all files are written alike), `header and size` (with the compressed size, which follows from the
    picture, too, so it may stay above chance where the pictures differ), and, where they are measured,
    `brightness, contrast, …` (what a blurred or a dim source shows). A random forest, classes weighed alike;
    photos of one `group` (else panorama, else sequence) are in one fold. Raises UserError for fewer than two
    sources or too few groups.
    """
    config = config or ProbeConfig()
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise UserError(f"the source probe needs scikit-learn: {install('train')}") from None
    drawn = _drawn(manifest, config)
    uris = drawn["uri"].to_list()
    facts = [_facts_of(uri) for uri in (track(uris, description="reading headers") if progress else uris)]
    rows = drawn.filter(pl.Series([fact is not None for fact in facts], dtype=pl.Boolean))
    sources = drawn["source"].unique().sort()
    if few := _too_few(rows, sources):
        raise UserError(f"source {few[0]!r} has fewer than {FOLDS} groups of readable photos: too few to probe")
    readable = [fact for fact in facts if fact is not None]
    table = pl.DataFrame(readable, schema=list(FileFacts._fields), orient="row")
    readings = [
        _reading("header", table.select(HEADER), rows, config.seed),
        _reading("header and size", table, rows, config.seed),
    ]
    # the measures that each source has of some photo; a broken photo has a header, but no measures
    counts = rows.group_by("source").agg(pl.col(name).count() for name in MEASURES if name in rows.columns)
    measured = [name for name in counts.columns[1:] if counts[name].min()]
    known = rows.drop_nulls(measured) if measured else rows.head(0)
    if not _too_few(known, sources):
        readings.append(_reading(", ".join(measured), known.select(measured), known, config.seed))
    return SourceProbe(
        sources=dict(rows.group_by("source").len().sort("source").iter_rows()),
        groups=rows["_group"].n_unique(),
        unreadable=len(drawn) - len(rows),
        readings=tuple(readings),
    )


def _drawn(manifest: Manifest, config: ProbeConfig) -> pl.DataFrame:
    """Draw photos of each source, with `_group`: what must stay in one fold."""
    ties = [name for name in ("group", "panorama", "sequence", "image_id") if name in manifest.frame.columns]
    order = pl.int_range(pl.len()).shuffle(config.seed).over("source")
    drawn = manifest.kept.with_columns(pl.coalesce(ties).alias("_group")).filter(order < config.photos)
    if drawn["source"].n_unique() < 2:
        raise UserError("the manifest has one source only, so there is nothing to distinguish; merge first")
    return drawn


def _facts_of(uri: str) -> FileFacts | None:
    try:
        return file_facts(read_bytes(uri))
    except ImageError:
        return None


def _too_few(rows: pl.DataFrame, sources: Iterable[str]) -> list[str]:
    """The sources that have too few groups in these rows to be cross-validated."""
    groups = dict(rows.group_by("source").agg(pl.col("_group").n_unique()).iter_rows())
    return [name for name in sources if groups.get(name, 0) < FOLDS]


def _reading(name: str, facts: pl.DataFrame, rows: pl.DataFrame, seed: int) -> Reading:
    """Guess the source of every row by a forest that saw no photo of its group."""
    from sklearn.model_selection import StratifiedGroupKFold

    columns, features_NF = fact_columns(facts)
    source_N = rows["source"].rank("dense").to_numpy().astype(np.int64) - 1
    group_N = group_numbers(rows["_group"].to_list())
    guess_N, importances = np.zeros_like(source_N), []
    folds: Any = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(features_NF, source_N, group_N):
        forest = fitted_forest(features_NF[train], source_N[train], seed)
        guess_N[test] = forest.predict(features_NF[test])
        importances.append(forest.feature_importances_)
    balanced, photos_S = balanced_accuracy(guess_N, source_N, group_N), np.bincount(source_N)
    return Reading(
        facts=name,
        balanced_accuracy=balanced.value,
        low=balanced.low,
        high=balanced.high,
        chance=1 / len(photos_S),
        accuracy=float((guess_N == source_N).mean()),
        majority=float(photos_S.max() / photos_S.sum()),
        telling=telling(columns, np.mean(importances, axis=0)),
    )


def fact_columns(facts: pl.DataFrame) -> tuple[list[str], Floats]:
    """Numbers as they are, each value of a text as a column of its own; the fact each column stands for."""
    texts = [name for name, kind in facts.schema.items() if kind == pl.String]
    wide = facts.with_columns(pl.col(pl.Boolean).cast(pl.Int8)).to_dummies(texts, separator="=")
    return [name.partition("=")[0] for name in wide.columns], wide.cast(pl.Float64).to_numpy()


def fitted_forest(features_NF: Floats, class_N: Ints, seed: int = 0) -> Any:
    """A random forest that weighs the classes alike."""
    from sklearn.ensemble import RandomForestClassifier

    forest: Any = RandomForestClassifier(
        TREES, min_samples_leaf=5, class_weight="balanced", random_state=seed, n_jobs=1
    )
    return forest.fit(features_NF, class_N)


def telling(columns: Sequence[str], importance_F: Floats) -> tuple[str, ...]:
    """The facts that carry more than a tenth of a forest's decisions, most of all first."""
    by_fact: dict[str, float] = {}
    for name, share in zip(columns, importance_F, strict=True):
        by_fact[name] = by_fact.get(name, 0.0) + float(share)
    return tuple(name for name in sorted(by_fact, key=lambda fact: -by_fact[fact]) if by_fact[name] > 0.1)
