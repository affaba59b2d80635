"""How far one gets without looking at the street: classifiers of a thumbnail or of the file alone, and the source.

The classifiers learn on the training split and are judged on the photos that are audited, as the model is. A source
is a shortcut where two facts meet: countries that share no source, and sources that differ in what a model can see.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from whichland.errors import UserError
from whichland.evaluation.audit_checks import Check, Effect, Limits, Sample, by_country, skill
from whichland.evaluation.metrics import balanced_accuracy
from whichland.evaluation.source_probe import HEADER, ProbeConfig, fact_columns, fitted_forest, source_probe, telling
from whichland.images.decode import ImageError, decode, encode_jpeg, read_bytes
from whichland.images.file_facts import FileFacts, file_facts
from whichland.images.photo import open_photo
from whichland.images.preprocess import Pixels, Preprocess
from whichland.manifest import Manifest
from whichland.model.views import cut_views
from whichland.progress import track
from whichland.statistics import Floats, Ints, errors, group_numbers, judged, moved, student_reach

THUMBNAIL = 16  # pixels a side
ANEW = 85  # JPEG quality at which the same pixels are written again
THREADS = 2
NEARLY = 0.8  # a thumbnail that gets so far, of what the model is above chance, explains the model
PENALTIES = (1e-4, 1e-3, 1e-2)  # inverse, of the logistic regression
FOLDS = 3

REDRAWS = 500
PROBED = 1000  # photos of each source
MARGIN = 0.05  # beyond chance, of the source probe's balanced accuracy
TRIVIAL, RELEVANT = 0.1, 0.25  # of the distance between two countries' mixes of sources, beyond chance

# A country that its files give away in three of five photos, net of false alarms, is no accident of the pictures.
FILE_LIMITS = Limits(trivial=0.2, relevant=0.5, trivial_mean=0.05, relevant_mean=0.2)


@dataclass(frozen=True, kw_only=True)
class ReadPhotos:
    """Photos of one split, read once: N rows each."""

    frame: pl.DataFrame  # of the readable ones, with facts of their files, and `bytes_anew` if all were written alike
    crops: Pixels | None  # as the model sees them, N×H×W×3
    thumbnails: Pixels  # N×16×16×3, of the same part
    unreadable: int

    def sample(self, names: Sequence[str]) -> Sample:
        """Country and group of each photo."""
        country_N = self.frame["label"].replace_strict({name: at for at, name in enumerate(names)}).to_numpy()
        groups = group_numbers(self.frame["group"].to_list())
        return Sample(country=country_N.astype(np.int64), group=groups, names=tuple(names))

    def of(self, countries: Sequence[str]) -> "ReadPhotos":
        """The photos of some countries."""
        rows = self.frame["label"].is_in(list(countries)).to_numpy()
        crops = None if self.crops is None else self.crops[rows]
        return replace(self, frame=self.frame.filter(pl.Series(rows)), crops=crops, thumbnails=self.thumbnails[rows])


def read_photos(rows: pl.DataFrame, preprocess: Preprocess, *, crops: bool) -> ReadPhotos:
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
    crops_seen, thumbnails, facts, sizes = zip(*filter(None, found), strict=True) if any(found) else ((),) * 4
    known = pl.DataFrame(facts, schema=list(FileFacts._fields), orient="row")
    readable = rows.filter(pl.Series([photo is not None for photo in found], dtype=pl.Boolean))
    return ReadPhotos(
        frame=readable.with_columns(*known, bytes_anew=pl.Series(sizes, dtype=pl.Int64)),
        crops=np.stack(crops_seen) if crops and crops_seen else None,
        thumbnails=np.array(thumbnails, np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL, 3),
        unreadable=len(found) - len(facts),
    )


def thumbnail_guesses(train: ReadPhotos, sample: Sample, judged: ReadPhotos) -> Ints:
    """Guess by a linear model on 16×16 thumbnails; its penalty is chosen within the training photos, by group."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold

    seen = train.thumbnails.reshape(len(train.frame), -1).astype(np.float64)
    mean, spread = seen.mean(axis=0), seen.std(axis=0) + 1.0
    model: Any = LogisticRegression(C=PENALTIES[1], tol=1e-3, max_iter=500, class_weight="balanced")
    groups = sample.groups_by_country
    if groups[groups > 0].min() >= FOLDS:  # else too few groups to choose by
        folds: Any = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
        model = GridSearchCV(model, {"C": PENALTIES}, cv=folds)
        model.fit((seen - mean) / spread, sample.country, groups=sample.group)
    else:
        model.fit((seen - mean) / spread, sample.country)
    return np.asarray(model.predict((judged.thumbnails.reshape(len(judged.frame), -1) - mean) / spread))


def header_table(photos: ReadPhotos) -> pl.DataFrame:
    """What the files say before their pixels: size in pixels, encoder settings, layout."""
    return photos.frame.select(HEADER)


def size_table(photos: ReadPhotos, *, anew: bool) -> pl.DataFrame:
    """How many bytes the files have, or would have if all were written alike."""
    count = pl.col("bytes_anew" if anew else "bytes")
    return photos.frame.select(bytes=count, bytes_per_pixel=count / (pl.col("width") * pl.col("height")))


def forest_guesses(train: pl.DataFrame, truth_T: Ints, judged: pl.DataFrame) -> tuple[Ints, tuple[str, ...]]:
    """Guess by a random forest on facts of files; also the facts it leans on, most of all first."""
    columns, both = fact_columns(pl.concat([train, judged]))
    forest = fitted_forest(both[: len(train)], truth_T)
    return np.asarray(forest.predict(both[len(train) :])), telling(columns, forest.feature_importances_)


def file_effects(guess_N: Ints, sample: Sample) -> list[Effect]:
    """How much oftener a country is named for its own files than for others'."""
    return by_country("by file", skill(guess_N, sample), sample, FILE_LIMITS)


def size_effects(guess_N: Ints, anew_N: Ints, sample: Sample) -> list[Effect]:
    """The same by the number of bytes, beyond what the pictures themselves explain: busy ones take more."""
    real, control = skill(guess_N, sample), skill(anew_N, sample)
    return by_country("by size", lambda w: real(w) - np.maximum(control(w), 0), sample, FILE_LIMITS)


def thumbnail_effect(thumb_N: Ints, model_N: Ints, sample: Sample) -> list[Effect]:
    """How far a thumbnail gets beyond `NEARLY` of the model's way from chance, on average over the countries."""
    thumb, model = skill(thumb_N, sample), skill(model_N, sample)
    limits = Limits(trivial=1, relevant=1, trivial_mean=0, relevant_mean=0)
    return by_country("beyond four fifths of the model", lambda w: thumb(w) - NEARLY * model(w), sample, limits)[:1]


def file_checks(train: ReadPhotos, judged: ReadPhotos, model_N: Ints, names: Sequence[str]) -> list[Check]:
    """What can be known without looking at the street."""
    taught, sample = train.sample(names), judged.sample(names)
    chance = 1 / len(np.unique(sample.country))
    thumb_N = thumbnail_guesses(train, taught, judged)
    header_N, leaned = forest_guesses(header_table(train), taught.country, header_table(judged))
    size_N, anew_N = (
        forest_guesses(size_table(train, anew=anew), taught.country, size_table(judged, anew=anew))[0]
        for anew in (False, True)
    )
    model, anew = (balanced_accuracy(guess_N, sample.country, sample.group) for guess_N in (model_N, anew_N))

    def check(name: str, guess_N: Ints, **more: Any) -> Check:
        score = balanced_accuracy(guess_N, sample.country, sample.group)
        beside: dict[str, Any] = {"null": chance, "against": "chance", "measure": "balanced accuracy"}
        return Check(name=name, score=score, **beside | more)

    return [
        check(
            "thumbnail",
            thumb_N,
            title="16×16 thumbnail alone",
            asks="Does a linear model on thumbnails get nearly as far as the model?",
            effects=tuple(thumbnail_effect(thumb_N, model_N, sample)),
            facts=(("the model", str(model)), ("chance", f"{chance:.1%}")),
        ),
        check(
            "file",
            header_N,
            title="file's header alone",
            asks="Do size in pixels, JPEG tables and layout of the file reveal the country?",
            effects=tuple(file_effects(header_N, sample)),
            facts=(("it leans on", ", ".join(leaned) or "nothing"),),
        ),
        check(
            "bytes",
            size_N,
            title="number of bytes alone",
            asks="Does the file's size reveal more than the same pixels written anew would?",
            effects=tuple(size_effects(size_N, anew_N, sample)),
            facts=(("same pixels, all written alike", str(anew)),),
            null=max(anew.value, chance),
            against="the same pixels, all written alike",
        ),
    ]


def source_check(manifest: Manifest, names: Sequence[str], *, seed: int, column: str = "country") -> Check:
    """Measure how far the source reveals the country: the mean distance between two countries' mixes of sources.

    The distance is half the summed difference of the shares (total variation): whoever knows the source
    distinguishes two countries in half of all cases plus half of it. It is above zero by chance alone, so it is
    compared with sources dealt out anew to the groups.
    """
    rows = manifest.kept.filter(pl.col("split") == "train", pl.col(column).is_in(list(names)))
    counts = dict(rows.group_by("source").len().sort("source").iter_rows())
    check = Check(
        name="source",
        title="source of the photo",
        asks="Does the source reveal the country, and the file the source?",
        measure="countries apart by source",
        score=None,
        null=0.0,
        against="sources dealt out at random",
        facts=(("photos by source", ", ".join(f"{name} {count:,}" for name, count in counts.items())),),
    )
    if len(counts) < 2:
        return replace(check, verdict="not found", says="there is one source only")
    by_country = rows.group_by(column).agg(pl.col("source").n_unique().alias("sources"))
    single = by_country.filter(pl.col("sources") == 1)[column].sort()
    few = f"{len(single)} of {len(names)}" + (f": {', '.join(single)}" if len(single) <= 12 else "")
    try:
        header = source_probe(manifest, ProbeConfig(photos=PROBED, seed=seed)).readings[0]
    except UserError as error:
        unless, reading = "whether files reveal the source cannot be probed", str(error)
    else:
        reading = f"{header.score}, chance {header.chance:.1%}"
        reveals = header.score.above(header.chance + MARGIN)
        unless = "" if reveals else "the files' headers do not reveal the source; their pixels may"
    return replace(
        check,
        unless=unless,
        facts=(*check.facts, ("countries that one source alone has", few), ("source by the header", reading)),
        **_apart(rows, column, seed),
    )


def _apart(rows: pl.DataFrame, column: str, seed: int) -> dict[str, Any]:
    """Score, null and effect of the distance between the countries' mixes of sources."""
    country_N, source_N, group_N = (group_numbers(rows[name].to_list()) for name in (column, "source", "group"))
    shape = (int(country_N.max()) + 1, int(source_N.max()) + 1)

    def distance(weights_N: Floats, dealt_N: Ints = source_N) -> Floats:
        photos_KS = np.bincount(country_N * shape[1] + dealt_N, weights_N, shape[0] * shape[1]).reshape(shape)
        photos_KS = photos_KS[photos_KS.any(axis=1)]
        share_KS = photos_KS / photos_KS.sum(axis=1, keepdims=True)
        apart_KK = np.abs(share_KS[:, None] - share_KS[None]).sum(axis=2) / 2
        return np.array([apart_KK[np.triu_indices(len(share_KS), 1)].mean()])

    every = np.ones(len(source_N))
    source_G = source_N[np.unique(group_N, return_index=True)[1]]
    random = np.random.default_rng((seed, 3))
    dealt = np.array([distance(every, random.permutation(source_G)[group_N])[0] for _ in range(REDRAWS)])
    chance = float(dealt.mean())
    (score,) = judged(distance, group_N, "share")
    of_groups, freedom = errors(moved(distance, np.array([score.value]), group_N))
    beyond, error = score.value - chance, float(np.hypot(of_groups[0], dealt.std()))
    reach = float(student_reach(error, freedom[0]))
    effect = Effect(
        what="apart by source",
        country=None,
        value=beyond,
        low=beyond - reach,
        high=beyond + reach,
        trivial=TRIVIAL,
        relevant=RELEVANT,
        p=NormalDist().cdf((TRIVIAL - beyond) / error) if error else float(beyond <= TRIVIAL),
        groups=len(source_G),
    )
    return {"score": score, "null": chance, "effects": (effect,)}
