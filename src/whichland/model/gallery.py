"""Training photos that a bundle may show beside its answers: gallery.parquet.

    whichland export BUNDLE --photos MANIFEST --gallery open
    near = read_gallery(folder).nearest(features_F, 6)

Near is what the model's head sees alike: the cosine between the features of both, less the mean over the gallery.
docs/decisions/gallery.md has the reasons.

A row is a photo: country, license, credit, features (of length one, as float16), thumbnail (JPEG of what the model
saw), and a number that photos of one drive share. Nothing else goes in: no path, id or coordinates, and encoding
pixels leaves no EXIF.
"""

import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from whichland.errors import UserError, first_line
from whichland.images.containers import ImageError
from whichland.images.decode import encode_jpeg, shrink
from whichland.images.photo import open_photo
from whichland.images.preprocess import Preprocess
from whichland.manifest import CREDIT, Manifest, credit
from whichland.model.bundle import GALLERY, WEIGHTS, read_settings
from whichland.model.engines import Features, description, unit_length
from whichland.model.labels import LabelSpace
from whichland.model.model import Model, features_of
from whichland.model.views import PhotoViews, cut_views, made_ahead
from whichland.progress import Progress
from whichland.whole_file import file_sha256, whole_file

Shown = Literal["none", "open", "any"]

MADE_FROM_KEY = "whichland.gallery"
MOST_BYTES = 200_000_000  # all of it is held in memory
SHORT, LONG = 160, 320  # pixels of a thumbnail's sides, at most
QUALITY = 75
BATCH = 16
SCHEMA = pl.Schema(
    {"country": pl.String, "license": pl.String, "credit": pl.String}
    | {"features": pl.Binary, "thumbnail": pl.Binary, "drive": pl.UInt32}
)

# Of the licences' SPDX names those that let anybody show a photo cut and shrunk, for money too.
FREE = r"CC0-1\.0|CC-PDDC|CC-PDM-1\.0|PDDL-1\.0"
IF_NAMED = r"CC-BY(-SA)?-\d\.\d(-(AT|AU|DE|IGO|JP|NL|UK|US))?"  # and say who took it


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """N training photos and what the model's head sees of them."""

    photos: pl.DataFrame  # N rows of country, license (SPDX name), credit (to be printed beside), thumbnail, drive
    mean: Features  # F, of the photos' features at length one
    directions: Features  # N×F, those less the mean, at length one again

    @classmethod
    def of(cls, photos: pl.DataFrame, features_NF: Features) -> "Gallery":
        """Photos with what the head sees of them."""
        unit_NF = unit_length(features_NF)
        mean_F = unit_NF.mean(axis=0)
        return cls(photos=photos, mean=mean_F, directions=unit_length(unit_NF - mean_F))

    def nearest(self, features_F: Features, most: int) -> list[tuple[float, int]]:
        """The photos that the head sees most like `features_F`, nearest first: cosine (-1 to 1) and row.

        Of each drive one: the frames of a single one would else take all the places.
        """
        own_F = unit_length(unit_length(features_F[None]) - self.mean)[0]
        near_N = np.clip(self.directions @ own_F, -1, 1)
        order = np.argsort(-near_N, kind="stable")
        _, first = np.unique(self.photos["drive"].to_numpy()[order], return_index=True)
        return [(float(near_N[at]), int(at)) for at in order[np.sort(first)[:most]]]


def read_gallery(folder: Path) -> Gallery | None:
    """The gallery that a bundle keeps; None when it keeps none, or one of other weights, which stderr then says.

    Raises UserError when the file is damaged or too large.
    """
    path = folder / GALLERY
    if not path.is_file():
        return None
    again = "remove it, or make it anew with `whichland export --gallery`"
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path}: {path.stat().st_size / 1e6:,.0f} MB, over {MOST_BYTES / 1e6:.0f}; {again}")
    read = read_settings(folder)
    if file_sha256(path) != read.info.record["files"].get(GALLERY, {}).get("sha256"):
        raise UserError(f"{path}: damaged, or not the file that was exported (its SHA-256 differs); {again}")
    if not fits(folder):
        print(f"warning: {path}: made with another model, so it is not shown; {again}", file=sys.stderr)
        return None
    try:
        frame = pl.read_parquet(path, glob=False)
        if frame.schema != SCHEMA or frame.is_empty() or frame["features"].bin.size().n_unique() > 1:
            raise UserError(f"{path}: holds {frame.schema}, not the photos of a gallery; {again}")
        features_NF = np.frombuffer(b"".join(frame["features"]), np.float16).reshape(frame.height, -1)
        return Gallery.of(frame.drop("features"), features_NF.astype(np.float32))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path}: cannot be read ({first_line(error)}); {again}") from None


def fits(folder: Path) -> bool:
    """Whether a bundle's gallery was made with its labels, preprocessing and weights as they are now."""
    try:
        kept = pl.read_parquet_metadata(folder / GALLERY).get(MADE_FROM_KEY, "null")
    except (pl.exceptions.PolarsError, OSError):
        return False
    return kept == _made_from(folder)


def _made_from(folder: Path) -> str:
    """What a gallery depends on, as JSON.

    Where model.safetensors was not copied along, the weights are those that model.onnx was exported from.
    """
    read = read_settings(folder)
    weights = folder / WEIGHTS
    known = read.info.record.get("metadata", {}).get("weights_sha256")
    return json.dumps(description(read) | {"weights_sha256": file_sha256(weights) if weights.is_file() else known})


def rows_of(manifest: Manifest, split: str, labels: LabelSpace) -> pl.DataFrame:
    """The kept photos of a split whose label the model knows. Raises UserError when there are none."""
    manifest.require("split", labels.kind, hint="make it with `whichland data split`")
    rows = manifest.kept.filter((pl.col("split") == split) & pl.col(labels.kind).is_in(labels.codes))
    if rows.is_empty():
        raise UserError(f"the manifest has no kept photos of the model's labels in split {split!r}")
    return rows


def photos_to_show(manifest: Manifest, labels: LabelSpace, shown: Shown, most: int) -> pl.DataFrame:
    """Up to `most` kept training photos that may be shown, the same ones at each call.

    Countries have as many as each other where they can, and each first one of every group; column `drive` numbers
    the groups. With `shown` "open" only those whose licence lets anybody show them count, and where it asks for a
    name only those that have one. Raises UserError when there are none.
    """
    rows = rows_of(manifest, "train", labels)
    rows = rows.with_columns(pl.lit(None, pl.String).alias(name) for name in CREDIT if name not in rows.columns)
    if shown == "open":
        allowed = rows.filter(free_to_show(rows, "attribution", "creator"))
        if allowed.is_empty():
            raise UserError(
                f"none of the {rows.height:,} training photos may be shown by everybody: they have "
                f"{_counted(rows['license'])}, and a licence that asks for a name needs one in attribution or "
                "creator; if the right to show them is yours, give --gallery any"
            )
        rows = allowed
    group = pl.coalesce("group", "image_id") if "group" in rows.columns else pl.col("image_id")
    mixed = rows.sort("image_id").sample(fraction=1, shuffle=True, seed=0)
    mixed = mixed.with_columns((group.rank("dense") - 1).cast(pl.UInt32).alias("drive"))
    for own in ("drive", labels.kind):
        turn = pl.int_range(pl.len()).over(own)
        mixed = mixed.with_columns(turn.alias("turn")).sort("turn", maintain_order=True)
    return mixed.drop("turn").head(most)


def free_to_show(rows: pl.DataFrame, *names: str) -> pl.Series:
    """Whether anybody may show each photo, by column `license` and, where that asks for a name, columns `names`."""
    free, if_named = (pl.col("license").str.contains(f"(?i)^({of})$") for of in (FREE, IF_NAMED))
    allowed = free | (if_named & pl.any_horizontal(pl.col(*names).is_not_null()))
    return rows.select(allowed.fill_null(False)).to_series()


def _counted(licenses: pl.Series) -> str:
    """Licences and how many photos have them, the commonest first."""
    counts = licenses.fill_null("no licence").value_counts(sort=True)
    return ", ".join(f"{name} ({count:,})" for name, count in counts.iter_rows())


def write_gallery(model: Model, photos: pl.DataFrame) -> dict[str, Any]:
    """Look at the photos as the service does and write gallery.parquet; return its part of the export's record.

    Photos that cannot be read are left out. Raises UserError when none can, or when the file would be too large.
    """
    path, rows, seen = model.folder / GALLERY, photos.iter_rows(named=True), partial(_seen, model.preprocess)
    kept: list[dict[str, Any]] = []
    with Progress("looking at the gallery's photos", photos.height) as progress:
        for names, found in made_ahead(photos["uri"].to_list(), seen, BATCH):
            pairs = [(row, one) for one, row in zip(found, rows, strict=False) if not isinstance(one, ImageError)]
            judged = model.judged_views([views for _, (views, _) in pairs], BATCH)
            for (row, (_, thumbnail)), of_views in zip(pairs, judged, strict=True):
                features_F = features_of(of_views)
                if features_F is None:
                    raise UserError(f"{model.folder}: a model of several classifiers has no features to find photos by")
                shown = {"country": row[model.space.kind], "license": row["license"], "credit": credit(row) or None}
                features = unit_length(features_F[None])[0].astype(np.float16).tobytes()
                kept.append(shown | {"features": features, "thumbnail": thumbnail, "drive": row["drive"]})
            progress.advance(len(names))
    if not kept:
        raise UserError(f"no photo for the gallery can be read, of {photos.height:,}")
    frame = pl.DataFrame(kept, schema=SCHEMA)
    with whole_file(path) as written:
        frame.write_parquet(written, metadata={MADE_FROM_KEY: _made_from(model.folder)})
        if (size := written.stat().st_size) > MOST_BYTES:
            raise UserError(
                f"{path} was not written: {len(kept):,} photos make {size / 1e6:,.0f} MB, over "
                f"{MOST_BYTES / 1e6:.0f}; give fewer with --gallery-photos"
            )
    counts = {"photos": frame.height, "unreadable": photos.height - frame.height}
    return {"sha256": file_sha256(path), **counts, "licenses": _counted(frame["license"])}


def _seen(preprocess: Preprocess, uri: str) -> tuple[PhotoViews, bytes] | ImageError:
    """What the model sees of a photo, and a thumbnail of that: of its middle view where it has several."""
    try:
        views = cut_views(open_photo(uri), preprocess)
    except ImageError as error:
        return error
    crop = views.crops[len(views.crops) // 2]
    height, width = crop.shape[:2]
    if preprocess.crop_mode == "squash":
        width, height = views.width, views.height
    scale = min(min(SHORT, *crop.shape[:2]) / min(width, height), LONG / max(width, height))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    return views, encode_jpeg(shrink(crop, (0, 0, crop.shape[1], crop.shape[0]), size), QUALITY)
