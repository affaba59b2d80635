"""The photos that an export is fitted on and judged on, and the logits of several networks for them."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whichland.errors import UserError
from whichland.images.decode import ImageError
from whichland.images.preprocess import Pixels, Preprocess
from whichland.manifest import Manifest
from whichland.model.batches import decoded_ahead
from whichland.model.engines import Run
from whichland.model.labels import LabelSpace
from whichland.progress import Progress

BATCH = 16
MOST_BYTES = 256_000_000  # of crops that are held at once


def rows_of(manifest: Manifest, split: str, labels: LabelSpace) -> pl.DataFrame:
    """The kept photos of a split whose label the model knows. Raises UserError when there are none."""
    manifest.require("split", labels.kind, hint="make it with `whichland data split`")
    rows = manifest.kept.filter((pl.col("split") == split) & pl.col(labels.kind).is_in(labels.codes))
    if rows.is_empty():
        raise UserError(f"the manifest has no kept photos of the model's labels in split {split!r}")
    return rows


def photos_of(manifest: Manifest, split: str, labels: LabelSpace, most: int) -> pl.DataFrame:
    """Up to `most` of them, the same ones at each call. Raises UserError when there are none."""
    rows = rows_of(manifest, split, labels)
    return rows.sort("image_id").sample(min(most, rows.height), shuffle=True, seed=0)


def crops_of(photos: pl.DataFrame, preprocess: Preprocess) -> Pixels:
    """The readable photos' crops, N×H×W×3, as many as `MOST_BYTES` allow. Raises UserError when there are none."""
    height, width = preprocess.size
    most = max(1, MOST_BYTES // (height * width * 3))
    found: list[Pixels] = []
    for _, crops in decoded_ahead(photos["uri"].head(most).to_list(), preprocess, BATCH):
        found += [crop for crop in crops if not isinstance(crop, ImageError)]
    if not found:
        raise UserError(f"none of {photos.height} photos can be read to make int8; choose others with --photos")
    return np.stack(found)


def answers_of(
    photos: pl.DataFrame, preprocess: Preprocess, labels: LabelSpace, networks: Mapping[str, Run]
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int64]]:
    """Each network's logits, N×K, for the readable photos, and the index of their labels; decoded once for all.

    Raises UserError when no photo can be read.
    """
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in networks}
    truth: list[int] = []
    own = iter(photos[labels.kind].to_list())
    with Progress("judging the exported networks", photos.height) as progress:
        for names, crops in decoded_ahead(photos["uri"].to_list(), preprocess, BATCH):
            pairs = [(crop, labels.index[next(own)]) for crop in crops]
            readable = [(crop, label) for crop, label in pairs if not isinstance(crop, ImageError)]
            if readable:
                batch = np.stack([crop for crop, _ in readable])
                truth += [label for _, label in readable]
                for name, run in networks.items():
                    parts[name].append(run(batch))
            progress.advance(len(names))
    if not truth:
        raise UserError(f"none of the {photos.height} validation photos can be read")
    return {name: np.concatenate(found) for name, found in parts.items()}, np.array(truth, np.int64)
