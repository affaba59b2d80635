"""What cleaning's measures say of real photos, and how small a thumbnail still tells a blurred one.

    python benchmarks/thresholds.py FOLDER [--every 8]

Prints, of every photo in FOLDER, the least and the lowest shares of each measure and the pairs of photos by bits
between their hashes; and of every so-manieth, the sharpness after blurring the thumbnail, and how well sharpness
tells photos that were blurred at full size from those that were not (AUC: the share of pairs, one blurred and one
not, in which the blurred one has the lower sharpness), at three sizes of thumbnail,
and how fast the photos are measured at each (set OMP_NUM_THREADS=1).
"""

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from whichland.curate import measure as measuring
from whichland.curate.clean import NEAR_TONE, CleanConfig
from whichland.curate.measure import SHORT_SIDE, grey_thumbnail, measure, sharpness
from whichland.curate.pairs import near_duplicate_pairs
from whichland.images.decode import decode_luma, read_bytes
from whichland.manifest import Manifest
from whichland.sources.ingest import ingest

MEASURES = ("brightness", "contrast", "sharpness", "entropy")
SIDES = (256, SHORT_SIDE, 128)
FULL_SIZE_BLURS = (1, 2, 3)
THUMBNAIL_BLURS = (0, 0.5, 0.7, 1, 1.5, 2, 3)
BITS = 14
ROUNDS = 5


def print_measures(table: Manifest) -> None:
    print("| | least | 0.1 % | 1 % | median |\n|---|---|---|---|---|")
    for name in MEASURES:
        values = table.frame[name].drop_nulls().to_numpy()
        print(f"| {name} | {' | '.join(f'{v:.4g}' for v in np.quantile(values, (0, 0.001, 0.01, 0.5)))} |")


def print_pairs(table: Manifest) -> None:
    rows = table.frame.unique("sha256").drop_nulls("phash")
    hashes, tones = rows["phash"].to_numpy(), rows.select("brightness", "contrast").to_numpy()
    print(f"\n| bits apart, of {len(hashes) * (len(hashes) - 1) // 2:,} pairs | pairs | with like tones |")
    print("|---|---|---|")
    every, alike = (
        np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]])
        for pairs in (near_duplicate_pairs(hashes, BITS), near_duplicate_pairs(hashes, BITS, tones, NEAR_TONE))
    )
    for bits in range(0, BITS + 1, 2):
        print(f"| {bits} | {(every == bits).sum():,} | {(alike == bits).sum():,} |")


def sharpness_at(picture: Image.Image, side: int) -> float:
    scale = side / min(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    return sharpness(np.asarray(picture.resize(size, Image.Resampling.BOX)))


def auc(blurred: np.ndarray, sharp: np.ndarray) -> float:
    below = np.sort(sharp)
    less, equal = np.searchsorted(below, blurred, "left"), np.searchsorted(below, blurred, "right")
    return 1 - float((less + equal).mean()) / 2 / len(below)


def print_blurs(pictures: list[Image.Image]) -> None:
    limit = CleanConfig().min_sharpness
    head = f"blur of the {SHORT_SIDE} px thumbnail, {len(pictures)} photos"
    print(f"\n| {head} | least | median | largest | below {limit:g} |")
    print("|---|---|---|---|---|")
    for sigma in THUMBNAIL_BLURS:
        blur = ImageFilter.GaussianBlur(sigma)
        found = [sharpness(np.asarray(grey_thumbnail(np.asarray(picture)).filter(blur))) for picture in pictures]
        ends = f"{min(found):.1f} | {np.median(found):.1f} | {max(found):.1f}"
        print(f"| {sigma:g} px | {ends} | {sum(value < limit for value in found)} |")
    print(f"\n| AUC, blurred at full size by | {' | '.join(f'{side} px' for side in SIDES)} |\n|---|---|---|---|")
    sharp = {side: np.array([sharpness_at(picture, side) for picture in pictures]) for side in SIDES}
    for sigma in FULL_SIZE_BLURS:
        blurred = [picture.filter(ImageFilter.GaussianBlur(sigma)) for picture in pictures]
        found = [auc(np.array([sharpness_at(one, side) for one in blurred]), sharp[side]) for side in SIDES]
        print(f"| {sigma} px | {' | '.join(f'{value:.4f}' for value in found)} |")


def print_speed(uris: list[str]) -> None:
    best = dict.fromkeys(SIDES, float("inf"))
    for _ in range(ROUNDS):  # in turns, so that a busy machine slows all alike
        for side in SIDES:
            measuring.SHORT_SIDE = side
            start = time.process_time()
            measuring.measure_batch(uris)
            best[side] = min(best[side], time.process_time() - start)
    measuring.SHORT_SIDE = SHORT_SIDE
    print(f"| measured, photos/s and core | {' | '.join(f'{len(uris) / t:,.0f}' for t in best.values())} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=8, help="which photos are blurred")
    given = parser.parse_args()
    table = measure(ingest(str(given.folder)), progress=False)
    print_measures(table)
    print_pairs(table)
    readable = table.frame.filter(table.frame["unreadable"].is_null())["uri"].sort().gather_every(given.every)
    print_blurs([Image.fromarray(decode_luma(read_bytes(uri))) for uri in readable])
    print_speed(readable.to_list())


if __name__ == "__main__":
    main()
