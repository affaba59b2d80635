"""Re-derive what must hold of a manifest from the file alone: it shares no code with the steps, but for the search for
near-duplicates above the size named here, where plain comparison would take hours.

A certificate is no signature: who rewrites the table and the certificate together is found out only by what ties and
hashes say.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whichland.curate.pairs import near_duplicate_pairs
from whichland.geo.countries import COUNTRIES
from whichland.geo.distance import haversine_km, unit
from whichland.images.decode import ImageError, read_bytes
from whichland.manifest import Manifest, left_out, problems, sequence_key, with_empty
from whichland.printed import counted
from whichland.progress import track

WRITTEN = {  # what the other checks read of a step's work: the table of another program may lack it
    "measure": ("sha256", "phash", "brightness", "contrast"),
    "clean": ("drop_reason", "country"),
    "split": ("group", "split", "lat", "lon"),
}
SAMPLE = 64  # files that are opened unless all are asked for
PLAIN_SEARCH = 40_000  # up to so many kept rows, near-duplicates are sought by comparing every pair
REPEATED = ("duplicate", "near_duplicate")  # they keep their group until the next split
Params = dict[str, Any]  # of a step
AGAIN = "run `whichland data split` again: groups keep their splits"


def check(manifest: Manifest, *, all_files: bool = False) -> list[str]:
    """Return what is wrong with a manifest, one line each; an empty list when all is well.

    Only what the steps have written so far is checked. `all_files` reads every file again and compares its
    sha256; otherwise a fixed sample of them must open and agree.
    """
    found = [f"schema: {line}" for line in problems(manifest.whole)]
    if found:
        return found  # the other checks take the schema for granted
    for step, columns in WRITTEN.items():
        missing = [name for name in columns if name not in manifest.columns]
        if missing and manifest.last(step) is not None:
            found.append(f"history: {step} has run, yet there is no column {', '.join(missing)}")
    if found:
        return found
    for name, (needed, rule) in RULES.items():
        params = manifest.last(needed) if needed else {}
        if params is not None:
            found.extend(f"{name}: {line}" for line in rule(manifest, params))
    found.extend(f"files: {line}" for line in _files(manifest, all_files))
    return found


def _history(manifest: Manifest, _: Params) -> Iterator[str]:
    if not manifest.history:
        yield "there is none, so it is not known how this file was made"
        return
    if len({step.rows for step in manifest.history}) > 1 or manifest.history[-1].rows != len(manifest):
        counts = " → ".join(str(step.rows) for step in manifest.history)
        yield f"steps never add or delete rows, yet the count went {counts} and is {len(manifest)}"
    written = {"sha256": "measure", "review": "review", "drop_reason": "clean", "split": "split", "rank": "balance"}
    steps = {step.step for step in manifest.history} | set(_carried(manifest.history[0].params))
    for column, step in written.items():
        if column in manifest.columns and step not in steps:
            yield f"column {column} is there but no step {step!r}"


def _carried(params: dict[str, Any]) -> Iterator[str]:
    """Names of the steps that the tables went through of which a merged one was made."""
    for table in params.get("inputs", ()):
        for line in table["history"]:
            yield line["step"]
            yield from _carried(line["params"])


def _countries(manifest: Manifest, _: Params) -> Iterator[str]:
    if not {"drop_reason", "country"} <= set(manifest.columns):
        return
    kept = manifest.kept_with("country")
    if not kept.height:
        yield f"no row is kept: {left_out(manifest)}"
    if nameless := kept["country"].null_count():
        yield f"kept rows without a country: {nameless}"
    unknown = sorted(set(kept["country"].drop_nulls().unique()) - set(COUNTRIES))
    if unknown:
        yield f"not ISO 3166-1 alpha-2: {', '.join(map(repr, unknown[:10]))}"


def _duplicates(manifest: Manifest, clean: Params) -> Iterator[str]:
    repeated = manifest.kept_with("image_id", "sha256").filter(pl.col("sha256").is_duplicated())
    if repeated.height and clean.get("drop_duplicates", True):
        example = repeated.sort("sha256", "image_id")["image_id"].head(2).to_list()
        yield f"kept rows with the bytes of another kept row: {repeated.height}, such as {' and '.join(example)}"


def _balance(manifest: Manifest, balance: Params) -> Iterator[str]:
    if not {"rank", "weight", "split"} <= set(manifest.columns):  # cleaning and splitting anew take them away
        return
    in_train = (pl.col("split") == "train").fill_null(False) & pl.col("drop_reason").is_null()
    label = balance.get("label", "country")
    table = manifest.whole.select(label, "rank", "weight", used=in_train).collect()
    train, others = table.filter("used"), table.filter(~pl.col("used"))
    for column in ("rank", "weight"):
        if stray := others[column].count():
            yield f"rows outside train with a {column}: {stray}"
        if missing := train[column].null_count():
            yield f"train rows without a {column}: {missing}"
    ranks = train.drop_nulls(label).group_by(label).agg(pl.col("rank").sort())
    gaps = sorted(code for code, rank in ranks.iter_rows() if rank != list(range(len(rank))))
    if gaps:
        yield f"ranks do not count from 0 without gaps in {', '.join(gaps[:10])}"
    weights = train["weight"].drop_nulls()
    if negative := (weights < 0).sum():
        yield f"negative weights: {negative}"
    mean = weights.filter(weights > 0).mean()
    if isinstance(mean, float) and abs(mean - 1) > 1e-6:
        yield f"the weights above 0 have a mean of {mean:.6f}, not 1"


def _files(manifest: Manifest, all_files: bool) -> Iterator[str]:
    table = with_empty(manifest.whole, "sha256", "unreadable")
    # what could not be opened then has no sha256, and need not open now
    table = table.filter(pl.col("unreadable").is_null() | pl.col("sha256").is_not_null())
    step = 1 if all_files else max(1, table.select(pl.len()).collect().item() // SAMPLE)
    rows = table.select("image_id", "uri", "sha256").gather_every(step).collect()
    for name, uri, sha256 in track(rows.iter_rows(), rows.height, "reading files again"):
        try:
            digest = hashlib.sha256(read_bytes(uri)).hexdigest()
        except ImageError as error:
            yield f"{name}: {error}"
            continue
        if sha256 is not None and digest != sha256:
            yield f"{name}: {uri} has changed since it was measured"


def _groups(manifest: Manifest, _: Params) -> Iterator[str]:
    """Every kept row, and only those, has a group and a split; nothing that is one stands in two splits."""
    dropped = pl.col("drop_reason").is_not_null()
    for column, may in (("group", REPEATED), ("split", ())):
        if missing := manifest.kept_with(column).to_series().null_count():
            yield f"kept rows without a {column}: {missing}"
        stray = manifest.whole.filter(dropped, ~pl.col("drop_reason").is_in(may)).select(pl.col(column).count())
        stray = stray.collect().item()
        if stray:
            yield f"dropped rows with a {column}: {stray}"
    kept = with_empty(manifest.whole.filter(~dropped), "sequence", "panorama", "sha256")
    for column in ("group", "sequence", "panorama", "sha256"):
        rows = kept.select(sequence_key() if column == "sequence" else column, "split").drop_nulls()
        parts = rows.group_by(column).agg(pl.col("split").unique().sort())
        torn = parts.filter(pl.col("split").list.len() > 1).sort(column).collect()
        if torn.height:
            name, where = torn.row(0)
            yield f"{torn.height} {column}s stand in several splits, such as {name} in {' and '.join(where)}"


def _near_duplicates(manifest: Manifest, split: Params) -> Iterator[str]:
    """No near-duplicates stand in different splits."""
    distance, tone = split["near_duplicate_distance"], split["near_duplicate_tone"]
    if distance < 0:
        return
    closer = split.get("near_duplicate_closer", [])  # bits and tone; tables of an older version have none
    kept = manifest.kept_with("image_id", "split", "phash", "brightness", "contrast").drop_nulls("split")
    phash, tones = kept["phash"].to_numpy(), kept.select("brightness", "contrast").to_numpy()
    if kept.height > PLAIN_SEARCH:
        pairs = near_duplicate_pairs(phash, distance, tones, tone, closer)
    else:  # every pair, which owes nothing to the search of `split`
        limits = np.full(65, -1.0)
        for most, widest in [(distance, tone), *closer]:
            limits[: most + 1] = np.maximum(limits[: most + 1], widest)
        found = [np.empty((0, 2), dtype=np.int64)]
        for row in range(kept.height - 1):
            limit = limits[np.bitwise_count(phash[row + 1 :] ^ phash[row])]
            near = row + 1 + np.flatnonzero(limit >= 0)
            others = near[np.abs(tones[near] - tones[row]).max(axis=1) <= limit[near - row - 1]]
            found.append(np.column_stack([np.full(others.size, row), others]))
        pairs = np.concatenate(found)
    part, names = kept["split"].to_numpy(), kept["image_id"]
    torn = pairs[part[pairs[:, 0]] != part[pairs[:, 1]]]
    if len(torn):
        left, right = (names[int(row)] for row in torn[0])
        yield f"{counted(len(torn), 'pair')} in different splits, such as {left} and {right}"


def _positions(manifest: Manifest, split: Params) -> Iterator[str]:
    """Every group is where the hash of (seed, name) puts it, or where the certificate says it was moved to."""
    moved = split.get("certificate", {}).get("moved", {})
    wrong = []
    rows = manifest.kept_with("group", "split").drop_nulls().unique()
    for group, part in rows.iter_rows():
        digest = hashlib.sha256(f"{split['seed']}:{group}".encode()).digest()
        position = int.from_bytes(digest[:8], "big") / 2**64
        bounds = (("test", split["test"]), ("val", split["test"] + split["val"]), ("train", 1.0))
        expected = moved.get(group) or next(name for name, bound in bounds if position < bound)
        if part != expected:
            wrong.append((group, part, expected))
    if wrong:
        group, part, expected = min(wrong)
        yield (
            f"{counted(len(wrong), 'group is', 'groups are')} not where the hash of seed {split['seed']} puts them,"
            f" such as {group}: {part}, not {expected}"
        )


def _certificate(manifest: Manifest, split: Params) -> Iterator[str]:
    """What the certificate states is what the rows give."""
    stated = split.get("certificate")
    if stated is None:
        yield f"the split has none; {AGAIN}"
        return
    kept = manifest.kept_with("image_id", "group", "split", "country", "lat", "lon")
    if kept.select("group", "split").null_count().sum_horizontal()[0]:
        yield "it cannot be derived where kept rows have no group or no split"
        return
    if kept.height < stated["photos"]:
        gone = stated["photos"] - kept.height
        yield f"of its {stated['photos']:,} photos {gone:,} left out since; {AGAIN}"
        return
    shares = {name: split[name] for name in ("val", "test")}
    if stated["seed"] != split["seed"] or stated["shares"] != shares:
        yield "it names another seed or other shares than the step it belongs to"
    digest = hashlib.sha256()
    for row in kept.select("image_id", "split", "group").sort("image_id", "split", "group").iter_rows():
        digest.update(("\x1f".join(row) + "\x1e").encode())
    if digest.hexdigest() != stated["assignment_sha256"]:
        yield "the hash of the assignment differs: a row's split, group or name was changed after the split"
    yield from _counts(kept, stated)
    yield from _places(kept, stated)


def _counts(kept: pl.DataFrame, stated: dict[str, Any]) -> Iterator[str]:
    sizes = Counter(kept["group"])
    largest, claims = max(sizes.values(), default=0), stated["largest_group"].get("photos", 0)
    if len(sizes) != stated["groups"] or largest != claims:
        yield (
            f"it states {stated['groups']:,} groups, the largest of {claims:,} photos;"
            f" the rows give {len(sizes):,} and {largest:,}"
        )
    found = Counter(kept.select("split", "country").iter_rows())
    claimed = {(part, code): n for part, codes in stated["countries"].items() for code, n in codes.items()}
    if found != claimed:
        part, code = min((key for key in found.keys() | claimed.keys() if found.get(key) != claimed.get(key)), key=str)
        yield (
            f"it states {claimed.get((part, code), 0):,} {part} photos of {code}; the rows give {found[part, code]:,}"
        )


def _places(kept: pl.DataFrame, stated: dict[str, Any]) -> Iterator[str]:
    """The distances between splits are those stated, and longer than the radius that ties."""
    radius = stated["rules"]["radius_m"] / 1000
    placed = kept.filter(pl.col("lat").is_finite() & pl.col("lon").is_finite())
    for a, b in combinations(("train", "val", "test"), 2):
        left, right = (placed.filter(pl.col("split") == part).select("lat", "lon").to_numpy() for part in (a, b))
        claimed = stated["nearest_km"][f"{a}-{b}"]
        found = _nearest(left, right)
        if (found is None) != (claimed is None) or (found is not None and abs(found - claimed) > 2e-6):
            yield f"it states {_km(claimed)} between {a} and {b}; the rows give {_km(found)}"
        if found is not None and radius and found <= radius * (1 - 1e-9):
            yield f"a photo of {a} and one of {b} are {_km(found)} apart, within the {radius:g} km that tie"


def _nearest(left: NDArray[np.float64], right: NDArray[np.float64]) -> float | None:
    """Shortest distance in kilometres between two sets of points, N×2 and M×2 in degrees; None for an empty one."""
    from scipy.spatial import KDTree

    if not len(left) or not len(right):
        return None
    left, right = np.unique(left, axis=0), np.unique(right, axis=0)
    apart_N, nearest_N = KDTree(unit(*right.T)).query(unit(*left.T))
    row = apart_N.argmin()
    return float(haversine_km(*left[row], *right[nearest_N[row]]))


def _km(distance: float | None) -> str:
    return "no distance" if distance is None else f"{distance:,.6g} km"


RULES: dict[str, tuple[str | None, Callable[[Manifest, Params], Iterator[str]]]] = {
    "history": (None, _history),
    "countries": (None, _countries),
    "duplicates": ("clean", _duplicates),
    "groups": ("split", _groups),
    "near-duplicates": ("split", _near_duplicates),
    "split": ("split", _positions),
    "certificate": ("split", _certificate),
    "balance": ("balance", _balance),
}
"""Each with the step that must have run, whose parameters it is given."""
CHECKS = len(RULES) + 2  # and the schema and the files
