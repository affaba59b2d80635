"""A bundle that may show its training photos: what the tests of the gallery share."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from curated import measured
from serving import calibrated_bundle
from tiny_bundle import LABELS, pixels
from whichland.manifest import Manifest
from whichland.model.export import ExportConfig, export

SECRET = "a secret camera"
TRAIN = 21  # photos, of which every three were taken on one drive


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The bundle, with a gallery of all the manifest's photos."""

    bundle: Path
    manifest: Manifest
    photos: list[Path]


def tell_tale_photos(folder: Path, count: int) -> list[Path]:
    """Photos whose EXIF holds what nobody else is to know."""
    exif = Image.Exif()
    exif[0x010F] = SECRET
    exif.get_ifd(0x8825).update({1: "N", 2: (60.0, 10.0, 5.0), 3: "E", 4: (24.0, 56.0, 7.0)})
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"secret-path-{seed}.jpg" for seed in range(count)]
    for seed, path in enumerate(paths):
        Image.fromarray(pixels(seed, 240, 320)).save(path, exif=exif, quality=95)
    return paths


def training_photos(photos: list[Path]) -> Manifest:
    """All of them in train, by somebody, openly licensed, three a drive."""
    made = measured(
        len(photos),
        countries=[label for label in LABELS for _ in range(3)],
        uri=[str(path) for path in photos],
        lat=[60.16861],
        lon=[24.93528],
        license=["CC-BY-SA-4.0", "CC0-1.0", "CC-BY-4.0"],
        creator=["contributor 7"],
        attribution=["contributor 7, Mapillary, CC BY-SA 4.0", None, None],
    )
    drive = pl.Series("group", [f"drive-{row // 3}" for row in range(len(photos))])
    return made.with_step("split", made.frame.with_columns(pl.lit("train").alias("split"), drive))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    folder = tmp_path_factory.mktemp("run")
    photos = tell_tale_photos(folder / "photos", TRAIN)
    bundle, manifest = calibrated_bundle(folder / "bundle"), training_photos(photos)
    export(bundle, manifest, ExportConfig(gallery="open"))
    return Shown(bundle=bundle, manifest=manifest, photos=photos)
