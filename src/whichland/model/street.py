"""Score how like a street outdoors a photo is, with any classifier of the 1,000 ImageNet classes.

    whichland data score photos.parquet -o photos.parquet --arch mobilenetv2_100 --weights W.safetensors

ImageNet has no class "street", but what a classifier takes a photo for says where it was taken: streetcar,
traffic light and mobile home are seen outdoors, restaurant, bookcase and desk indoors. With O and I the summed
probabilities of such classes, the mean over the pieces of the photo,

    street = (O + 0.05) / (O + I + 0.1)

so a photo in which the classifier sees neither (a face, a dish) has 0.5. Shop fronts, shutters and walls count as
outdoors. It distinguishes indoors from outdoors and knows nothing of roads: a beach is outdoors.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import polars as pl
import timm
import torch
from numpy.typing import NDArray
from torch import nn

from whichland.config import AT_LEAST_1, Config
from whichland.errors import UserError
from whichland.images.decode import ImageError, load
from whichland.images.preprocess import Pixels, Preprocess
from whichland.manifest import Manifest
from whichland.model import backbone
from whichland.model.engines import best_device
from whichland.model.views import made_ahead
from whichland.progress import Progress

CLASSES = 1000
DOUBT = 0.05  # added to either side; a classifier that sees neither streets nor rooms says nothing
MOST_PIECES = 8
CHECKPOINT_S = 60.0
SIDES = Path(__file__).with_name("street.csv")  # class, by the first name that timm gives it, and side


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(Config):
    """Which classifier looks at the photos."""

    arch: Annotated[str, "timm's name of a classifier of ImageNet-1k"] = "mobilenetv2_100.ra_in1k"
    weights: Annotated[str, "`hub`, or a .safetensors file that holds the classifier, too"] = "hub"
    batch_size: Annotated[int, "photos decoded and judged at once", AT_LEAST_1] = 32


class Classifier(NamedTuple):
    """An ImageNet classifier and what its scores are made of."""

    model: nn.Module
    preprocess: Preprocess
    outdoors: list[int]
    indoors: list[int]


def score(
    manifest: Manifest,
    config: ScoreConfig | None = None,
    *,
    checkpoint: Callable[[Manifest], None] | None = None,
    progress: bool = True,
) -> Manifest:
    """Write `street`, 0 to 1, of the rows that have none; images that cannot be read stay without.

    `checkpoint` is called about every minute and when interrupted with the manifest as far as it is scored:
    scoring that one resumes where this one stopped. Raises UserError when the weights do not hold a classifier of
    ImageNet's 1,000 classes.
    """
    config, frame = config or ScoreConfig(), manifest.frame
    none = pl.repeat(None, len(frame), dtype=pl.Float64, eager=True)
    street = frame.get_column("street", default=none).cast(pl.Float64).fill_null(np.nan).to_numpy().copy()
    readable = frame.get_column("unreadable", default=none).is_null().to_numpy()
    waiting, done, saved = np.flatnonzero(np.isnan(street) & readable), 0, time.monotonic()

    def so_far() -> Manifest:
        scored = frame.with_columns(pl.Series("street", street).fill_nan(None))
        known = {"arch": config.arch, "weights": Path(config.weights).name}
        return manifest.with_step("score", scored, **known, scored=done, waiting=len(waiting) - done)

    if not len(waiting):
        return so_far()
    judge = classifier(config)
    uris = frame["uri"].gather(waiting).to_list()
    with Progress("scoring", len(uris), show=progress) as bar:
        try:
            for _, decoded in made_ahead(uris, lambda uri: pieces(uri, judge.preprocess), config.batch_size):
                street[waiting[done : done + len(decoded)]] = _judged(decoded, judge)
                done += len(decoded)
                bar.advance(len(decoded))
                if checkpoint and time.monotonic() - saved > CHECKPOINT_S:
                    checkpoint(so_far())
                    saved = time.monotonic()
        except KeyboardInterrupt:
            if checkpoint:
                checkpoint(so_far())
            raise
    return so_far()


def classifier(config: ScoreConfig) -> Classifier:
    """Make the classifier, on the best device, in evaluation mode. Raises UserError for weights without one."""
    loaded = backbone.pretrained(config.arch, config.weights)
    held = loaded.report.classifier if loaded.report else config.weights == "hub"
    if loaded.model.num_classes != CLASSES or not held:
        raise UserError(
            f"{config.arch} with weights {config.weights}: no classifier of the {CLASSES:,} classes of ImageNet;"
            " give --arch and --weights of one"
        )
    number = {name: index for index, name in enumerate(class_names())}
    sides = pl.read_csv(SIDES).with_columns(pl.col("class").replace_strict(number))
    outdoors, indoors = (sides.filter(side=side)["class"].to_list() for side in ("outdoors", "indoors"))
    model = loaded.model.to(best_device()).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    preprocess = replace(Preprocess.from_config(loaded.pretrained_cfg), crop_pct=1.0, crop_mode="center")
    return Classifier(model, preprocess, outdoors, indoors)


def class_names() -> list[str]:
    """The first name of each class of ImageNet-1k, in the order of the logits."""
    info = timm.data.ImageNetInfo("imagenet-1k")  # type: ignore[attr-defined]
    return [info.index_to_description(index).split(",")[0] for index in range(CLASSES)]


def pieces(uri: str, preprocess: Preprocess) -> Pixels | None:
    """Cut an image into pieces that are about square: P×H×W×3, or None when it cannot be read.

    The middle of a panorama may show a wall; its pieces side by side show all there is.
    """
    try:
        image = load(uri, short_side=preprocess.short_side)
    except ImageError:
        return None
    height, width = image.shape[:2]
    count = min(MOST_PIECES, max(1, round(width / height)))
    edges = [width * at // count for at in range(count + 1)]
    return np.stack([preprocess.crop(np.ascontiguousarray(image[:, a:b])) for a, b in pairwise(edges)])


@torch.inference_mode()
def _judged(decoded: Sequence[Pixels | None], judge: Classifier) -> NDArray[np.float64]:
    """The score of each image, from all pieces of the batch at once."""
    counts = np.array([0 if crops is None else len(crops) for crops in decoded])
    if not counts.any():
        return np.full(len(decoded), np.nan)
    crops_BHWC = np.concatenate([crops for crops in decoded if crops is not None])
    device = next(judge.model.parameters()).device
    x_BCHW = torch.from_numpy(judge.preprocess.normalise(crops_BHWC)).to(device)
    probs_BK = judge.model(x_BCHW).float().softmax(dim=1).cpu().numpy().astype(np.float64)
    owner = np.repeat(np.arange(len(decoded)), counts)
    with np.errstate(invalid="ignore"):  # 0 of 0 pieces is NaN, as it should be
        outdoors, indoors = (
            np.bincount(owner, probs_BK[:, classes].sum(axis=1), minlength=len(decoded)) / counts
            for classes in (judge.outdoors, judge.indoors)
        )
    scores: NDArray[np.float64] = (outdoors + DOUBT) / (outdoors + indoors + 2 * DOUBT)
    return scores
