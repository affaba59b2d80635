"""A split's certificate: what was done, what holds, and a hash by which any later change shows.

It stands in the history of the manifest, beside the settings of `split`, and in the bundle of every model that was
trained from it (`whichland.json`, `split_certificate`). `curate.check` derives it anew by other code.
"""

import hashlib
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from whichland.curate.pairs import nearest_km
from whichland.manifest import Manifest

SPLITS = ("train", "val", "test")
FORMAT = 1  # of the certificate; raise it when a field changes its meaning
CHUNK = 200_000  # rows hashed at once


def certify(
    kept: pl.DataFrame, *, seed: int, shares: dict[str, float], rules: dict[str, Any], moved: dict[str, str]
) -> dict[str, Any]:
    """Return the certificate of the kept rows, which have `group` and `split`, as JSON holds it."""
    from whichland import __version__

    sizes = kept.group_by("group").len().sort("len", "group", descending=[True, False])
    counts = kept.group_by("split", "country").len().sort("split", "country")
    return {
        "format": FORMAT,
        "version": __version__,
        "seed": seed,
        "shares": shares,  # asked for, of the groups of each country: val, test
        "rules": rules,  # what ties photos together, with each rule's settings
        "photos": kept.height,
        "groups": sizes.height,
        "largest_group": dict(zip(("name", "photos"), sizes.row(0), strict=True)) if kept.height else {},
        "nearest_km": distances(kept),  # shortest distance between two splits; None without coordinates
        "countries": {
            part: dict(counts.filter(pl.col("split") == part).select("country", "len").iter_rows()) for part in SPLITS
        },
        "moved": moved,  # groups that do not stand where their hash puts them, each with its split
        "assignment_sha256": assignment_hash(kept),
    }


def assignment_hash(kept: pl.DataFrame) -> str:
    """SHA-256 of who stands where: image_id, split and group of every kept row, in order of image_id.

    The three are parted by the unit separator (1F), each row ends with the record separator (1E), all in UTF-8.
    """
    named = kept.select("image_id", "split", "group").sort("image_id")
    lines = named.select(pl.concat_str("image_id", "split", "group", separator="\x1f", ignore_nulls=True) + "\x1e")
    digest = hashlib.sha256()
    for part in lines.to_series().rename("line").to_frame().iter_slices(CHUNK):
        digest.update("".join(part["line"].to_list()).encode())
    return digest.hexdigest()


def distances(kept: pl.DataFrame) -> dict[str, float | None]:
    """Shortest distance in kilometres between photos of each two splits."""
    lat, lon = kept["lat"].to_numpy(), kept["lon"].to_numpy()  # null is NaN
    inside = {part: (kept["split"] == part).to_numpy() for part in SPLITS}
    found = {f"{a}-{b}": nearest_km(lat, lon, inside[a], inside[b]) for a, b in combinations(SPLITS, 2)}
    return {pair: None if km is None else float(np.round(km, 6)) for pair, km in found.items()}


def certificate_of(manifest: Manifest) -> dict[str, Any] | None:
    """The certificate that the last split of a manifest wrote, as plain values; None without one."""
    return (manifest.last("split") or {}).get("certificate")


def difference(trained: dict[str, Any] | None, judged: Manifest) -> str | None:
    """Say in one line how the split that a model was trained from differs from a manifest's; None: it does not.

    The manifest's hash is computed from its rows, so a row that was changed after the split shows here too. A
    model without a certificate has nothing to compare.
    """
    if trained is None:
        return None
    held = certificate_of(judged)
    if held is None:
        return "this manifest has no split certificate: its photos may have been trained on"
    kept = judged.kept
    found = assignment_hash(kept) if {"group", "split"} <= set(kept.columns) else ""
    if found == trained["assignment_sha256"]:
        return None
    seeds = f"seed {trained['seed']}, {trained['groups']:,} groups, {trained['assignment_sha256'][:12]}"
    here = f"seed {held['seed']}, {held['groups']:,} groups, {found[:12]}"
    return (
        f"the model was trained from another split ({seeds}) than this manifest's ({here}):"
        " its photos may have been trained on"
    )
