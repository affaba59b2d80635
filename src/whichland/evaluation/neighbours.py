"""A k-nearest-neighbour head as a peer of the bundle's own: it answers by the countries of the nearest training photos.

Features are centred on the training photos' mean; a neighbour at cosine s votes with weight exp(s / 0.07) (Wu et al.,
"Unsupervised feature learning via non-parametric instance discrimination", arXiv 1805.01978). How many vote is
chosen on the training photos alone: each is answered by the others, without those of its own group.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whichland.errors import UserError
from whichland.evaluation import metrics, paired
from whichland.evaluation.predictions import Predictions
from whichland.manifest import Manifest
from whichland.model.engines import unit_length
from whichland.model.features import stored_features
from whichland.printed import counted
from whichland.statistics import Ints, Score, group_numbers, scored

KS = (1, 3, 5, 10, 20, 50, 100)
TEMPERATURE = 0.07
TRIED = 4096  # training photos at most that k is chosen on
BLOCK = 512  # photos whose cosines to all training photos are held at once

Features = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """What the k-nearest-neighbour head scored on the photos that the bundle was judged on."""

    features: str  # the file's name
    k: int
    photos: int  # of training that may vote
    scores: dict[str, Score]
    ahead: dict[str, Score]  # by how much the bundle is, in top-1 and macro-F1; paired, over groups


@dataclass(frozen=True)
class NeighbourHead:
    """Training photos by their features, and how many of them vote."""

    features: Features  # N×F, centred, of length 1
    targets: Ints  # N
    groups: Ints  # N
    labels: int
    mean: Features  # F
    k: int = max(KS)

    @classmethod
    def fit(cls, features_NF: Features, label_N: Ints, group_N: Ints, labels: int) -> "NeighbourHead":
        """Keep the photos, and choose k by top-1 on them; among equals the smallest."""
        mean_F = features_NF.mean(axis=0)
        head = cls(_centred(features_NF, mean_F), label_N, group_N, labels, mean_F)
        tried = np.random.default_rng(0).permutation(len(label_N))[:TRIED]
        votes = head.votes(features_NF[tried], group_N[tried])
        right = [(probs_NK.argmax(axis=1) == label_N[tried]).mean() for probs_NK in votes]
        return replace(head, k=KS[int(np.argmax(right))])

    def probabilities(self, features_MF: Features) -> NDArray[np.float32]:
        """Shares of the votes, M×K; as if each label had one vote more among all."""
        return self.votes(features_MF)[KS.index(self.k)]

    def votes(self, features_MF: Features, without_M: Ints | None = None) -> list[NDArray[np.float32]]:
        """Shares of the votes for each k of `KS`, M×K each; `without_M` are groups that do not vote on a photo."""
        found: list[list[NDArray[np.float32]]] = [[] for _ in KS]
        most = min(max(KS), len(self.targets))
        for start in range(0, len(features_MF), BLOCK):
            cosine_BN = _centred(features_MF[start : start + BLOCK], self.mean) @ self.features.T
            if without_M is not None:
                cosine_BN[without_M[start : start + BLOCK, None] == self.groups] = -np.inf
            some_Bk = np.argpartition(-cosine_BN, most - 1, axis=1)[:, :most]
            order_Bk = np.argsort(-np.take_along_axis(cosine_BN, some_Bk, axis=1), axis=1, kind="stable")
            near_Bk = np.take_along_axis(some_Bk, order_Bk, axis=1)
            weight_Bk = np.exp((np.take_along_axis(cosine_BN, near_Bk, axis=1) - 1) / TEMPERATURE)
            for k, parts in zip(KS, found, strict=True):
                votes_BK = np.zeros((len(near_Bk), self.labels))
                rows = np.arange(len(near_Bk))[:, None]
                np.add.at(votes_BK, (rows, self.targets[near_Bk[:, :k]]), weight_Bk[:, :k])
                share_BK = votes_BK / np.maximum(votes_BK.sum(axis=1, keepdims=True), 1e-30)
                count = min(k, most)
                parts.append(((share_BK * count + 1 / self.labels) / (count + 1)).astype(np.float32))
        return [np.concatenate(parts) for parts in found]


def _centred(features_NF: Features, mean_F: Features) -> Features:
    return unit_length(features_NF - mean_F).astype(np.float32)


def answer_by_neighbours(answered: Predictions, manifest: Manifest, file: Path) -> tuple[Predictions, NeighbourHead]:
    """The photos of `answered` answered by the training photos' stored features, and the head that did.

    Raises UserError for the split `train`, whose photos would find themselves, and where features are missing.
    """
    if answered.identity.split == "train":
        raise UserError("--knn looks for the nearest photos in split train: judge another split")
    space = answered.space
    rows = manifest.kept.filter(pl.col("split") == "train", pl.col(space.kind).is_in(space.codes))
    if rows.is_empty():
        raise UserError(f"the manifest has no training photos of the bundle's {space.nouns}, of which --knn takes some")
    groups = rows["group"].to_list() if "group" in rows.columns else [None] * len(rows)
    every = stored_features(file, [*rows["uri"], *answered.frame["uri"]]).directions
    training_NF, asked_MF = every[: len(rows)], every[len(rows) :]
    if unread := int(np.isnan(asked_MF[:, 0]).sum()):
        raise UserError(
            f"{file}: {counted(unread, 'photo')} of split {answered.identity.split} unreadable; embed them again"
        )
    seen = ~np.isnan(training_NF[:, 0])
    label_N = np.array([space.index[code] for code in rows[space.kind]], np.int64)
    head = NeighbourHead.fit(training_NF[seen], label_N[seen], group_numbers(groups)[seen], len(space))
    return replace(answered, probabilities=head.probabilities(asked_MF)), head


def judge_neighbours(own: Predictions, others: Predictions, head: NeighbourHead, file: Path) -> Neighbours:
    """Score the head's answers beside the bundle's own, which are of the same photos or panoramas."""
    counted = paired.tally(
        {"own": [own.outcomes.guess], "others": [others.outcomes.guess]}, own.truth, own.groups, len(own.labels)
    )
    (own_S, other_S), moved_BMS = paired.scores(counted)[0], paired.leave_out(counted)
    ahead = scored(own_S - other_S, moved_BMS[:, 0] - moved_BMS[:, 1], counted.group_of, "difference")
    return Neighbours(
        features=file.name,
        k=head.k,
        photos=len(head.targets),
        scores=metrics.judged(others.outcomes, others.groups),
        ahead=dict(zip(paired.SCORES, ahead, strict=True)),
    )
