"""How much of the exact answer an approximate search finds, and how much sooner, as the index grows.

    python benchmarks/search.py INDEX.parquet --rows 4000 100000 1000000 --folder /tmp/search

INDEX is a file of `whichland embed` of real photos. An index of more rows than it has is made up of it: each row a
mixture of two of its photos, with noise of a tenth of their distance. Queries are mixtures of their own. Both ways
read the index from disk for each query, exactly as `whichland search` does, in turns, from a file as `whichland embed`
writes it. Prints a Markdown table.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from whichland.bulk.embeddings import TOGETHER
from whichland.bulk.search import Neighbour, graph, nearest, nearest_by_graph

COUNT = 10
AT_ONCE = 20_000  # rows


def mixtures(own_NF: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Vectors of length 1 between two photos each, count×F."""
    one, other = own_NF[random.integers(0, len(own_NF), (2, count))]
    share = random.uniform(0, 1, (count, 1)).astype(np.float32)
    noise = random.normal(size=one.shape).astype(np.float32)
    noise *= 0.1 * np.linalg.norm(one - other, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    made = share * one + (1 - share) * other + noise
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def write(path: Path, own_NF: np.ndarray, rows: int, random: np.random.Generator) -> None:
    """An index of `rows` rows, the real photos first."""
    parts = []
    for start in range(0, rows, AT_ONCE):
        count = min(AT_ONCE, rows - start)
        real = own_NF[start : start + count]
        vectors = np.concatenate([real, mixtures(own_NF, count - len(real), random)])
        names = pl.Series("path", range(start, start + count)).cast(pl.String)
        parts.append(path.with_suffix(f".{start}.part"))
        embedding = pl.Series("embedding", vectors, dtype=pl.Array(pl.Float32, own_NF.shape[1]))
        pl.DataFrame([names, embedding]).write_parquet(parts[-1])
    pl.scan_parquet(parts).sink_parquet(path, compression="lz4", row_group_size=TOGETHER)
    for part in parts:
        part.unlink()


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[4000, 100_000])
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    own_NF = pl.read_parquet(given.index)["embedding"].drop_nulls().to_numpy()
    queries = mixtures(own_NF, given.queries, random)
    print(f"\n{len(own_NF):,} real photos, vectors of {own_NF.shape[1]}, {given.queries} queries\n")
    print(f"| rows | of the nearest {COUNT} | the nearest | exact, ms | graph, ms | ratio | making the graph, rows/s |")
    print("|---|---|---|---|---|---|---|")
    for rows in given.rows:
        path = given.folder / f"{rows}.parquet"
        write(path, own_NF, rows, random)
        begun = time.perf_counter()
        graph(path)
        made = rows / (time.perf_counter() - begun)
        ways: tuple[Callable[..., list[Neighbour]], ...] = (nearest, nearest_by_graph)
        seconds: dict[str, list[float]] = {way.__name__: [] for way in ways}
        found: dict[str, list[list[str]]] = {way.__name__: [] for way in ways}
        for query in queries:
            for way in ways:
                begun = time.perf_counter()
                neighbours = way(path, query, COUNT)
                seconds[way.__name__].append(time.perf_counter() - begun)
                found[way.__name__].append([one.row["path"] for one in neighbours])
        pairs = list(zip(*found.values(), strict=True))
        recall = np.mean([len(set(exact) & set(near)) / COUNT for exact, near in pairs])
        first = np.mean([exact[0] == near[0] for exact, near in pairs])
        exact_s, graph_s = (statistics.median(taken) for taken in seconds.values())
        print(
            f"| {rows:,} | {recall:.1%} | {first:.1%} | {1e3 * exact_s:.1f} | {1e3 * graph_s:.1f} "
            f"| {exact_s / graph_s:.1f} | {made:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
