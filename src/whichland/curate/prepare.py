"""All steps from an origin to a table ready for training; a table that is there already is continued.

A photo that the table has keeps what was measured of it and what a person decided on it, as long as its file is the
same, and its group, and with it its split: so the table may be made again from a folder that has grown.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import polars as pl

from whichland.curate.balance import BalanceConfig, balance
from whichland.curate.clean import CleanConfig, clean
from whichland.curate.geocode import GeocodeConfig, geocode
from whichland.curate.measure import measure
from whichland.curate.merge import JUDGED, begun_anew
from whichland.curate.review import REVIEWED
from whichland.curate.split import SplitConfig, split
from whichland.errors import UserError
from whichland.images.containers import container_of
from whichland.manifest import MEASURED, Manifest, read, with_empty, write
from whichland.sources.ingest import ingest


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(GeocodeConfig, CleanConfig, SplitConfig, BalanceConfig):
    """The settings of all steps."""

    seed: Annotated[int, "which of the possible splits, and orders within a country"] = 0


def prepare(
    origin: str, out: Path, config: PrepareConfig, *, workers: int | None = None, ray: str | None = None, **how: Any
) -> Manifest:
    """Ingest `origin` as `how` says (see `ingest`), geocode what has coordinates, measure, clean, split and balance.

    What is measured is kept in `out`, so that an interrupted run continues; the finished table is not written.
    """
    if config.near_duplicate_cosine is not None:
        raise UserError("near_duplicate_cosine: give the photos' features to `whichland data split`, after preparing")
    places = config.part(GeocodeConfig)
    asked = {"origin": origin, "skip_unknown": False, "exif": True, **how}
    asked["keys"] = str(asked["keys"]) if asked.get("keys") else None
    asked = {name: value for name, value in asked.items() if name != "folder" and (name != "source" or value)}
    there = read(out) if out.is_file() else None
    if there is not None and is_unfinished(there, {"ingest": asked, "geocode": asdict(places)}):
        begun = there
    else:
        begun = ingest(origin, **how)
        if there is not None:
            begun = continued(begun, there, out.stat().st_mtime)
        if begun.frame["lat"].count():
            begun = geocode(begun, places)
    if not begun.frame["country"].count():
        raise UserError(
            f"{origin}: no photo has a country; put them in folders by country ({origin.rstrip('/')}/Japan/…), or give "
            "a table with a column `country`, or `lat` and `lon`, beside their paths"
        )
    measured = measure_into(out, begun, workers=workers, ray=ray)
    return balance(
        split(clean(measured, config.part(CleanConfig)), config.part(SplitConfig)), config.part(BalanceConfig)
    )


def measure_into(out: Path, manifest: Manifest, *, workers: int | None = None, ray: str | None = None) -> Manifest:
    """Measure, keeping what is done in `out` so that an interrupted run continues."""
    try:
        return measure(manifest, workers=workers, ray=ray, checkpoint=lambda so_far: write(so_far, out))
    except KeyboardInterrupt:
        print(f"what is measured is in {out}: `whichland data measure {out} -o {out}` resumes", file=sys.stderr)
        raise


def is_unfinished(there: Manifest, asked: dict[str, dict[str, Any]]) -> bool:
    """Whether a table was made as `asked` (parameters by step) and its making ended in the middle of measuring."""
    steps = {line.step: line.params for line in there.history}
    if set(steps) - {"geocode"} != {"ingest", "measure"} or not steps["measure"]["waiting"]:
        return False
    return all(params.items() <= steps[step].items() for step, params in asked.items() if step in steps)


def continued(found: Manifest, there: Manifest, written: float) -> Manifest:
    """The rows of `found`, with what an earlier table, `written` at that time, says of those that it has, too.

    A photo is the same when its image_id and uri are; one whose file was changed since is measured anew. The earlier
    table's history is carried, as `split` looks there for what binds. A table of other photos says nothing.
    """
    known = ["image_id", "uri"]
    taken = [name for name in there.frame.columns if name not in (*found.frame.columns, *JUDGED)]
    had = with_empty(there.frame.select(*known, *taken).with_columns(_known=True), "bytes")
    frame = found.frame.join(had, on=known, how="left", maintain_order="left")
    again = frame["_known"].fill_null(value=False)
    if not again.any():
        return found
    differs = [_changed(uri, size, written) for uri, size in frame.select("uri", "bytes").iter_rows()]
    kept = ~again | ~pl.Series(differs, dtype=pl.Boolean)
    of_file = [name for name in (*MEASURED, *REVIEWED) if name in taken]
    frame = frame.drop("_known").with_columns(pl.when(kept).then(name).alias(name) for name in of_file)
    same, new, gone = again.sum(), len(found) - again.sum(), len(there) - again.sum()
    print(f"continued: photos in the table {same:,}, new {new:,}, gone {gone:,}", file=sys.stderr)
    first, *later = there.history
    if there.last("split") is not None:  # what the tables before it say is in its certificate, but for decisions
        params = {name: value for name, value in first.params.items() if name != "inputs"}
        decided = [line for table in first.params.get("inputs", ()) for line in _reviews(table["history"])]
        carried = {"inputs": [{"rows": len(there), "history": decided}]} if decided else {}
        first = replace(first, params=params | carried)
    earlier = Manifest(there.frame, (first, *later))
    return begun_anew("ingest", frame, [earlier], **found.history[0].params)


def _reviews(history: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The lines of a history, and of those it carries, that say what a person decided."""
    for line in history:
        if line["step"] == "review":
            yield line
        for table in line["params"].get("inputs", ()):
            yield from _reviews(table["history"])


def _changed(uri: str, size: int | None, written: float) -> bool:
    """Whether a photo's file, or what it lies in, is younger than a table, or its size another."""
    file = container_of(uri)
    try:
        status = os.stat(file)  # noqa: PTH116 (called for every photo)
    except OSError:
        return True
    return status.st_mtime > written or (file == uri and size is not None and size != status.st_size)
