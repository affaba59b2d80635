"""Which countries the training photos show that stand beside an answer: by log-odds, probabilities or pixels.

    .venv/bin/whichland export BUNDLE --photos MANIFEST --gallery open
    .venv/bin/python benchmarks/gallery.py MANIFEST --bundle BUNDLE

For every kept validation photo the 6 nearest of the gallery are found, one a drive, as the page does. Printed is
the share of them that was taken in the photo's true country, and in the country of the first guess, over all
photos and over those on which the guess is wrong. Intervals: 95 %, bootstrap over groups.
"""

import argparse
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from whichland.images.decode import load
from whichland.images.preprocess import Preprocess
from whichland.manifest import read
from whichland.model.gallery import FILE, Gallery, read_gallery, rows_of
from whichland.model.model import load as open_model
from whichland.model.model import softmax
from whichland.statistics import mean_interval

NEAREST = 6
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


def nearest(features_GF: Floats, asked_NF: Floats, gallery: Gallery) -> NDArray[np.str_]:
    """Countries of the gallery's nearest photos by cosine, one a drive: N×NEAREST."""
    features_GF = features_GF / np.linalg.norm(features_GF, axis=1, keepdims=True)
    found = []
    for near_G in asked_NF @ features_GF.T:
        order = np.argsort(-near_G, kind="stable")
        _, first = np.unique(gallery.photos["drive"].to_numpy()[order], return_index=True)
        found.append([gallery.photos["country"][at] for at in order[np.sort(first)[:NEAREST]]])
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--split", default="val")
    given = parser.parse_args()
    runner, gallery = open_model(given.bundle, engine="onnx"), read_gallery(given.bundle)
    assert gallery is not None, "export the bundle with --gallery first"
    rows = rows_of(read(given.manifest), given.split, runner.labels)
    probs_NK = np.stack([answer.probabilities for answer in runner.predict(rows["uri"], progress=True)])
    truth_N = rows["country"].to_numpy()
    guess_N = np.array(runner.labels)[probs_NK.argmax(axis=1)]
    groups = rows["group"].to_list()
    wrong_N = truth_N != guess_N
    drives = len(np.unique(gallery.photos["drive"].to_numpy()))
    print(f"{rows.height} photos of split {given.split}, first guess right on {1 - wrong_N.mean():.1%};")
    print(f"gallery: {gallery.photos.height} photos of {drives} drives, {len(runner.labels)} countries")
    every = replace(gallery, photos=gallery.photos.with_columns(drive=pl.int_range(pl.len())))
    frames = [[row for _, row in every.nearest(probs_K, NEAREST)] for probs_K in probs_NK]
    apart_N = np.array([len(np.unique(gallery.photos["drive"].to_numpy()[rows])) for rows in frames])
    print(f"the {NEAREST} nearest frames of all are of {apart_N.mean():.1f} drives on average")

    logs_GK = pl.read_parquet(given.bundle / FILE)["probabilities"].to_numpy()
    pictures_GF = np.stack([small(Image.open(io.BytesIO(data))) for data in gallery.photos["thumbnail"]])
    ways = {
        "log-probabilities, centred (as shown)": [
            [gallery.photos["country"][at] for _, at in gallery.nearest(probs_K, NEAREST)] for probs_K in probs_NK
        ],
        "probabilities": nearest(softmax(logs_GK), probs_NK, gallery),
        f"{SMALL}×{SMALL} pixels": nearest(pictures_GF, photos_small(rows, runner.preprocess), gallery),
    }
    for way, countries in ways.items():
        print(way)
        found_NM = np.array(countries)
        for whose, code_N in (("true country", truth_N), ("first guess", guess_N)):
            share_N = (found_NM == code_N[:, None]).mean(axis=1)
            for which, among_N in (("all photos", np.ones_like(wrong_N)), ("wrong guesses", wrong_N)):
                own = [group for group, among in zip(groups, among_N, strict=True) if among]
                mean, low, high = mean_interval(share_N[among_N], own)
                print(f"  of the {whose}, {which}: {mean:.1%} [{low:.1%}, {high:.1%}]")


if __name__ == "__main__":
    main()
