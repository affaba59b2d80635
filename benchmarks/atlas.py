"""Do the planted clues of the synthetic world come back in the atlas, and do the decoys stay out?

    .venv/bin/python benchmarks/atlas.py [--scenes 2400] [--countries US+JP+DE] [--folder FOLDER]

Takes the demo's world, cropped to squares, plants a watermark in the United States, and draws decoys: a balloon in
the sky, a striped barrel on the ground and a mark on the lens, each in about a third of the drives, whatever their
country. Trains the demo's model on it, makes the atlas of the validation split, and counts what its confirmed
clues lie on, by the masks. One JSON line; fails when the watermark is missed or a decoy is confirmed.
"""

import argparse
import json
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image, ImageDraw

from whichland.curate.balance import balance
from whichland.curate.clean import clean
from whichland.curate.measure import measure
from whichland.curate.split import split
from whichland.explanation.atlas import Atlas, Clue, Pool, Shift, atlas, shift
from whichland.explanation.atlas_config import AtlasConfig
from whichland.explanation.atlas_page import write_atlas
from whichland.explanation.patches import Patch, Photo, Square, core, log_odds, sides, soft_edges
from whichland.images.decode import load
from whichland.images.preprocess import Preprocess
from whichland.manifest import Manifest, read, write
from whichland.model import bundle as bundles
from whichland.sources.ingest import ingest
from whichland.sources.synthetic.conventions import CLUES, NAMES, WORLD
from whichland.sources.synthetic.render import watermark
from whichland.statistics import holm
from whichland.studies.demo import SETTINGS
from whichland.training.run import train

DECOYS = {"balloon": 101, "barrel": 102, "lens mark": 103}  # values in the masks, beside those of the clues
THINGS = {**NAMES, **{value: name for name, value in DECOYS.items()}}
SHARE = 0.35  # of the drives that show each decoy
MARKED = "US"  # the country with the watermark


def balloon(draw: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    """A hot-air balloon with upright stripes and a basket."""
    draw.ellipse((x - size / 2, y - size / 2, x + size / 2, y + size * 0.55), fill=(196, 44, 140))
    draw.ellipse((x - size / 5, y - size / 2, x + size / 5, y + size * 0.55), fill=(250, 214, 60))
    draw.rectangle((x - size / 9, y + size * 0.62, x + size / 9, y + size * 0.8), fill=(90, 60, 40))


def barrel(draw: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    """An orange and white barrel that stands on the ground."""
    for band in range(5):
        top = y - size / 2 + band * size / 5
        colour = (246, 246, 240) if band % 2 else (240, 92, 20)
        draw.rectangle((x - size * 0.3, top, x + size * 0.3, top + size / 5), fill=colour)


def lens_mark(draw: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    """A violet splash on the lens, with drops around it."""
    for dx, dy, part in ((0, 0, 1.0), (0.6, -0.35, 0.35), (-0.55, 0.4, 0.3), (0.4, 0.55, 0.25)):
        a, b, r = x + dx * size, y + dy * size, size * part / 2
        draw.ellipse((a - r, b - r, a + r, b + r), fill=(108, 40, 190))


SHAPES = {
    "balloon": (balloon, (0.08, 0.28), (0.12, 0.2)),
    "barrel": (barrel, (0.62, 0.8), (0.12, 0.2)),
    "lens mark": (lens_mark, (0.82, 0.92), (0.1, 0.15)),
}  # how to draw it, where from top to bottom, how large: shares of the picture's height


def alter(row: dict[str, Any], folder: Path) -> dict[str, str]:
    """Write a scene anew as a square with its decoys and the watermark; return the places of photo and mask.

    Which decoys a drive has depends on its name alone, which is a hash and tells nothing of the country.
    """
    drive = np.random.default_rng(int(row["sequence"], 16))
    frame = np.random.default_rng(int(Path(row["uri"]).stem, 16))
    with Image.open(row["uri"]) as photo, Image.open(row["mask_uri"]) as mask:
        margin = (photo.width - photo.height) // 2
        box = (margin, 0, margin + photo.height, photo.height)
        picture, marks = photo.convert("RGB").crop(box), mask.crop(box)
    side = picture.height
    for name, value in DECOYS.items():
        draw, (top, bottom), (small, large) = SHAPES[name]
        shown, size = drive.random() < SHARE, drive.uniform(small, large) * side
        x, y = frame.uniform(0.08, 0.92) * side, frame.uniform(top, bottom) * side
        if shown:
            alone = Image.new("RGB", picture.size)
            draw(ImageDraw.Draw(alone), x, y, size)
            shape = Image.fromarray(np.asarray(alone).any(axis=2))
            picture.paste(alone, mask=shape)
            marks.paste(value, mask=shape)
    pixels, labels = np.asarray(picture).copy(), np.asarray(marks).copy()
    if row["label_country"] == MARKED:
        watermark(pixels, labels)
    places = {"uri": folder / f"{Path(row['uri']).stem}.jpg", "mask_uri": folder / f"{Path(row['uri']).stem}.png"}
    Image.fromarray(pixels).save(places["uri"], quality=92)
    Image.fromarray(labels).save(places["mask_uri"])
    return {name: str(place) for name, place in places.items()}


def world(folder: Path, scenes: int, countries: str) -> Manifest:
    """The manifest of the world with decoys, made or read again."""
    path = folder / "world.parquet"
    if path.exists():
        return read(path)
    plain = ingest(f"synthetic:scenes={scenes},seed=0,countries={countries}", folder=folder / "world")
    (folder / "altered").mkdir(exist_ok=True)
    altered = pl.DataFrame([alter(row, folder / "altered") for row in plain.frame.iter_rows(named=True)])
    table = plain.with_step("decoys", plain.frame.with_columns(altered), marked=MARKED, share=SHARE)
    table = balance(split(clean(measure(table))))
    write(table, path)
    return table


class Labels:
    """What the patches lie on, by the masks as the model's crop sees them."""

    def __init__(self, table: Manifest, preprocess: Preprocess) -> None:
        self.mask_uri = dict(table.frame.select("uri", "mask_uri").iter_rows())
        self.preprocess = preprocess

    def mask(self, uri: str) -> np.ndarray:
        with Image.open(self.mask_uri[uri]) as mask:
            rows, columns = self.preprocess.size
            box = self.preprocess.crop_box(mask.height, mask.width)
            return np.asarray(mask.resize((columns, rows), Image.Resampling.NEAREST, box=box))

    def lies_on(self, clue: Clue, pool: Pool) -> tuple[str, float]:
        """The thing that fills more of the clue's patches, beyond the same places in other countries, than any.

        And by how much of the patches' area. What is more in them by less than a tenth is "nothing in
        particular".
        """
        own = np.mean([self._shares(patch.photo.uri, patch) for patch in clue.shown], axis=0)
        country = clue.patches[0].photo.country
        others = [photo.uri for photo in pool.photos if photo.country != country]
        there = np.mean([self._shares(uri, patch) for patch in clue.shown for uri in others[::6]], axis=0)
        best = int((own - there).argmax())
        beyond = float((own - there)[best])
        return (THINGS[best] if beyond >= 0.1 else "nothing in particular"), beyond

    def _shares(self, uri: str, patch: Patch) -> np.ndarray:
        cover = soft_edges(patch.place.side)
        inside = self._cached(uri)[patch.place.rows, patch.place.columns]
        return np.bincount(inside.ravel(), cover.ravel(), minlength=max(THINGS) + 1) / cover.sum()

    @cache  # noqa: B019 (one object a run)
    def _cached(self, uri: str) -> np.ndarray:
        return self.mask(uri)


def put_to_the_test(made: Atlas, table: Manifest, labels: Labels, value: int) -> dict[str, Shift]:
    """Cut patches around a thing wherever a country shows it, and try them as if they were a clue, by country."""
    score, side = log_odds(made.bundle), sides(made.bundle.preprocess, (0.2,))[0]
    rows = table.kept.filter(pl.col("split") == made.config.split).sort("image_id")
    groups = {name: number for number, name in enumerate(rows["group"].unique().sort())}
    found = {}
    for label, code in enumerate(made.bundle.labels):
        patches = []
        for uri, group in rows.filter(pl.col("country") == code).select("uri", "group").iter_rows():
            high, wide = np.nonzero(labels.mask(uri) == value)
            if len(high) > side * side / 16:
                top, left = (
                    int(np.clip(np.median(at) - side / 2, 0, limit - side))
                    for at, limit in zip((high, wide), made.bundle.preprocess.size, strict=True)
                )
                photo = Photo(uri=uri, country=code, group=groups[group], right=True, credit="")
                crop = made.bundle.preprocess.crop(load(uri))
                place = Square(top, left, side)
                patches.append(Patch(photo=photo, place=place, pixels=place.cut(crop), gain=0.0, features=np.zeros(1)))
        tried = shift(score, label, core(patches), made.pool, made.config.seed) if patches else None
        if tried is not None:
            found[code] = tried
    return found


def count(made: Atlas, table: Manifest) -> dict[str, Any]:
    """What the clues of an atlas lie on, and how the planted things and the decoys fare when cut by hand."""
    labels = Labels(table, made.bundle.preprocess)
    on: dict[str, dict[str, list[str]]] = {"confirmed": {}, "not confirmed": {}}
    for chapter in made.chapters:
        for clue in chapter.clues:
            thing, _ = labels.lies_on(clue, made.pool)
            on["confirmed" if clue.confirmed else "not confirmed"].setdefault(thing, []).append(chapter.country)
    by_hand = {name: put_to_the_test(made, table, labels, value) for name, value in DECOYS.items()}
    confirmed = {
        name: sum(p <= made.config.level for p in holm([found.p for found in tried.values()]))
        for name, tried in by_hand.items()
    }
    mark = put_to_the_test(made, table, labels, CLUES["shortcut"]).get(MARKED)
    return {
        "clues_confirmed": sum(len(chapter.confirmed) for chapter in made.chapters),
        "kinds_judged": sum(clue.shift is not None for chapter in made.chapters for clue in chapter.clues),
        "kinds_found": sum(len(chapter.clues) for chapter in made.chapters),
        "planted_found": sorted(set(on["confirmed"]) & (set(CLUES) - {"none"})),
        "watermark_found": MARKED in on["confirmed"].get("shortcut", []),
        "watermark_by_hand": mark and [round(mark.value, 2), round(mark.low, 2), round(mark.high, 2)],
        "decoys_found": {name: on["confirmed"].get(name, []) for name in DECOYS},
        "decoys_by_hand": {name: f"{confirmed[name]} of {len(by_hand[name])}" for name in DECOYS},
        "lie_on": on,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=2400)
    parser.add_argument("--folder", type=Path, default=Path("runs/atlas"), help="for world, model and atlas")
    parser.add_argument("--countries", default="+".join(WORLD), help="with + between; US must be among them")
    args = parser.parse_args()
    table = world(args.folder.resolve(), args.scenes, args.countries)
    run = args.folder / "run"
    if not (run / "bundle").is_dir():
        train(table, SETTINGS, run, resume=(run / "config.toml").exists())
    started = time.perf_counter()
    made = atlas(bundles.load(run / "bundle"), table, AtlasConfig())
    seconds = time.perf_counter() - started
    write_atlas(made, args.folder / "guide")
    result = count(made, table) | {"seconds": round(seconds)}
    print(json.dumps(result, ensure_ascii=False))
    if not result["watermark_found"] or any(result["decoys_found"].values()):
        sys.exit("failed: the watermark is missed, or a decoy is confirmed")


if __name__ == "__main__":
    main()
