"""The photos of a file of embeddings that lie nearest to another photo: exactly, or fast by a graph."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whichland.bulk.embeddings import TOGETHER, embed, made_by, open_eye
from whichland.errors import UserError, first_line
from whichland.images.containers import ImageError
from whichland.images.photo import PhotoLike
from whichland.printed import install
from whichland.progress import Progress
from whichland.whole_file import whole_file

if TYPE_CHECKING:
    from usearch.index import Index

BLOCK = 4 * TOGETHER  # rows that a search holds in memory
HASH_DIGITS = 12  # in a graph's name
LOOKED_AT = 256  # rows that a search by a graph keeps in hand; of more it finds more of the nearest, and takes longer


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A photo of an index, and how far it is: 1 − cosine, 0 for the same and 2 at most."""

    distance: float
    row: dict[str, Any]  # its columns, without the embedding


def search(index: Path, photo: PhotoLike, count: int = 5, *, approximate: bool = False) -> list[Neighbour]:
    """The photos of an index that lie nearest to another one, the nearest first.

    Exactly, a block of rows at a time, or `approximate`: by a graph, which the first such search makes beside the
    index. Raises UserError for a file that `embed_to` has not made, or whose model is not to be had any more, and
    ImageError for a photo that cannot be read.
    """
    config = made_by(index)
    ((query_1F, _, (reason,)),) = embed(open_eye(config), [photo], views=config.views)
    if reason:
        raise ImageError(reason)
    return (nearest_by_graph if approximate else nearest)(index, query_1F[0], count)


def nearest(index: Path, query_F: NDArray[np.float32], count: int) -> list[Neighbour]:
    """The rows of an index whose embeddings have the largest cosine with a vector of length 1."""
    best: list[tuple[float, int]] = []
    for numbers_N, vectors_NF in _blocks(index):
        cosine_N = vectors_NF @ query_F
        top = np.argsort(-cosine_N, kind="stable")[:count]
        best = sorted([*best, *zip((-cosine_N[top]).tolist(), numbers_N[top].tolist(), strict=True)])[:count]
    return _rows(index, [(1 + minus, number) for minus, number in best])


def nearest_by_graph(index: Path, query_F: NDArray[np.float32], count: int) -> list[Neighbour]:
    """Nearly always what `nearest` gives, from a look at some hundreds of rows; distances as of 16-bit numbers."""
    found = graph(index).search(query_F, count)
    return _rows(index, list(zip(found.distances.tolist(), found.keys.tolist(), strict=True)))


def graph(index: Path) -> "Index":
    """The graph over an index's rows (HNSW: Malkov and Yashunin, arXiv 1603.09320), made where it is not there yet.

    It lies on disk, and a search reads what it needs of it. Raises UserError without the extra `search`, and where
    the graph cannot be written or is damaged.
    """
    try:
        from usearch.index import Index
    except ImportError:
        raise UserError(f"an approximate search needs the extra 'search': {install('search')}") from None
    path = index.with_name(f"{index.stem}.{_footer_hash(index)}.usearch")
    if not path.is_file():
        table = pl.scan_parquet(index, glob=False)
        width = table.collect_schema()["embedding"].shape[0]  # type: ignore[attr-defined]
        made = Index(ndim=width, metric="cos", dtype="f16")
        vectors = int(table.select(pl.col("embedding").count()).collect().item())
        with Progress(f"making {path.name}", vectors) as bar, whole_file(path) as partial:
            for numbers_N, vectors_NF in _blocks(index):
                made.add(numbers_N, vectors_NF)
                bar.advance(len(numbers_N))
            made.save(partial)
        own = f"{escape(index.stem)}.{'[0-9a-f]' * HASH_DIGITS}.usearch"  # and no other index's
        for older in set(index.parent.glob(own)) - {path}:
            older.unlink(missing_ok=True)
    try:
        found = Index.restore(path, view=True, expansion_search=LOOKED_AT)
        if found is None:
            raise ValueError("it holds no graph")
    except Exception as error:
        again = "remove it, and the next search makes it anew"
        raise UserError(f"{path}: cannot be read ({first_line(error)}); {again}") from None
    return found


def _blocks(index: Path) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.float32]]]:
    """Row numbers N and embeddings N×F of the photos that could be read, some rows at a time."""
    table = pl.scan_parquet(index, glob=False)
    for start in range(0, int(table.select(pl.len()).collect().item()), BLOCK):
        block = table.slice(start, BLOCK).select("embedding").with_row_index().drop_nulls().collect()
        yield block["index"].to_numpy().astype(np.uint64) + np.uint64(start), block["embedding"].to_numpy()


def _footer_hash(index: Path) -> str:
    """A short hash of what a Parquet file says at its end of all that it holds."""
    with index.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 8))
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(0, size - 8 - length))
        return hashlib.sha256(f"{size} ".encode() + file.read()).hexdigest()[:HASH_DIGITS]


def _rows(index: Path, nearest_k: list[tuple[float, int]]) -> list[Neighbour]:
    """Neighbours from distances and row numbers."""
    table = pl.scan_parquet(index, glob=False).select(pl.exclude("embedding")).with_row_index()
    known = table.filter(pl.col("index").is_in([number for _, number in nearest_k])).collect()
    found = {row.pop("index"): row for row in known.iter_rows(named=True)}
    return [Neighbour(distance=max(0.0, distance), row=found[number]) for distance, number in nearest_k]
