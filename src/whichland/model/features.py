"""What a model's head sees of photos, one vector each: stored by `whichland embed`, or made here and kept on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple
from zipfile import BadZipFile

import numpy as np
import polars as pl
import torch
from annotated_types import Ge
from numpy.typing import NDArray

from whichland.config import Config
from whichland.errors import UserError
from whichland.images.preprocess import Preprocess
from whichland.model import backbone
from whichland.model.engines import best_device
from whichland.model.head import features_before_head
from whichland.model.views import middles_ahead
from whichland.model.weights import weights_file
from whichland.printed import counted
from whichland.whole_file import file_sha256, whole_file

BATCH = 32
KEY = "whichland.embeddings"  # in the file's metadata: by which model they were made

Features = NDArray[np.float32]  # N×F


class Stored(NamedTuple):
    """Features of N photos, NaN for one that was unreadable."""

    directions: NDArray[np.float32]  # N×F, rows of length 1
    lengths: NDArray[np.float32]  # N, as the model's head sees them


def stored_features(file: Path, uris: Sequence[str]) -> Stored:
    """The features of photos in the order of `uris`.

    Raises UserError for a file that `whichland embed` has not made, and where photos are not in it.
    """
    try:
        if KEY not in pl.read_parquet_metadata(file):
            raise UserError(f"{file}: no features; make them with `whichland embed MANIFEST -o {file}`")
        wanted = pl.DataFrame({"path": uris}, schema={"path": pl.String})
        columns = ("path", "embedding", "length")
        held = pl.scan_parquet(file, glob=False).select(*columns, there=pl.lit(True)).unique("path")
        rows = wanted.lazy().join(held, on="path", how="left", maintain_order="left").collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file}: not readable ({reason}); make it with `whichland embed MANIFEST -o {file}`") from None
    if missing := rows["there"].null_count():
        first = rows.filter(pl.col("there").is_null())["path"][0]
        raise UserError(f"{file} lacks {missing:,} of {len(uris):,} photos, such as {first}; embed the whole manifest")
    vectors = rows["embedding"]
    readable = vectors.drop_nulls().to_numpy()
    features_NF = np.full((len(uris), readable.shape[-1]), np.nan, np.float32)
    features_NF[vectors.is_not_null().to_numpy()] = readable
    return Stored(features_NF, rows["length"].fill_null(np.nan).to_numpy())


def features_of_head(file: Path, uris: Sequence[str]) -> NDArray[np.float32]:
    """What a model's head sees of photos, N×F. Raises UserError as `stored_features`, and for unreadable photos."""
    directions_NF, lengths_N = stored_features(file, uris)
    unread = np.flatnonzero(np.isnan(lengths_N))
    if len(unread):
        raise UserError(
            f"{file}: {counted(len(unread), 'unreadable photo')}, such as {uris[unread[0]]}; clean the manifest"
        )
    seen_NF: NDArray[np.float32] = directions_NF * lengths_N[:, None]
    return seen_NF


@dataclass(frozen=True, kw_only=True)
class BackboneConfig(Config):
    """Which frozen backbone looks at the photos, and how closely."""

    arch: Annotated[str, "timm's name of a pretrained model"] = "mobilenetv2_100.ra_in1k"
    weights: Annotated[str, "`hub`, `none` (at random), or a .safetensors file of the model's weights"] = "hub"
    size: Annotated[int, "side in pixels that photos are cropped and resized to", Ge(32)] = 224


def features(uris: Sequence[str], keys: Sequence[str], config: BackboneConfig, cache: Path | None = None) -> Features:
    """Return what the backbone's head would see of each photo, N×F; rows of NaN where one cannot be read.

    `keys` distinguish photos by their bytes (sha256). With the folder `cache`, vectors are kept there in half
    precision and photos known from an earlier run are not seen again; an interrupted run keeps what it has.
    """
    file = cache / f"{_name(config)}.npz" if cache else None
    known = _read(file) if file else {}
    waiting = [(uri, key) for key, uri in zip(keys, uris, strict=True) if key not in known]
    if waiting:
        try:
            _see(waiting, config, known)
        finally:
            if file:
                _write(file, known)
    return np.stack([known[key] for key in keys]).astype(np.float32)


def _see(photos: list[tuple[str, str]], config: BackboneConfig, known: dict[str, NDArray[np.float16]]) -> None:
    """Put photos, as (uri, key), through the backbone, and their vectors into `known`."""
    with torch.random.fork_rng():  # weights at random must be the same each time: vectors are kept
        torch.manual_seed(0)
        made = backbone.create(config.arch, 2, weights=config.weights, size=config.size)
    device = best_device()
    model = made.model.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    crop = {"test_input_size": (3, config.size, config.size), "test_crop_pct": 1.0, "crop_mode": "center"}
    preprocess = Preprocess.from_config(made.pretrained_cfg | crop)
    with torch.inference_mode():
        for rows, pixels in middles_ahead([uri for uri, _ in photos], preprocess, BATCH, "looking at photos"):
            x_BCHW = torch.from_numpy(preprocess.normalise(pixels)).to(device)
            vectors = features_before_head(model, x_BCHW).float().cpu().numpy().astype(np.float16)
            known.update(zip([photos[row][1] for row in rows], vectors, strict=True))
    if not known:
        raise UserError(f"no photo can be read, of {len(photos)}, such as {photos[0][0]}")
    unread = np.full_like(next(iter(known.values())), np.nan)
    known.update({key: unread for _, key in photos if key not in known})


def _name(config: BackboneConfig) -> str:
    """Name of the cache file; weights are identified by their bytes, and what lies beside them by its own.

    Raises UserError where there are none.
    """
    given, file = config.weights, weights_file(config.weights)
    if file:
        given = file_sha256(file)[:12]
        if (beside := file.with_suffix(".json")).is_file():  # arguments and normalisation
            given += f"-{file_sha256(beside)[:12]}"
    return f"{config.arch.replace('/', '_')}-{given}-{config.size}"


def _read(file: Path) -> dict[str, NDArray[np.float16]]:
    if not file.is_file():
        return {}
    try:
        with np.load(file, allow_pickle=False) as held:
            return dict(zip(held["keys"].tolist(), held["vectors"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise UserError(f"{file}: no features of an earlier run ({error}); delete it") from None


def _write(file: Path, known: dict[str, NDArray[np.float16]]) -> None:
    """Write what is known, but for unreadable photos: they may be mended."""
    seen = {key: vector for key, vector in known.items() if not np.isnan(vector[0])}
    if not seen:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as partial, partial.open("wb") as stream:
        np.savez(stream, keys=np.array(list(seen)), vectors=np.stack(list(seen.values())))
