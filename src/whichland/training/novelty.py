"""What a finished model finds unlike its training photos, fitted once it is trained."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whichland.model.bundle import Info, update_info
from whichland.model.engines import Features, Network, load_torch, torch_network
from whichland.model.head import classifier_names
from whichland.model.novelty import fit, write_novelty
from whichland.model.views import middles_ahead
from whichland.training.data import Photos

BATCH = 32


def learn_novelty(folder: Path, photos: Photos, validation: Photos, groups: Sequence[str | None], *, most: int) -> None:
    """Fit a bundle's novelty to up to `most` of its training photos, and to as many of validation; keep it there.

    Not for models of several classifiers side by side, in front of which there is no one place to look.
    """
    loaded = load_torch(folder)
    if len(classifier_names(loaded.model)) > 1:
        return
    network = torch_network(loaded, features=True)

    def seen(uris: Sequence[str], what: str) -> tuple[NDArray[np.int64], Features]:
        """Which photos were taken and could be read, and their features."""
        some = np.sort(np.random.default_rng(0).permutation(len(uris))[:most])
        rows, parts = [], []
        for at, crops in middles_ahead([uris[row] for row in some], loaded.preprocess, BATCH, what):
            rows.append(some[at])
            parts.append(_features(network, crops))
        return np.concatenate(rows), np.concatenate(parts)

    rows_N, features_NF = seen(photos.uris, "novelty: training photos")
    rows_M, held_MF = seen(validation.uris, "novelty: validation photos")
    novelty = fit(features_NF, photos.targets[rows_N], held_MF, [groups[row] for row in rows_M])
    update_info(folder, Info(novelty=write_novelty(folder, novelty)), "novelty")


def _features(network: Network, crops: NDArray[np.uint8]) -> Features:
    features_BF = network(crops).features
    assert features_BF is not None
    return features_BF
