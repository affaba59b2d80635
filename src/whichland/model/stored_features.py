"""Features of photos that `whichland embed` has stored, looked up by the photos' paths."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whichland.errors import UserError
from whichland.printed import counted

KEY = "whichland.embeddings"  # in the file's metadata: by which model they were made


class Stored(NamedTuple):
    """Features of N photos, NaN for one that was unreadable."""

    directions: NDArray[np.float32]  # N×F, rows of length 1
    lengths: NDArray[np.float32]  # N, as the model's head sees them


def unit_length(vectors_NF: NDArray[Any]) -> NDArray[Any]:
    """Rows scaled to length 1; those of length 0 stay."""
    unit_NF: NDArray[Any] = vectors_NF / np.maximum(np.linalg.norm(vectors_NF, axis=1, keepdims=True), 1e-12)
    return unit_NF


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
