"""How far one gets without looking at the street: simple classifiers that see a thumbnail, or no pixel at all.

They learn on the training split and are judged on the photos that are audited, as the model is.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from whichland.evaluation.audit_effects import Effect, Limits, by_country, skill
from whichland.evaluation.source_probe import HEADER, TREES, fact_columns
from whichland.images.decode import ImageError, decode, read_bytes
from whichland.images.encode import encode_jpeg
from whichland.images.file_facts import FileFacts, file_facts
from whichland.images.photo import open_photo
from whichland.images.preprocess import Pixels, Preprocess
from whichland.model.views import cut_views
from whichland.progress import track
from whichland.statistics import Score, interval, replicate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

THUMBNAIL = 16  # pixels a side
ANEW = 85  # JPEG quality at which the same pixels are written again
THREADS = 2
NEARLY = 0.8  # a thumbnail that gets so far, of what the model is above chance, explains the model
PENALTIES = (1e-4, 1e-3, 1e-2)  # inverse, of the logistic regression
FOLDS = 3

# A country told by its files from three in five photos, net of false alarms, is no accident of the pictures.
FILE_LIMITS = Limits(trivial=0.2, relevant=0.5, trivial_mean=0.05, relevant_mean=0.2)


@dataclass(frozen=True, kw_only=True)
class Photos:
    """Photos of one split, read once: N rows each."""

    frame: pl.DataFrame  # of the readable ones
    crops: Pixels | None  # as the model sees them, N×H×W×3
    thumbnails: Pixels  # N×16×16×3, of the same part
    facts: tuple[FileFacts, ...]
    bytes_anew: Ints  # of the same pixels, all written alike
    unreadable: int

    def of(self, countries: Sequence[str]) -> "Photos":
        """The photos of some countries."""
        rows = self.frame["country"].is_in(list(countries)).to_numpy()
        return Photos(
            frame=self.frame.filter(pl.Series(rows)),
            crops=None if self.crops is None else self.crops[rows],
            thumbnails=self.thumbnails[rows],
            facts=tuple(fact for fact, kept in zip(self.facts, rows, strict=True) if kept),
            bytes_anew=self.bytes_anew[rows],
            unreadable=self.unreadable,
        )


def read_photos(rows: pl.DataFrame, preprocess: Preprocess, *, crops: bool) -> Photos:
    """Read the photos, the crops only where they are asked for: they take H×W×3 bytes of memory each."""

    def one(uri: str) -> tuple[Pixels | None, Pixels, FileFacts, int] | None:
        try:
            data = read_bytes(uri)
            pixels, facts = decode(data), file_facts(data)
        except ImageError:
            return None
        box = preprocess.crop_box(*pixels.shape[:2])
        small = Image.fromarray(pixels).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX, box=box)
        # The model decodes a large JPEG reduced; the audit must see what it sees.
        seen = cut_views(open_photo(data), preprocess, views="one").crops[0] if crops else None
        return seen, np.asarray(small), facts, len(encode_jpeg(pixels, ANEW))

    with ThreadPoolExecutor(THREADS, thread_name_prefix="decode") as pool:
        uris = rows["uri"].to_list()
        found = list(track(pool.map(one, uris), total=len(uris), description="reading photos"))
    kept = [photo for photo in found if photo is not None]
    shape = (0, THUMBNAIL, THUMBNAIL, 3)
    return Photos(
        frame=rows.filter(pl.Series([photo is not None for photo in found], dtype=pl.Boolean)),
        crops=np.stack([photo[0] for photo in kept if photo[0] is not None]) if crops and kept else None,
        thumbnails=np.stack([photo[1] for photo in kept]) if kept else np.empty(shape, np.uint8),
        facts=tuple(photo[2] for photo in kept),
        bytes_anew=np.array([photo[3] for photo in kept], np.int64),
        unreadable=len(found) - len(kept),
    )


def thumbnail_guesses(train: Photos, truth_T: Ints, group_T: Ints, judged: Photos) -> Ints:
    """Guess by a linear model on 16×16 thumbnails; its penalty is chosen within the training photos, by group."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    seen = train.thumbnails.reshape(len(truth_T), -1).astype(np.float64)
    mean, spread = seen.mean(axis=0), seen.std(axis=0) + 1.0
    seen = (seen - mean) / spread

    def fitted(penalty: float, rows: Ints) -> Any:
        model: Any = LogisticRegression(C=penalty, tol=1e-3, max_iter=500, class_weight="balanced")
        return model.fit(seen[rows], truth_T[rows])

    groups = [len(np.unique(group_T[truth_T == country])) for country in np.unique(truth_T)]
    right = [0.0, 1.0, 0.0]  # too few groups to choose by: the middle one
    if min(groups) >= FOLDS:
        folds: Any = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
        parts = list(folds.split(seen, truth_T, group_T))
        right = [
            float(np.mean([np.mean(fitted(c, a).predict(seen[b]) == truth_T[b]) for a, b in parts])) for c in PENALTIES
        ]
    best = fitted(PENALTIES[int(np.argmax(right))], np.arange(len(truth_T)))
    return np.asarray(best.predict((judged.thumbnails.reshape(len(judged.facts), -1) - mean) / spread))


def header_table(photos: Photos) -> pl.DataFrame:
    """What the files say before their pixels: size in pixels, encoder settings, layout."""
    return pl.DataFrame(photos.facts, schema=list(FileFacts._fields), orient="row").select(HEADER)


def size_table(photos: Photos, *, anew: bool) -> pl.DataFrame:
    """How many bytes the files have, or would have if all were written alike."""
    pixels = np.array([fact.width * fact.height for fact in photos.facts])
    count = photos.bytes_anew if anew else np.array([fact.bytes for fact in photos.facts])
    return pl.DataFrame({"bytes": count, "bytes_per_pixel": count / pixels})


def forest_guesses(train: pl.DataFrame, truth_T: Ints, judged: pl.DataFrame) -> tuple[Ints, tuple[str, ...]]:
    """Guess by a random forest on facts of files; also the facts it leans on, most of all first."""
    from sklearn.ensemble import RandomForestClassifier

    columns, both = fact_columns(pl.concat([train, judged]))
    forest: Any = RandomForestClassifier(TREES, min_samples_leaf=5, class_weight="balanced", random_state=0, n_jobs=1)
    forest.fit(both[: len(train)], truth_T)
    by_fact: dict[str, float] = {}
    for name, share in zip(columns, forest.feature_importances_, strict=True):
        by_fact[name] = by_fact.get(name, 0.0) + float(share)
    leaned = sorted((name for name in by_fact if by_fact[name] > 0.1), key=lambda name: -by_fact[name])
    return np.asarray(forest.predict(both[len(train) :])), tuple(leaned)


def balanced(guess_N: Ints, truth_N: Ints, group_N: Ints) -> Score:
    """Recall averaged over the countries, with its 95 % interval; chance is one over the number of countries."""

    def statistic(weights_N: Floats) -> Floats:
        photos_K = np.bincount(truth_N, weights_N)
        hits_K = np.bincount(truth_N, weights_N * (guess_N == truth_N))
        return np.array([(hits_K[photos_K > 0] / photos_K[photos_K > 0]).mean()])

    low, high = interval(replicate(statistic, group_N))
    return Score(value=float(statistic(np.ones(len(truth_N)))[0]), low=float(low[0]), high=float(high[0]))


def file_effects(guess_N: Ints, truth_N: Ints, group_N: Ints, names: Sequence[str]) -> list[Effect]:
    """How much oftener a country is named for its own files than for others'."""
    statistic = skill(guess_N, truth_N, group_N, len(names))
    return by_country("told by file", statistic, truth_N, group_N, names, FILE_LIMITS)


def size_effects(guess_N: Ints, anew_N: Ints, truth_N: Ints, group_N: Ints, names: Sequence[str]) -> list[Effect]:
    """The same by the number of bytes, beyond what the pictures themselves explain: busy ones take more."""
    real, control = skill(guess_N, truth_N, group_N, len(names)), skill(anew_N, truth_N, group_N, len(names))
    return by_country(
        "told by size", lambda w: real(w) - np.maximum(control(w), 0), truth_N, group_N, names, FILE_LIMITS
    )


def thumbnail_effect(thumb_N: Ints, model_N: Ints, truth_N: Ints, group_N: Ints, names: Sequence[str]) -> list[Effect]:
    """How far a thumbnail gets beyond `NEARLY` of the model's way from chance, on average over the countries."""
    thumb, model = skill(thumb_N, truth_N, group_N, len(names)), skill(model_N, truth_N, group_N, len(names))
    limits = Limits(trivial=1, relevant=1, trivial_mean=0, relevant_mean=0)
    found = by_country(
        "beyond four fifths of the model", lambda w: thumb(w) - NEARLY * model(w), truth_N, group_N, names, limits
    )
    return found[:1]
