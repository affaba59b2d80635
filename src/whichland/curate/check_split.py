"""Derive a split anew from the manifest alone: ties, places, hashes and the certificate.

It shares no code with `split`, but for two searches above the sizes named here, where plain comparison would take
hours. A certificate is no signature: who rewrites the table and the certificate together is found out only by
what ties and hashes say.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whichland.curate.duplicates import near_duplicate_pairs
from whichland.curate.places import nearest_km
from whichland.geo.distance import KM_PER_DEGREE, haversine_km
from whichland.manifest import Manifest

PLAIN_SEARCH = 40_000  # up to so many kept rows, near-duplicates are sought by comparing every pair
PLAIN_DISTANCES = 300_000_000  # up to so many pairs of like latitude, distances are computed for all of them
AT_ONCE = 4_000_000
REPEATED = ("duplicate", "near_duplicate")  # they keep their group until the next split
AGAIN = "run `whichland data split` again: groups keep their splits"


def groups(manifest: Manifest) -> Iterator[str]:
    """Every kept row, and only those, has a group and a split; nothing that is one stands in two splits."""
    if manifest.last("split") is None:
        return
    frame = manifest.frame
    dropped = pl.col("drop_reason").is_not_null()
    for column in ("group", "split"):
        if missing := frame.filter(~dropped & pl.col(column).is_null()).height:
            yield f"{missing} kept rows have no {column}"
        repeated = pl.col("drop_reason").is_in(REPEATED) if column == "group" else pl.lit(False)
        if stray := frame.filter(dropped & ~repeated & pl.col(column).is_not_null()).height:
            yield f"{stray} dropped rows have a {column}"
    for column in ("group", "sequence", "panorama", "sha256"):
        if column not in frame.columns:
            continue
        parts = manifest.kept.drop_nulls([column, "split"]).group_by(column).agg(pl.col("split").unique().sort())
        torn = parts.filter(pl.col("split").list.len() > 1).sort(column)
        if torn.height:
            name, where = torn.row(0)
            yield f"{torn.height} {column}s stand in several splits, such as {name} in {' and '.join(where)}"


def near_duplicates(manifest: Manifest) -> Iterator[str]:
    """No near-duplicates stand in different splits."""
    split = manifest.last("split")
    if split is None or split["near_duplicate_distance"] < 0:
        return
    kept = manifest.kept.drop_nulls("split")
    pairs = _similar(kept, split["near_duplicate_distance"], split["near_duplicate_tone"])
    part, names = kept["split"].to_numpy(), kept["image_id"]
    torn = pairs[part[pairs[:, 0]] != part[pairs[:, 1]]]
    if len(torn):
        left, right = (names[int(row)] for row in torn[0])
        yield f"{len(torn)} pairs of near-duplicates stand in different splits, such as {left} and {right}"


def _similar(kept: pl.DataFrame, distance: int, tone: float) -> NDArray[np.int64]:
    """All near-duplicate pairs; by plain comparison, which owes nothing to the search of `split`, where it can."""
    phash, tones = kept["phash"].to_numpy(), kept.select("brightness", "contrast").to_numpy()
    if kept.height > PLAIN_SEARCH:
        return near_duplicate_pairs(phash, distance, tones, tone)
    found = [np.empty((0, 2), dtype=np.int64)]
    for row in range(kept.height - 1):
        near = np.bitwise_count(phash[row + 1 :] ^ phash[row]) <= distance
        others = row + 1 + np.flatnonzero(near)
        others = others[np.all(np.abs(tones[others] - tones[row]) <= tone, axis=1)]
        found.append(np.column_stack([np.full(others.size, row), others]))
    return np.concatenate(found)


def positions(manifest: Manifest) -> Iterator[str]:
    """Every group is where the hash of (seed, name) puts it, or where the certificate says it was moved to."""
    split = manifest.last("split")
    if split is None:
        return
    moved = split.get("certificate", {}).get("moved", {})
    wrong = []
    rows = manifest.kept.drop_nulls(["group", "split"]).select("group", "split").unique()
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
            f"{len(wrong)} groups are not where the hash of seed {split['seed']} puts them,"
            f" such as {group}: {part}, not {expected}"
        )


def certificate(manifest: Manifest) -> Iterator[str]:
    """What the certificate states is what the rows give."""
    split = manifest.last("split")
    if split is None:
        return
    stated = split.get("certificate")
    if stated is None:
        yield f"the split has none; {AGAIN}"
        return
    kept = manifest.kept
    if not {"group", "split"} <= set(kept.columns) or kept.select("group", "split").null_count().sum_horizontal()[0]:
        yield "it cannot be derived where kept rows have no group or no split"
        return
    if kept.height < stated["photos"]:
        gone = stated["photos"] - kept.height
        yield f"{gone:,} of its {stated['photos']:,} photos have been left out since; {AGAIN}"
        return
    shares = {name: split[name] for name in ("val", "test")}
    if stated["seed"] != split["seed"] or stated["shares"] != shares:
        yield "it names another seed or other shares than the step it belongs to"
    if _assignment(kept) != stated["assignment_sha256"]:
        yield "the hash of the assignment differs: a row's split, group or name was changed after the split"
    yield from _counts(kept, stated)
    yield from _places(kept, stated)


def _assignment(kept: pl.DataFrame) -> str:
    digest = hashlib.sha256()
    for row in sorted(kept.select("image_id", "split", "group").iter_rows()):
        digest.update(("\x1f".join(row) + "\x1e").encode())
    return digest.hexdigest()


def _counts(kept: pl.DataFrame, stated: dict[str, Any]) -> Iterator[str]:
    sizes = Counter(kept["group"].to_list())
    largest = max(sizes.values(), default=0)
    if len(sizes) != stated["groups"] or largest != stated["largest_group"].get("photos", 0):
        yield (
            f"it states {stated['groups']:,} groups, the largest of {stated['largest_group'].get('photos', 0):,}"
            f" photos; the rows give {len(sizes):,} and {largest:,}"
        )
    found = Counter(zip(kept["split"].to_list(), kept["country"].to_list(), strict=True))
    told = {(part, code): n for part, codes in stated["countries"].items() for code, n in codes.items()}
    if found != told:
        part, code = min((key for key in found.keys() | told.keys() if found.get(key) != told.get(key)), key=str)
        yield (f"it states {told.get((part, code), 0):,} {part} photos of {code}; the rows give {found[part, code]:,}")


def _places(kept: pl.DataFrame, stated: dict[str, Any]) -> Iterator[str]:
    """The distances between splits are those stated, and longer than the radius that ties."""
    radius = stated["rules"]["radius_m"] / 1000
    placed = kept.filter(pl.col("lat").is_finite() & pl.col("lon").is_finite())
    for a, b in combinations(("train", "val", "test"), 2):
        left, right = (placed.filter(pl.col("split") == part).select("lat", "lon").to_numpy() for part in (a, b))
        told = stated["nearest_km"][f"{a}-{b}"]
        found = _nearest(left, right, told)
        if (found is None) != (told is None) or (found is not None and abs(found - told) > 2e-6):
            yield f"it states {_km(told)} between {a} and {b}; the rows give {_km(found)}"
        if found is not None and radius and found <= radius * (1 - 1e-9):
            yield f"a photo of {a} and one of {b} are {_km(found)} apart, within the {radius:g} km that tie"


def _nearest(left: NDArray[np.float64], right: NDArray[np.float64], told: float | None) -> float | None:
    """Shortest distance in kilometres between two sets of points; all pairs of like latitude are computed."""
    if not len(left) or not len(right):
        return None
    reach = (np.inf if told is None else told + 0.001) / KM_PER_DEGREE
    right = right[np.argsort(right[:, 0])]
    low = np.searchsorted(right[:, 0], left[:, 0] - reach)
    counts = np.searchsorted(right[:, 0], left[:, 0] + reach, side="right") - low
    if counts.sum() > PLAIN_DISTANCES:
        both = np.concatenate([left, right])
        here = np.arange(len(both)) < len(left)
        return nearest_km(both[:, 0], both[:, 1], here, ~here)
    least = np.inf
    for part in np.split(np.arange(len(left)), np.flatnonzero(np.diff(np.cumsum(counts) // AT_ONCE)) + 1):
        mine = np.repeat(part, counts[part])
        behind = np.repeat(np.cumsum(counts[part]) - counts[part], counts[part])
        theirs = low[mine] + np.arange(mine.size) - behind
        km = haversine_km(left[mine, 0], left[mine, 1], right[theirs, 0], right[theirs, 1])
        least = min(least, float(km.min(initial=np.inf)))
    return least if np.isfinite(least) else _nearest(left, right, None)  # what was told is too short


def _km(distance: float | None) -> str:
    return "no distance" if distance is None else f"{distance:,.6g} km"


SPLIT_RULES = {"groups": groups, "near-duplicates": near_duplicates, "split": positions, "certificate": certificate}
