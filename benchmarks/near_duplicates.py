"""Altered copies of real photos: how many are tied to their original, and how many strangers are tied to each other?

    python benchmarks/near_duplicates.py PREPARED.parquet
    python benchmarks/near_duplicates.py PREPARED.parquet --weights FILE --arch NAME --photos 1500 --copies 60

Reads a prepared manifest of photos without sequences. Some of its photos are copied with each of `ALTERED` (JPEG,
quality 90) and measured. A rule's recall is the share of copies that it ties to their original. Photos of two
countries are never one place: those that a rule ties are its strangers, counted among all pairs of kept photos of
two countries. Pairs of one country may be true, so they are counted for themselves. Beside the rules of `split`
stands the phash of the package imagehash (4.3), computed as there, at most 12 bits apart. With --weights, cosines of
the features of that backbone are judged instead. Prints a line of JSON a rule.
"""

import argparse
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from whichland.curate.measure import measure_image
from whichland.curate.pairs import connected_components, near_duplicate_pairs, similar_batches
from whichland.manifest import read

Alter = Callable[[Image.Image], Image.Image]
Pairs = NDArray[np.int64]
Rule = Callable[[pl.DataFrame], Pairs]
RULES = {  # pairs of bits and tone: alike by any of them
    "12 bits, tones within 0.01": ((12, 0.01),),
    "…or 4 bits at any tone": ((12, 0.01), (4, 1.0)),
    "…or 6 bits at any tone": ((12, 0.01), (6, 1.0)),
    "…or 8 bits at any tone": ((12, 0.01), (8, 1.0)),
    "…or 6 bits within 0.1, 4 at any tone": ((12, 0.01), (6, 0.1), (4, 1.0)),
    "…or 8 bits within 0.02, 6 within 0.1, 4 at any tone (default)": ((12, 0.01), (8, 0.02), (6, 0.1), (4, 1.0)),
    "10 bits within 0.01, 8 within 0.02, 6 within 0.1, 4 at any tone": ((10, 0.01), (8, 0.02), (6, 0.1), (4, 1.0)),
    "12 bits within 0.03": ((12, 0.03),),
    "12 bits at any tone": ((12, 1.0),),
}
COSINES = (0.9, 0.95, 0.97, 0.98, 0.99)
BITS = 12  # of imagehash


def cropped(part: float) -> Alter:
    """The middle, `part` of width and height less."""

    def cut(photo: Image.Image) -> Image.Image:
        width, height = photo.size
        left, top = round(width * part / 2), round(height * part / 2)
        return photo.crop((left, top, width - left, height - top))

    return cut


def watermarked(photo: Image.Image) -> Image.Image:
    """White letters, half transparent, a sixth of the height, across the middle and again above and below."""
    marked = photo.copy()
    font = ImageFont.load_default(photo.height // 6)
    for part in (0.2, 0.5, 0.8):
        place = photo.width / 2, photo.height * part
        ImageDraw.Draw(marked, "RGBA").text(place, "WATERMARK", (255, 255, 255, 128), font, anchor="mm")
    return marked


def captioned(photo: Image.Image) -> Image.Image:
    """A name in the corner, a twentieth of the height, as sites and cameras write it."""
    marked = photo.copy()
    place = photo.width * 0.97, photo.height * 0.97
    font = ImageFont.load_default(photo.height // 20)
    ImageDraw.Draw(marked, "RGBA").text(place, "© streets.example", (255, 255, 255, 220), font, anchor="rs")
    return marked


ALTERED: dict[str, Alter] = {
    "encoded anew": lambda photo: photo,
    "half the size": lambda photo: photo.resize((photo.width // 2, photo.height // 2), Image.Resampling.BICUBIC),
    "brightness +5 %": lambda photo: ImageEnhance.Brightness(photo).enhance(1.05),
    "brightness +20 %": lambda photo: ImageEnhance.Brightness(photo).enhance(1.2),
    "contrast +10 %": lambda photo: ImageEnhance.Contrast(photo).enhance(1.1),
    "crop 5 %": cropped(0.05),
    "crop 10 %": cropped(0.1),
    "caption": captioned,
    "watermark": watermarked,
}


def copies(kept: pl.DataFrame, folder: Path) -> Iterator[dict[str, object]]:
    """Write the altered copies of some rows; yield of each what it is of, how it was altered, and its measures."""
    for at, (of, uri) in enumerate(kept.select("image_id", "uri").iter_rows()):
        photo = Image.open(uri).convert("RGB")
        for number, (kind, alter) in enumerate(ALTERED.items()):
            file = folder / f"{at}-{number}.jpg"
            buffer = io.BytesIO()
            alter(photo).save(buffer, "JPEG", quality=90)
            file.write_bytes(buffer.getvalue())
            named = {"image_id": f"{of}, {kind}", "of": of, "kind": kind, "uri": str(file)}
            yield named | measure_image(str(file))._asdict()


def imagehash_of(file: str) -> int:
    """imagehash.phash as a number of 64 bits."""
    from scipy.fftpack import dct

    grey = np.asarray(Image.open(file).convert("L").resize((32, 32), Image.Resampling.LANCZOS))
    low = dct(dct(grey, axis=0), axis=1)[:8, :8]
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def judged(name: str, rule: Rule, photos: pl.DataFrame, altered: pl.DataFrame) -> None:
    """Print a rule's recall, kind by kind, and what it ties among the photos themselves."""
    country = photos["country"].to_numpy()
    pairs = rule(photos)
    strangers = int((country[pairs[:, 0]] != country[pairs[:, 1]]).sum())
    recall = {}
    for (kind,), of_kind in altered.group_by("kind", maintain_order=True):
        both = pl.concat([photos, of_kind], how="diagonal_relaxed")
        group = connected_components(both.height, rule(both))
        place = {name: at for at, name in enumerate(both["image_id"])}
        hits = [group[place[of]] == group[place[copy]] for of, copy in of_kind.select("of", "image_id").iter_rows()]
        recall[kind] = round(float(np.mean(hits)), 3)
    found = {"rule": name, "strangers": strangers, "of_one_country": len(pairs) - strangers, "recall": recall}
    print(json.dumps(found, ensure_ascii=False), flush=True)


def by_hash(steps: Sequence[tuple[int, float]]) -> Rule:
    """A rule over hashes and tones as `measure` writes them."""

    def pairs(table: pl.DataFrame) -> Pairs:
        phash, tones = table["phash"].to_numpy(), table.select("brightness", "contrast").to_numpy()
        found = [near_duplicate_pairs(phash, bits, tones, tone) for bits, tone in steps]
        return np.unique(np.concatenate(found), axis=0)

    return pairs


def by_imagehash(table: pl.DataFrame) -> Pairs:
    """imagehash's own rule of thumb."""
    return near_duplicate_pairs(table["imagehash"].to_numpy(), BITS)


def by_cosine(cosine: float) -> Rule:
    """A rule over features."""
    return lambda table: np.concatenate(list(similar_batches(table["features"].to_numpy(), cosine)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--photos", type=int, help="so many of the kept photos, at random [default: all]")
    parser.add_argument("--copies", type=int, default=300, help="photos that are copied")
    parser.add_argument("--arch", default="mobilenetv2_100")
    parser.add_argument("--weights", help="of the backbone whose features are compared [default: hashes are]")
    parser.add_argument("--size", type=int, default=224)
    args = parser.parse_args()
    columns = ("image_id", "uri", "country", "sha256", "phash", "brightness", "contrast")
    photos = read(args.manifest).kept.select(columns)
    if args.photos:
        photos = photos.sample(min(args.photos, photos.height), seed=0)
    chosen = photos.sample(min(args.copies, photos.height), seed=0)
    with tempfile.TemporaryDirectory() as temporary:
        made = list(copies(chosen, Path(temporary)))
        altered = pl.DataFrame(made, schema_overrides={"phash": pl.UInt64}, infer_schema_length=None)
        if args.weights:
            from whichland.model.features import BackboneConfig, features

            config = BackboneConfig(arch=args.arch, weights=args.weights, size=args.size)
            photos, altered = (
                table.with_columns(features=pl.Series(features(table["uri"], table["sha256"], config)))
                for table in (photos, altered)
            )
            rules = {f"cosine {cosine}, {args.arch} at {args.size} px": by_cosine(cosine) for cosine in COSINES}
        else:
            photos, altered = (
                table.with_columns(imagehash=pl.Series([imagehash_of(uri) for uri in table["uri"]], dtype=pl.UInt64))
                for table in (photos, altered)
            )
            rules = {name: by_hash(rule) for name, rule in RULES.items()} | {f"imagehash, {BITS} bits": by_imagehash}
        for name, rule in rules.items():
            judged(name, rule, photos, altered)


if __name__ == "__main__":
    main()
