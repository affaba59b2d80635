"""Photos as vectors, kept in a Parquet file that can be searched (`bulk.search`).

    path, country, lat, lon, … (what a manifest knows of the photo), error, length, embedding (F numbers of length 1)

An embedding is what a model's head sees: of several views the mean, scaled to length 1. `length` is what was scaled, of
several views their mean, so that a head can be trained on it. The file's metadata says by which model, so that `search`
embeds its photo alike.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import chdir, closing
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from whichland.bulk.config import EmbedConfig
from whichland.bulk.inputs import find_photos
from whichland.bulk.rows import shown
from whichland.bulk.run import differing
from whichland.errors import UserError
from whichland.images.containers import ImageError
from whichland.images.photo import PhotoLike
from whichland.images.preprocess import Preprocess
from whichland.model import backbone
from whichland.model.bundle import bundle_hash, load
from whichland.model.engines import best_device, unit_length
from whichland.model.features import KEY
from whichland.model.head import classifier_name, features_before_head
from whichland.model.hub_bundles import found
from whichland.model.views import HowMany, PhotoViews, cut_views, look_at, made_ahead
from whichland.progress import Progress
from whichland.whole_file import check_writable, whole_file
from whichland.workers import map_on_ray

Embeddings = NDArray[np.float32]  # N×F, rows of length 1; NaN for photos that cannot be read
CARRIED = ("image_id", "country", "lat", "lon", "split", "group", "license", "attribution", "creator")
SAID = ("bundle", "arch", "weights", "size", "views")  # there, besides the model's name
SHARD = 1024  # photos that are done and kept together
TOGETHER = 16_384  # rows that the file keeps together; a search reads some of these at a time, and none twice


class Eye(NamedTuple):
    """A model without its head."""

    model: torch.nn.Module
    preprocess: Preprocess
    name: str  # distinguishes whatever gives other embeddings
    width: int  # F, of its embeddings


@lru_cache(maxsize=1)
def open_eye(config: EmbedConfig) -> Eye:
    """Open the model of a configuration. Raises UserError when it cannot be had."""
    if config.bundle:
        folder = found(config.bundle)
        bundle = load(folder)
        model, preprocess, name = bundle.model, bundle.preprocess, bundle_hash(folder)
    else:
        with torch.random.fork_rng():
            torch.manual_seed(0)  # weights at random must be the same each time
            made = backbone.create(config.arch, 2, weights=config.weights, size=config.size)
        model, preprocess = made.model.eval(), Preprocess.from_config(made.pretrained_cfg | _sized(config.size))
        head = classifier_name(model)
        digest = hashlib.sha256()
        for part, tensor in model.state_dict().items():
            if not part.startswith(head):
                digest.update(part.encode() + tensor.numpy().tobytes())
        name = f"{made.arch} {digest.hexdigest()}" + (f" at {config.size}" if config.size else "")
    with torch.inference_mode():
        width = features_before_head(model, torch.zeros(1, 3, *preprocess.size)).shape[1]
    return Eye(model.to(best_device()), preprocess, name, width)


def _sized(size: int | None) -> dict[str, Any]:
    """The crop of a side that was asked for: all of the photo's middle, as in training."""
    return {"test_input_size": (3, size, size), "test_crop_pct": 1.0, "crop_mode": "center"} if size else {}


def embed(
    eye: Eye, photos: Sequence[PhotoLike], *, views: HowMany = "auto", batch_size: int = 32
) -> Iterator[tuple[Embeddings, NDArray[np.float32], list[str | None]]]:
    """Yield embeddings, their lengths before, and reasons why photos cannot be read (None), in batches in order."""
    look = partial(look_at, cut=partial(cut_views, preprocess=eye.preprocess, views=views))
    with closing(made_ahead(photos, look, batch_size)) as batches, torch.inference_mode():
        for _, seen in batches:
            vectors_NF = np.full((len(seen), eye.width), np.nan, np.float32)
            lengths_N = np.full(len(seen), np.nan, np.float32)
            crops = [crop for one in seen if isinstance(one, PhotoViews) for crop in one.crops]
            parts = [_vectors(eye, crops[at : at + batch_size]) for at in range(0, len(crops), batch_size)]
            left = iter(np.concatenate(parts) if parts else ())  # one a view, not scaled
            for row, one in enumerate(seen):
                if isinstance(one, PhotoViews):
                    of_views: Embeddings = np.stack(list(islice(left, len(one.crops))))
                    vectors_NF[row] = _unit(of_views).mean(axis=0)
                    lengths_N[row] = np.linalg.norm(of_views, axis=1).mean()
            yield _unit(vectors_NF), lengths_N, [str(one) if isinstance(one, ImageError) else None for one in seen]


def _vectors(eye: Eye, crops: Sequence[NDArray[np.uint8]]) -> Embeddings:
    device = next(eye.model.parameters()).device
    x_BCHW = torch.from_numpy(eye.preprocess.normalise(np.stack(crops))).to(device)
    vectors: Embeddings = features_before_head(eye.model, x_BCHW).float().cpu().numpy()
    return vectors


def _unit(vectors_NF: NDArray[Any]) -> Embeddings:
    return unit_length(vectors_NF).astype(np.float32)


class Shard(NamedTuple):
    """What is embedded at a time, by one process."""

    config: EmbedConfig
    photos: list[str]
    file: Path
    folder: str  # that relative paths are seen from


def embed_shard(shard: Shard) -> None:
    """Embed a shard into its file; the unit of work of a Ray task."""
    config = shard.config
    with chdir(shard.folder):
        eye = open_eye(config)
        batches = list(embed(eye, shard.photos, views=config.views, batch_size=config.batch_size))
    rows = [row for batch in batches for row in zip(*batch, strict=True)]
    errors = [error for _, _, error in rows]
    vectors = [None if error else vector.tolist() for vector, _, error in rows]
    lengths = [None if error else float(length) for _, length, error in rows]
    columns = {
        "path": pl.Series(list(map(shown, shard.photos)), dtype=pl.String),
        "error": pl.Series(errors, dtype=pl.String),
        "length": pl.Series(lengths, dtype=pl.Float32),
        "embedding": pl.Series(vectors, dtype=pl.Array(pl.Float32, eye.width)),
    }
    with whole_file(shard.file) as partial:
        pl.DataFrame(columns).write_parquet(partial)


def embed_to(inputs: Sequence[str], out: Path, config: EmbedConfig, *, ray: str | None = None) -> tuple[int, int]:
    """Embed all photos that `inputs` name into a Parquet file; how many there are, and how many cannot be read.

    Shards that are done lie in OUT.part until all are: the same call resumes from there. Of a manifest, what is
    known of its photos comes along. Raises UserError for an `out` that cannot be written, and a half-done file of
    another model or of other photos.
    """
    if out.suffix.lower() != ".parquet":
        raise UserError(f"-o {out}: embeddings are written as .parquet")
    check_writable(out)
    photos, eye, folder = find_photos(inputs), open_eye(config), out.with_name(out.name + ".part")
    names = hashlib.sha256("\n".join(map(shown, photos)).encode()).hexdigest()
    settings = {"model": eye.name, "photos": names, "views": config.views}
    folder.mkdir(parents=True, exist_ok=True)
    if differing(folder, settings):
        raise UserError(f"{folder} was begun with another model or other photos; remove it to begin anew")
    shards = [
        Shard(config, photos[at : at + SHARD], folder.resolve() / f"{at // SHARD:06d}.parquet", str(Path.cwd()))
        for at in range(0, len(photos), SHARD)
    ]
    waiting = [shard for shard in shards if not shard.file.is_file()]
    with Progress("embedding", len(photos)) as bar:
        bar.advance(len(photos) - sum(len(shard.photos) for shard in waiting))
        done = map_on_ray(embed_shard, waiting, address=ray, retries=2, gpu=True) if ray else map(embed_shard, waiting)
        for shard, _ in zip(waiting, done, strict=True):
            bar.advance(len(shard.photos))
    if missing := [shard.file for shard in waiting if not shard.file.is_file()]:
        raise UserError(f"{len(missing)} of {len(shards)} shards are missing: their workers died; run it again")
    said = {"model": eye.name, **{name: getattr(config, name) for name in SAID}}
    table = pl.scan_parquet([shard.file for shard in shards], glob=False)
    table = _with_what_is_known(table, inputs).select(pl.exclude("embedding"), "embedding")
    with whole_file(out) as partial:
        # embeddings hardly get smaller by compression: the fastest to read
        table.sink_parquet(partial, compression="lz4", row_group_size=TOGETHER, metadata={KEY: json.dumps(said)})
    unreadable = int(table.select(pl.col("error").count()).collect().item())
    shutil.rmtree(folder)
    return len(photos), unreadable


def _with_what_is_known(table: pl.LazyFrame, inputs: Sequence[str]) -> pl.LazyFrame:
    """With the columns of manifests among them: country, place, licence and who took the photo."""
    named = (name for name in inputs if name.lower().endswith(".parquet"))
    tables = [pl.scan_parquet(name, glob=not Path(name).is_file()) for name in named]
    held = [one for one in tables if one.collect_schema().get("uri") == pl.String]
    if not held:
        return table
    known = pl.concat(
        [one.select("uri", *(c for c in CARRIED if c in one.collect_schema())) for one in held], how="diagonal"
    )
    return table.join(known.unique("uri"), left_on="path", right_on="uri", how="left", maintain_order="left")


def made_by(index: Path) -> EmbedConfig:
    """By which model an index was made. Raises UserError where it is none, or the model is another one by now."""
    try:
        said = json.loads(pl.read_parquet_metadata(index)[KEY])
        config = EmbedConfig(**{name: said.get(name) for name in SAID})
    except (OSError, pl.exceptions.PolarsError, KeyError, ValueError):
        raise UserError(f"{index}: no embeddings; make them with `whichland embed PHOTOS -o {index}`") from None
    if open_eye(config).name != said["model"]:
        raise UserError(f"{index}: {config.bundle or config.arch} is another model by now; embed the photos again")
    return config
