"""Score how like a street outdoors a photo is, with any classifier of the 1,000 ImageNet classes.

    whichland data score photos.parquet -o photos.parquet --arch mobilenetv2_100 --weights W.safetensors

ImageNet has no class "street", but what a classifier takes a photo for tells where it was taken: streetcar,
traffic light and mobile home are seen outdoors, restaurant, bookcase and desk indoors. With O and I the summed
probabilities of such classes, the mean over the pieces of the photo,

    street = (O + 0.05) / (O + I + 0.1)

so a photo in which the classifier sees neither (a face, a dish) has 0.5. Shop fronts, shutters and walls count as
outdoors. It tells indoors from outdoors and knows nothing of roads: a beach is outdoors.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import polars as pl
import timm
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import nn

from whichland.config import AT_LEAST_1, Config
from whichland.errors import UserError
from whichland.images.decode import ImageError, load
from whichland.images.preprocess import Pixels, Preprocess
from whichland.manifest import Manifest
from whichland.model import backbone
from whichland.model.engines import best_device
from whichland.model.head import classifier_name
from whichland.progress import Progress

CLASSES = 1000
DOUBT = 0.05  # added to either side; a classifier that sees neither streets nor rooms says nothing
MOST_PIECES = 8
DECODE_THREADS = 2
CHECKPOINT_S = 60.0

# The first name of a class of ImageNet-1k, as timm has it.
OUTDOORS = """
    alp, ambulance, bakery, barbershop, barn, beach wagon, beacon, bell cote, bicycle-built-for-two,
    boathouse, breakwater, bullet train, cab, car mirror, car wheel, castle, chainlink fence, church,
    cliff, convertible, dam, dome, drilling platform, electric locomotive, fire engine, flagpole,
    forklift, fountain, freight car, garbage truck, gas pump, go-kart, golfcart, gondola, greenhouse,
    grille, half track, harvester, hay, horse cart, jeep, jinrikisha, lakeside, limousine, lumbermill,
    mailbox, maze, megalith, minibus, minivan, mobile home, Model T, monastery, moped, mosque, motor
    scooter, mountain bike, moving van, obelisk, ox, oxcart, palace, park bench, parking meter,
    passenger car, patio, picket fence, pickup, pier, plow, pole, police van, prison, promontory, racer,
    recreational vehicle, sandbar, school bus, scoreboard, seashore, sliding door, snowplow, solar dish,
    sports car, steam locomotive, steel arch bridge, stone wall, street sign, streetcar, stupa,
    suspension bridge, tank, thatch, thresher, tile roof, tobacco shop, totem pole, tow truck, tractor,
    traffic light, trailer truck, tricycle, triumphal arch, trolleybus, unicycle, valley, viaduct,
    volcano, water buffalo, water tower, window screen, window shade, worm fence, yurt
"""
INDOORS = """
    academic gown, altar, balance beam, bannister, barbell, barber chair, basketball, bassinet, bathtub,
    beer glass, bookcase, cassette player, chiffonier, chime, china cabinet, coffeepot, cradle, crib,
    desk, desktop computer, dining table, dishwasher, drum, dumbbell, electric fan, electric guitar,
    entertainment center, espresso maker, file, fire screen, folding chair, four-poster, grand piano,
    home theater, horizontal bar, iron, lab coat, lampshade, laptop, library, loudspeaker, medicine
    chest, microphone, microwave, monitor, mosquito net, notebook, organ, parallel bars, photocopier,
    pillow, ping-pong ball, plate, plate rack, pool table, prayer rug, printer, projector, quilt, radio,
    red wine, refrigerator, restaurant, rocking chair, screen, shopping basket, shower curtain, sleeping
    bag, space heater, spotlight, stage, steel drum, stove, studio couch, switch, table lamp,
    television, theater curtain, throne, toilet seat, tray, tub, upright, vacuum, volleyball, wall
    clock, wardrobe, washbasin, washer, wine bottle
"""


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
    scoring that one goes on where this one stopped. Raises UserError when the weights do not hold a classifier of
    ImageNet's 1,000 classes.
    """
    config = config or ScoreConfig()
    frame = manifest.frame
    street = np.full(len(frame), np.nan)
    if "street" in frame.columns:
        street = frame["street"].cast(pl.Float64).fill_null(np.nan).to_numpy().copy()
    readable = (
        frame["unreadable"].is_null() if "unreadable" in frame.columns else pl.repeat(True, len(frame), eager=True)
    )
    waiting = np.flatnonzero(np.isnan(street) & readable.to_numpy())
    done = 0

    def so_far() -> Manifest:
        column = pl.Series("street", street).fill_nan(None)
        known = {"arch": config.arch, "weights": Path(config.weights).name}
        return manifest.with_step(
            "score", frame.with_columns(column), **known, scored=done, waiting=len(waiting) - done
        )

    saved = time.monotonic()
    uris = frame["uri"].gather(waiting).to_list()
    with Progress("scoring", len(uris), show=progress) as bar:
        try:
            for scores in street_scores(uris, classifier(config), config.batch_size) if uris else ():
                street[waiting[done : done + len(scores)]] = scores
                done += len(scores)
                bar.advance(len(scores))
                if checkpoint and time.monotonic() - saved > CHECKPOINT_S:
                    checkpoint(so_far())
                    saved = time.monotonic()
        except KeyboardInterrupt:
            if checkpoint:
                checkpoint(so_far())
            raise
    return so_far()


def classifier(config: ScoreConfig) -> Classifier:
    """Make the classifier, on the best device, in evaluation mode."""
    loaded = backbone.pretrained(config.arch, config.weights)
    if loaded.model.num_classes != CLASSES or not _holds_classifier(config.weights, loaded.model):
        raise UserError(
            f"{config.arch} with weights {config.weights}: no classifier of the {CLASSES:,} classes of ImageNet;"
            " give --arch and --weights of one"
        )
    names = class_names()
    model = loaded.model.to(best_device()).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return Classifier(
        model=model,
        preprocess=replace(Preprocess.from_config(loaded.pretrained_cfg), crop_pct=1.0, crop_mode="center"),
        outdoors=[names.index(name) for name in _listed(OUTDOORS)],
        indoors=[names.index(name) for name in _listed(INDOORS)],
    )


def _holds_classifier(weights: str, model: nn.Module) -> bool:
    """Tell whether the weights fill the last layer, too; `backbone` does without it."""
    if weights in ("hub", "none"):
        return weights == "hub"
    head = classifier_name(model) + "."
    with safe_open(weights, "pt") as file:
        found = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no mapping)
    return all(
        found.get(name) == list(tensor.shape) for name, tensor in model.state_dict().items() if name.startswith(head)
    )


def class_names() -> list[str]:
    """The first name of each class of ImageNet-1k, in the order of the logits."""
    info = timm.data.ImageNetInfo("imagenet-1k")  # type: ignore[attr-defined]
    return [info.index_to_description(index).split(",")[0] for index in range(CLASSES)]


def _listed(names: str) -> list[str]:
    return [" ".join(name.split()) for name in names.split(",")]


def street_scores(uris: Sequence[str], with_: Classifier, batch_size: int = 32) -> Iterator[NDArray[np.float64]]:
    """Yield the scores of a batch of images after the other, NaN for one that cannot be read."""
    batches = [uris[start : start + batch_size] for start in range(0, len(uris), batch_size)]
    with ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode") as pool:
        ahead = [pool.submit(pieces, uri, with_.preprocess) for uri in batches[0]]
        for following in [*batches[1:], []]:
            decoded = [future.result() for future in ahead]
            ahead = [pool.submit(pieces, uri, with_.preprocess) for uri in following]
            yield _judged(decoded, with_)


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
def _judged(decoded: Sequence[Pixels | None], with_: Classifier) -> NDArray[np.float64]:
    """The score of each image, from all pieces of the batch at once."""
    counts = np.array([0 if crops is None else len(crops) for crops in decoded])
    if not counts.any():
        return np.full(len(decoded), np.nan)
    crops_BHWC = np.concatenate([crops for crops in decoded if crops is not None])
    device = next(with_.model.parameters()).device
    x_BCHW = torch.from_numpy(with_.preprocess.normalise(crops_BHWC)).to(device)
    probs_BK = with_.model(x_BCHW).float().softmax(dim=1).cpu().numpy().astype(np.float64)
    owner = np.repeat(np.arange(len(decoded)), counts)
    with np.errstate(invalid="ignore"):  # 0 of 0 pieces is NaN, as it should be
        outdoors, indoors = (
            np.bincount(owner, probs_BK[:, classes].sum(axis=1), minlength=len(decoded)) / counts
            for classes in (with_.outdoors, with_.indoors)
        )
    scores: NDArray[np.float64] = (outdoors + DOUBT) / (outdoors + indoors + 2 * DOUBT)
    return scores
