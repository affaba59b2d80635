"""Which splits of earlier runs still bind: what a model was trained on must not become what it is tested on."""

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from whichland.curate.certificate import SPLITS
from whichland.curate.stratify import position_of, split_at
from whichland.manifest import Manifest

Params = dict[str, Any]


def earlier_splits(frame: pl.DataFrame, manifest: Manifest, *, seed: int, val: float, test: float) -> pl.Series:
    """The split that each row of `frame` has by earlier runs with the same seed and shares; null where none binds.

    A row that lost its split but not its group, being merged into another table or having given way to a better
    copy, has the one that the certificate of that run tells of its group. Where tables were split in different
    ways before they were merged, nothing binds: nobody can tell which run the name of a group is from.
    """
    nothing = pl.Series("earlier", [None] * frame.height, dtype=pl.String)
    runs = list(_runs(manifest.history[0].params, manifest.last("split"))) if manifest.history else []
    wanted = {"seed": seed, "val": val, "test": test}
    if not runs or any(run.get(name) != value for run in runs for name, value in wanted.items()):
        return nothing
    split = frame["split"] if "split" in frame.columns else nothing
    if "group" not in frame.columns:
        return split.alias("earlier")
    names = frame["group"].filter(split.is_null()).drop_nulls().unique()
    moves = [(run.get("certificate") or {}).get("moved", {}) for run in runs]
    told = [_told(name, moves, seed=seed, val=val, test=test) for name in names]
    by_group = frame["group"].replace_strict(names, told, default=None, return_dtype=pl.String)
    return split.zip_with(split.is_not_null(), by_group).alias("earlier")


def _runs(begun: Params, own: Params | None) -> Iterator[Params]:
    """The parameters of a table's last split, or else of those of the tables that it was merged from."""
    if own is not None:
        yield own
        return
    for table in begun.get("inputs", ()):
        history = table["history"]
        last = next((line["params"] for line in reversed(history) if line["step"] == "split"), None)
        yield from _runs(history[0]["params"] if history else {}, last)


def _told(group: str, moves: Sequence[dict[str, str]], *, seed: int, val: float, test: float) -> str:
    """Where a group stood: as its hash has it unless it was moved. Where two tables may disagree train wins."""
    fell = split_at(position_of(group, seed), val, test)
    return min((moved.get(group, fell) for moved in moves), key=SPLITS.index)
