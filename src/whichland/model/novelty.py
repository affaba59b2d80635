"""How unlike the training photos a photo is, by the features in front of the head.

    novelty = fit(features_NF, targets_N, held_MF, groups_M)
    novelty.share(novelty.distances(features_BF)[0])
    0.997

The distance is Mahalanobis' from the nearest label's mean, with one covariance within labels for all of them (Lee et
al. 2018, arXiv 1807.03888). docs/decisions/novelty.md says why.
A distance is read against those of validation photos: the share of these that are nearer. Photos like them are beyond
0.99 once in a hundred times, as in conformal prediction (Vovk, Gammerman & Shafer 2005).

A bundle keeps it as novelty.npz: means and directions, of no single photo. whichland.json names its SHA-256.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from whichland.errors import UserError
from whichland.statistics import group_numbers
from whichland.whole_file import file_sha256, whole_file

FILE = "novelty.npz"
UNLIKE = 0.99  # share of validation photos that are nearer, from which on a photo is unlike the training photos
FLOOR = 1e-3  # of the mean variance, added to each direction's: few photos leave some without any
MOST_BYTES = 100_000_000  # of the file, and of each array in it

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Novelty:
    """Distances from training photos, and what validation photos have of them."""

    mean: Floats  # F, of the training photos' features
    axes: Floats  # F×F: directions, scaled by how much photos of a label vary in them; of 16 bits, as the file has it
    centres: Floats  # C×F: the labels' means, seen so
    known: Floats  # M, distances of validation photos, ascending
    weights: Floats  # M: of each; a group's sum to 1

    def distances(self, features_BF: Floats) -> Floats:
        """The distance of each photo from the nearest label, 1 being features' mean deviation within labels: B."""
        seen_BF = (features_BF - self.mean) @ self.axes
        squares_BC = (seen_BF**2).sum(1)[:, None] - 2 * seen_BF @ self.centres.T + (self.centres**2).sum(1)
        nearest: Floats = np.sqrt(np.maximum(squares_BC.min(axis=1), 0))
        return nearest

    def share(self, distance: float) -> float:
        """The share of validation photos that are nearer, each group counting once and this photo as one more."""
        farther = float(self.weights[np.searchsorted(self.known, distance) :].sum())
        return max(0.0, 1 - (farther + 1) / (float(self.weights.sum()) + 1))


def fit(features_NF: Floats, targets_N: NDArray[np.int64], held_MF: Floats, groups_M: Sequence[str | None]) -> Novelty:
    """Fit to the features of training photos and their labels, and to those of validation photos and their groups."""
    labels, of_label_N = np.unique(targets_N, return_inverse=True)
    count_L = np.bincount(of_label_N)
    means_LF = np.zeros((len(labels), features_NF.shape[1]))
    np.add.at(means_LF, of_label_N, features_NF)
    means_LF /= count_L[:, None]
    within_NF = features_NF - means_LF[of_label_N]
    variance_F, directions_FF = np.linalg.eigh(within_NF.T @ within_NF / len(within_NF))
    shares_F = np.maximum(variance_F, 0) / max(float(variance_F.mean()), 1e-12)
    axes_FF = (directions_FF / np.sqrt(shares_F + FLOOR)).astype(np.float16).astype(np.float32)
    mean_F = features_NF.mean(axis=0, dtype=np.float64)
    unjudged = Novelty(
        mean=mean_F.astype(np.float32),
        axes=axes_FF,
        centres=((means_LF - mean_F) @ axes_FF).astype(np.float32),
        known=np.zeros(0, np.float32),
        weights=np.zeros(0, np.float32),
    )
    known_M, numbers_M = unjudged.distances(held_MF), group_numbers(groups_M)
    weights_M = (1 / np.bincount(numbers_M))[numbers_M].astype(np.float32)
    order_M = known_M.argsort(kind="stable")
    return Novelty(**vars(unjudged) | {"known": known_M[order_M], "weights": weights_M[order_M]})


def write_novelty(folder: Path, novelty: Novelty) -> dict[str, Any]:
    """Write a bundle's novelty.npz; return what whichland.json has to say of it."""
    path = folder / FILE
    with whole_file(path) as partial, partial.open("wb") as stream:
        np.savez(stream, **vars(novelty) | {"axes": novelty.axes.astype(np.float16)})
    groups = round(float(novelty.weights.sum()))
    return {"sha256": file_sha256(path), "photos": len(novelty.known), "groups": groups, "unlike": UNLIKE}


def read_novelty(folder: Path, record: dict[str, Any] | None) -> Novelty | None:
    """The novelty that a bundle keeps, by the `record` of it; None for none.

    Raises UserError where the file is missing, damaged, too large, or not the one that is recorded.
    """
    if record is None:
        return None
    path = folder / FILE
    again = "copy the bundle anew"
    if not path.is_file():
        raise UserError(f"{path}: missing; {again}")
    if path.stat().st_size > MOST_BYTES or file_sha256(path) != record.get("sha256"):
        raise UserError(f"{path}: damaged, or not the file of this bundle (its SHA-256 differs); {again}")
    try:
        data = path.read_bytes()
        with ZipFile(io.BytesIO(data)) as inside:
            if any(member.file_size > MOST_BYTES for member in inside.infolist()):
                raise ValueError(f"an array of more than {MOST_BYTES / 1e6:.0f} MB")
        with np.load(io.BytesIO(data), allow_pickle=False) as held:
            found = Novelty(**{name: held[name].astype(np.float32) for name in Novelty.__annotations__})
        (features, rank), (_, wide) = found.axes.shape, found.centres.shape  # bundles of before keep fewer directions
        if found.mean.shape != (features,) or rank != wide or found.known.shape != found.weights.shape:
            raise ValueError("arrays that do not fit together")
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise UserError(f"{path}: no novelty of a bundle ({error}); {again}") from None
    return found
