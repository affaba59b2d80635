"""Which photos a person should look at: likely mislabelled ones, those hardest to tell, those unlike all others.

A linear probe on stored features answers each photo from photos of other groups (cross-validation). Confident learning
(Northcutt, Jiang and Chuang, JAIR 2021) finds likely label errors in these answers: the mean probability that photos
labelled k get for k is the threshold of k, and a photo is suspected when, of the countries whose threshold it passes,
the likeliest is not its label. Of the suspects those come first whose label the probe finds least likely for how common
it is: rare countries get low probabilities of their own accord.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from whichland.errors import UserError
from whichland.evaluation.leak import BLOCK, FOLDS, fitted_probe, grouped_folds, standardised
from whichland.manifest import Manifest
from whichland.model.engines import unit_length
from whichland.model.features import Features
from whichland.progress import track
from whichland.statistics import Flags, Floats, Ints, group_numbers

NEIGHBOURS = 10
LISTS = {"label": "Likely mislabelled", "unsure": "Hardest to tell", "unlike": "Unlike all others"}


@dataclass(frozen=True, kw_only=True)
class Review:
    """What was found about N photos; the order of each list is its most doubtful photo first."""

    rows: pl.DataFrame  # N rows of the manifest
    codes: tuple[str, ...]  # K countries
    probabilities: Floats  # N×K, each row by a probe that saw no photo of its group; NaN where the label is in no other
    suspected: Flags  # N, by confident learning
    distances: Floats  # N, mean 1 − cosine to the nearest photos of other groups
    order: dict[str, Ints]  # rows of each of `LISTS`
    judged: int  # photos with probabilities
    agree: float  # share of these whose label is the probe's first guess

    def shown(self, each: int) -> list[tuple[str, int]]:
        """The first `each` photos of each list that nobody has reviewed, as (list, row), no photo twice."""
        done = self.rows["review"].is_not_null().to_numpy() if "review" in self.rows.columns else None
        found: dict[int, str] = {}
        for name, order in self.order.items():
            fresh = [row for row in order.tolist() if row not in found and (done is None or not done[row])]
            found |= dict.fromkeys(fresh[:each], name)
        return [(name, row) for row, name in found.items()]


def review(manifest: Manifest, embeddings: pl.DataFrame) -> Review:
    """Rank the kept photos of a manifest that have an embedding (columns path and embedding, by uri).

    A photo whose country no other group has is not judged. Raises UserError without groups, and for fewer than two
    countries that several groups have.
    """
    manifest.require("group", "country", hint="run `whichland data split` first")
    kept = manifest.kept.drop_nulls(["country", "group"])
    vectors = embeddings.select("path", "embedding").drop_nulls().unique("path", keep="first")
    rows = kept.join(vectors, left_on="uri", right_on="path", how="inner", maintain_order="left")
    if rows.is_empty():
        raise UserError("none of the manifest's photos has an embedding: embed this manifest")
    vectors_NF, rows = rows["embedding"].to_numpy(), rows.drop("embedding")
    codes = tuple(rows["country"].unique().sort())
    label_N = np.array([codes.index(code) for code in rows["country"]], np.int64)
    group_N = group_numbers(rows["group"].to_list())
    probs_NK = cross_validated(vectors_NF, label_N, group_N, len(codes))
    judged = ~np.isnan(probs_NK[:, 0])
    if len(set(label_N[judged].tolist())) < 2:
        raise UserError("fewer than two countries have photos in several groups: labels cannot be judged")
    suspected, doubt_N = label_doubt(probs_NK, label_N)
    distance_N = distances(vectors_NF, group_N)
    order = {
        "label": np.lexsort((doubt_N, ~suspected))[: int(judged.sum())],
        "unsure": np.argsort(np.where(judged, probs_NK.max(axis=1), np.inf), kind="stable")[: int(judged.sum())],
        "unlike": np.argsort(-distance_N, kind="stable"),
    }
    return Review(
        rows=rows,
        codes=codes,
        probabilities=probs_NK,
        suspected=suspected,
        distances=distance_N,
        order=order,
        judged=int(judged.sum()),
        agree=float((probs_NK[judged].argmax(axis=1) == label_N[judged]).mean()),
    )


def cross_validated(vectors_NF: Features, label_N: Ints, group_N: Ints, labels: int) -> Floats:
    """Probabilities N×K of a linear probe that saw no photo of a photo's group; NaN where it never saw the label."""
    seen_NF, fold_N = standardised(vectors_NF), grouped_folds(label_N, group_N, 0)
    probs_NK = np.zeros((len(label_N), labels))
    for fold in track(range(FOLDS), description="cross-validating labels"):
        test, train = np.flatnonzero(fold_N == fold), fold_N != fold
        known = np.unique(label_N[train])
        if test.size and known.size > 1:
            probs_NK[np.ix_(test, known)] = fitted_probe(seen_NF[train], label_N[train]).predict_proba(seen_NF[test])
        probs_NK[test[~np.isin(label_N[test], known) | (known.size < 2)]] = np.nan
    return probs_NK


def label_doubt(probs_NK: Floats, label_N: Ints) -> tuple[Flags, Floats]:
    """Which photos confident learning suspects; and the probability of each one's label by the label's share of photos.

    The smaller that is, the more doubtful the label. Rows of NaN are not suspected, and have infinity.
    """
    probs_NK = np.where(np.isnan(probs_NK), -1.0, probs_NK)
    rows, judged = np.arange(len(label_N)), probs_NK[:, 0] >= 0
    own_N = probs_NK[rows, label_N]
    photos_K = np.bincount(label_N[judged], minlength=probs_NK.shape[1])
    sums_K = np.bincount(label_N[judged], own_N[judged], minlength=probs_NK.shape[1])
    threshold_K = np.where(photos_K > 0, sums_K / np.maximum(photos_K, 1), np.inf)
    passing_NK = np.where(probs_NK >= threshold_K, probs_NK, -1.0)
    suspected = judged & (passing_NK.max(axis=1) >= 0) & (passing_NK.argmax(axis=1) != label_N)
    share_N = photos_K[label_N] / max(judged.sum(), 1)
    return suspected, np.divide(own_N, share_N, out=np.full(len(label_N), np.inf), where=judged)


def distances(vectors_NF: Features, group_N: Ints) -> Floats:
    """Mean of 1 − cosine to the `NEIGHBOURS` nearest photos of other groups, a block of rows at a time."""
    unit_NF = unit_length(vectors_NF)
    found = []
    for start in range(0, len(unit_NF), BLOCK):
        cosine_BN = unit_NF[start : start + BLOCK] @ unit_NF.T
        cosine_BN[group_N[start : start + BLOCK, None] == group_N] = -1.0
        nearest = np.partition(cosine_BN, -min(NEIGHBOURS, len(unit_NF)), axis=1)[:, -NEIGHBOURS:]
        found.append(1 - nearest.mean(axis=1))
    return np.concatenate(found)
