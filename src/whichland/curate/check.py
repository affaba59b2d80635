"""Re-derive what must hold of a manifest from the file alone, without the code of the steps."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

from whichland.curate.check_split import SPLIT_RULES
from whichland.geo.countries import COUNTRIES
from whichland.images.decode import ImageError, read_bytes
from whichland.manifest import Manifest, problems
from whichland.progress import track

WRITTEN = {  # what the other checks read of a step's work: the table of another program may lack it
    "measure": ("sha256", "phash", "brightness", "contrast"),
    "clean": ("drop_reason", "country"),
    "split": ("group", "split", "lat", "lon"),
}
SAMPLE = 64  # files that are opened unless all are asked for


def check(manifest: Manifest, *, all_files: bool = False) -> list[str]:
    """Return what is wrong with a manifest, one line each; an empty list when all is well.

    Only what the steps have written so far is checked. `all_files` reads every file again and compares its
    sha256; otherwise a fixed sample of them must open and agree.
    """
    found = [f"schema: {line}" for line in problems(manifest.frame)]
    if found:
        return found  # the other checks take the schema for granted
    for step, columns in WRITTEN.items():
        missing = [name for name in columns if name not in manifest.frame.columns]
        if missing and manifest.last(step) is not None:
            found.append(f"history: {step} has run, yet there is no column {', '.join(missing)}")
    if found:
        return found
    for name, rule in RULES.items():
        found.extend(f"{name}: {line}" for line in rule(manifest))
    found.extend(f"files: {line}" for line in _files(manifest, all_files))
    return found


def _history(manifest: Manifest) -> Iterator[str]:
    if not manifest.history:
        yield "there is none, so nobody can tell how this file came to be"
        return
    if len({step.rows for step in manifest.history}) > 1 or manifest.history[-1].rows != len(manifest):
        counts = " → ".join(str(step.rows) for step in manifest.history)
        yield f"steps never add or delete rows, yet the count went {counts} and is {len(manifest)}"
    written = {"sha256": "measure", "drop_reason": "clean", "split": "split", "rank": "balance"}
    steps = {step.step for step in manifest.history} | set(_carried(manifest.history[0].params))
    for column, step in written.items():
        if column in manifest.frame.columns and step not in steps:
            yield f"column {column} is there but no step {step!r}"


def _carried(params: dict[str, Any]) -> Iterator[str]:
    """Names of the steps that the tables went through of which a merged one was made."""
    for table in params.get("inputs", ()):
        for line in table["history"]:
            yield line["step"]
            yield from _carried(line["params"])


def _countries(manifest: Manifest) -> Iterator[str]:
    if not {"drop_reason", "country"} <= set(manifest.frame.columns):
        return
    kept = manifest.kept
    if nameless := kept["country"].null_count():
        yield f"{nameless} kept rows have no country"
    unknown = sorted(set(kept["country"].drop_nulls().unique()) - set(COUNTRIES))
    if unknown:
        yield f"not ISO 3166-1 alpha-2: {', '.join(map(repr, unknown[:10]))}"


def _duplicates(manifest: Manifest) -> Iterator[str]:
    clean = manifest.last("clean")
    if clean is None or not clean.get("drop_duplicates", True):
        return
    repeated = manifest.kept.filter(pl.col("sha256").is_duplicated())
    if repeated.height:
        example = repeated.sort("sha256", "image_id")["image_id"].head(2).to_list()
        yield f"{repeated.height} kept rows hold the bytes of another kept row, such as {' and '.join(example)}"


def _balance(manifest: Manifest) -> Iterator[str]:
    if manifest.last("balance") is None or not {"rank", "weight", "split"} <= set(manifest.frame.columns):
        return
    frame = manifest.frame
    train = (pl.col("split") == "train").fill_null(False) & pl.col("drop_reason").is_null()
    for column in ("rank", "weight"):
        if stray := frame.filter(~train & pl.col(column).is_not_null()).height:
            yield f"{stray} rows outside train have a {column}"
        if missing := frame.filter(train & pl.col(column).is_null()).height:
            yield f"{missing} train rows have no {column}"
    ranks = frame.filter(train).drop_nulls("country").group_by("country").agg(pl.col("rank").sort())
    gaps = sorted(code for code, rank in ranks.iter_rows() if rank != list(range(len(rank))))
    if gaps:
        yield f"ranks do not count from 0 without gaps in {', '.join(gaps[:10])}"
    weights = frame.filter(train)["weight"].drop_nulls()
    if (weights < 0).any():
        yield f"{(weights < 0).sum()} weights are negative"
    used = weights.filter(weights > 0)
    mean = used.mean()
    if isinstance(mean, float) and abs(mean - 1) > 1e-6:
        yield f"the weights above 0 have a mean of {mean:.6f}, not 1"


def _files(manifest: Manifest, all_files: bool) -> Iterator[str]:
    frame = manifest.frame
    if "sha256" not in frame.columns:
        frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias("sha256"))
    if "unreadable" in frame.columns:  # what could not be opened then has no sha256, and need not open now
        frame = frame.filter(pl.col("unreadable").is_null() | pl.col("sha256").is_not_null())
    step = 1 if all_files else max(1, frame.height // SAMPLE)
    rows = frame.gather_every(step).select("image_id", "uri", "sha256")
    for name, uri, sha256 in track(rows.iter_rows(), rows.height, "reading files again"):
        try:
            digest = hashlib.sha256(read_bytes(uri)).hexdigest()
        except ImageError as error:
            yield f"{name}: {error}"
            continue
        if sha256 is not None and digest != sha256:
            yield f"{name}: {uri} has changed since it was measured"


RULES: dict[str, Callable[[Manifest], Iterator[str]]] = {
    "history": _history,
    "countries": _countries,
    "duplicates": _duplicates,
    **SPLIT_RULES,
    "balance": _balance,
}
CHECKS = len(RULES) + 2  # and the schema and the files
