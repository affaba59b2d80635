"""Which countries the training photos show that stand beside an answer: by features, answers or pixels.

    .venv/bin/whichland export BUNDLE --photos MANIFEST --gallery any
    .venv/bin/python benchmarks/gallery.py MANIFEST --bundle BUNDLE

For every kept validation photo the 6 nearest of the gallery are found, one a drive, as the page does. Printed is
the share of them that was taken in the photo's true country, and in the country of the first guess, over all
photos and over those on which the guess is wrong, and by how much it is more than by features, photo by photo.
Intervals: 95 %, over groups. The gallery must hold all photos that it was made of, none of them unreadable.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from whichland.images.decode import load
from whichland.images.photo import open_photo
from whichland.images.preprocess import Preprocess
from whichland.manifest import read
from whichland.model.gallery import Gallery, photos_to_show, read_gallery, rows_of
from whichland.model.model import Model, features_of
from whichland.model.model import load as open_model
from whichland.model.views import combined, cut_views, made_ahead
from whichland.statistics import mean_interval

NEAREST = 6
BATCH = 16
SMALL = 16  # pixels a side when pixels are compared, their mean colour taken off
Floats = NDArray[np.floating]


def small(picture: Image.Image) -> Floats:
    """A picture's few pixels as one row, without its mean colour."""
    pixels_SSC = np.asarray(picture.convert("RGB").resize((SMALL, SMALL), Image.Resampling.BOX), np.float32)
    return (pixels_SSC - pixels_SSC.mean(axis=(0, 1))).ravel()


def photos_small(rows: pl.DataFrame, preprocess: Preprocess) -> Floats:
    """The same of what the model sees of photos, N×(SMALL·SMALL·3)."""
    found = (preprocess.crop(load(uri, short_side=preprocess.short_side)) for uri in rows["uri"])
    return np.stack([small(Image.fromarray(crop)) for crop in found])


def nearest(of_gallery_GF: Floats, asked_NF: Floats, gallery: Gallery) -> NDArray[np.str_]:
    """Countries of the gallery's nearest photos by cosine, one a drive: N×NEAREST."""
    of_gallery_GF = of_gallery_GF / np.linalg.norm(of_gallery_GF, axis=1, keepdims=True)
    found = []
    for near_G in asked_NF @ of_gallery_GF.T:
        order = np.argsort(-near_G, kind="stable")
        _, first = np.unique(gallery.photos["drive"].to_numpy()[order], return_index=True)
        found.append([gallery.photos["country"][int(at)] for at in order[np.sort(first)[:NEAREST]]])
    return np.array(found)


def seen(model: Model, uris: list[str]) -> tuple[Floats, Floats]:
    """What the model answers to photos, N×K, and what its head sees of them, N×F."""
    answers, features = [], []
    for _, found in made_ahead(uris, lambda uri: cut_views(open_photo(uri), model.preprocess), BATCH):
        for judged in model.judged_views(found):
            answers.append(combined(np.stack([one.probabilities for one in judged])))
            features.append(features_of(judged))
    return np.stack(answers), np.stack(features)


def centred_logs(probs_NK: Floats) -> Floats:
    """Logarithms of probabilities, less their mean over the labels."""
    logs_NK = np.log(np.maximum(probs_NK, 1e-12))
    return logs_NK - logs_NK.mean(axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--split", default="val")
    given = parser.parse_args()
    model, gallery = open_model(given.bundle, engine="onnx"), read_gallery(given.bundle)
    assert gallery is not None, "export the bundle with --gallery first"
    rows = rows_of(read(given.manifest), given.split, model.space)
    probs_NK, features_NF = seen(model, rows["uri"].to_list())
    truth_N = rows["country"].to_numpy()
    guess_N = np.array(model.labels)[probs_NK.argmax(axis=1)]
    groups = rows["group"].to_list()
    wrong_N = truth_N != guess_N
    drives = len(np.unique(gallery.photos["drive"].to_numpy()))
    print(f"{rows.height} photos of split {given.split}, first guess right on {1 - wrong_N.mean():.1%};")
    print(f"gallery: {gallery.photos.height} photos of {drives} drives, {len(model.labels)} countries")
    shown = photos_to_show(read(given.manifest), model.space, "any", gallery.photos.height)
    assert shown["drive"].to_list() == gallery.photos["drive"].to_list(), "the gallery is of other photos"
    gallery_GK, _ = seen(model, shown["uri"].to_list())
    pictures_GF = np.stack([small(Image.open(io.BytesIO(data))) for data in gallery.photos["thumbnail"]])
    ways = {
        "features (as shown)": [
            [gallery.photos["country"][at] for _, at in gallery.nearest(features_F, NEAREST)]
            for features_F in features_NF
        ],
        "log-probabilities, centred": nearest(centred_logs(gallery_GK), centred_logs(probs_NK), gallery),
        "probabilities": nearest(gallery_GK, probs_NK, gallery),
        f"{SMALL}×{SMALL} pixels": nearest(pictures_GF, photos_small(rows, model.preprocess), gallery),
    }
    by_features_NM = np.array(ways["features (as shown)"])
    for way, countries in ways.items():
        print(way)
        found_NM = np.array(countries)
        for whose, code_N in (("true country", truth_N), ("first guess", guess_N)):
            share_N, by_features_N = ((of == code_N[:, None]).mean(axis=1) for of in (found_NM, by_features_NM))
            for which, among_N in (("all photos", np.ones_like(wrong_N)), ("wrong guesses", wrong_N)):
                own = [group for group, among in zip(groups, among_N, strict=True) if among]
                mean, low, high = mean_interval(share_N[among_N], own)
                more, least, most = mean_interval((share_N - by_features_N)[among_N], own)
                print(f"  of the {whose}, {which}: {mean:.1%} [{low:.1%}, {high:.1%}]", end="")
                print(f"; {more:+.1%} [{least:+.1%}, {most:+.1%}]")


if __name__ == "__main__":
    main()
