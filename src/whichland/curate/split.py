"""Tie related images into groups, put each whole group into train, val or test, and certify it.

A split's certificate says what was done, what holds, and has a hash by which any later change shows. It stands in the
history of the manifest, beside the settings of `split`, and in the bundle of every model that was trained from it
(`whichland.json`, `split_certificate`). `curate.check` derives it anew by other code.
"""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import combinations
from math import ceil, floor
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whichland.curate.links import SplitConfig as SplitConfig
from whichland.curate.links import links
from whichland.curate.pairs import connected_components, nearest_km
from whichland.errors import UserError
from whichland.manifest import Manifest, sequence_key, with_empty
from whichland.printed import counted

SPLITS = ("train", "val", "test")
FORMAT = 1  # of the certificate; raise it when a field changes its meaning
CHUNK = 200_000  # rows hashed at once
TYING = ("sha256", "phash", "brightness", "contrast")  # what serves to tie rows together alone
SEEN = (
    *("image_id", "source", "sequence", "panorama", "lat", "lon", "country", "drop_reason", "group", "split"),
    *TYING,
)
READ = ("image_id", "group", "split", "drop_reason", "weight", "rank")  # what is written, removed or counted
REPEATED = ("duplicate", "near_duplicate")
LARGE_SHARE, LARGE_COUNTRY = 0.1, 100  # a group this large a part of a country of so many photos is reported
SLACK = 0.1  # a country's share of groups may differ from the one asked for by this part of it
PART = pl.Enum(SPLITS)  # their order: where two disagree, the first wins
TRAIN, VAL, TEST = range(len(SPLITS))

Parts = NDArray[np.int64]  # index into SPLITS


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
    line = pl.concat_str("image_id", "split", "group", separator="\x1f", ignore_nulls=True) + "\x1e"
    order, digest = kept["image_id"].arg_sort(), hashlib.sha256()
    for start in range(0, kept.height, CHUNK):
        rows = kept.select(pl.col("image_id", "split", "group").gather(order[start : start + CHUNK]))
        digest.update("".join(rows.select(line).to_series()).encode())
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


def split(
    manifest: Manifest, config: SplitConfig | None = None, features: NDArray[np.float32] | None = None
) -> Manifest:
    """Write `group` and `split` of the kept rows; dropped rows have neither.

    A group is a connected component over `links.LINK_RULES`. Its name is the smallest sequence key in it, else
    its smallest image_id; a group that was named in an earlier split keeps its name. Its split is where the hash
    of (seed, name) falls, repaired for countries that would be far from their shares (`stratify`); it does not
    depend on the order of the rows. A group that has a split by an earlier run with the same seed and shares, on
    this table or on one that was merged into it, keeps it; where a new image ties two such groups together, train
    wins, then val: a model trained on the earlier split is never tested on what it has seen.

    The certificate stands in the step's parameters. `weight` and `rank` of an earlier run are removed. Warns on
    stderr of countries without test or val photos and of groups that are a large part of a country.
    """
    config = config or SplitConfig()
    if config.near_duplicate_cosine is not None and features is None:
        raise UserError("near_duplicate_cosine: give the photos' features, with `whichland data split --features`")
    manifest.require("drop_reason", "phash", "country", hint="run `whichland data clean` first")
    manifest.require("sequence", "lat", "lon", hint="a table of your own needs it, empty where it is not known")
    frame = manifest.frame.drop("weight", "rank", strict=False)
    # A repeated photo is left out itself, but its sequence still ties images together.
    linked = (
        with_empty(manifest.whole, "panorama", "group", "split")
        .select(SEEN)  # the rest would be copied for nothing
        .with_row_index("_row")
        .filter(pl.col("drop_reason").is_null() | pl.col("drop_reason").is_in(REPEATED))
        .collect()
    )
    if features is not None:
        linked = linked.with_columns(features=features[linked["_row"].to_numpy()])
    if strange := linked["phash"].null_count():
        raise UserError(f"kept rows without a phash: {strange}; run `whichland data measure` and `clean` first")
    earlier = earlier_splits(linked, manifest, seed=config.seed, val=config.val, test=config.test)
    component = pl.Series(connected_components(linked.height, links(linked, config)))
    linked = linked.drop(TYING, "features", strict=False).with_columns(
        _component=component, _earlier=earlier.cast(PART)
    )
    kept = linked.filter(pl.col("drop_reason").is_null())
    kept = kept.with_columns(_names(kept, linked))
    groups = _groups(kept, linked, config)
    kept = kept.drop("split").join(
        groups.select("_component", "split"), on="_component", how="left", maintain_order="left"
    )
    rows = frame.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias("_row"))
    assigned = rows.join(kept.select("_row", "group", "split"), on="_row", how="left", maintain_order="left")
    for line in _warnings(kept, config):
        print(f"warning: {line}", file=sys.stderr)
    parameters = _parameters(kept, groups, config, linked.height)
    return manifest.with_step("split", frame.with_columns(assigned.drop("_row")), **parameters)


def _groups(kept: pl.DataFrame, linked: pl.DataFrame, config: SplitConfig) -> pl.DataFrame:
    """A row a group: `_component`, `group`, `country` (that of most of its photos), `position`, `split`."""
    countries = kept.group_by("_component", "country").len().sort("len", "country", descending=[True, False])
    groups = (
        kept.select("_component", "group")
        .unique()
        .join(linked.group_by("_component").agg(earlier=pl.col("_earlier").min()), on="_component")
        .join(countries.unique("_component", keep="first", maintain_order=True), on="_component")
        .sort("group")
    )
    positions = [position_of(name, config.seed) for name in groups["group"]]
    groups = groups.with_columns(position=pl.Series(positions, dtype=pl.Float64))
    return groups.with_columns(split=stratify(groups, val=config.val, test=config.test))


def _names(kept: pl.DataFrame, linked: pl.DataFrame) -> pl.Series:
    """Return the `group` name of each row of `kept`; those of an earlier run stand in `linked`, repetitions too."""
    key = pl.lit("sequence/") + sequence_key()
    fresh = pl.coalesce(key.min().over("_component"), pl.col("image_id").min().over("_component"))
    old = (
        linked.drop_nulls("group")
        .sort("_earlier", "group", nulls_last=True)
        .unique("_component", keep="first", maintain_order=True)
        .select("_component", _old="group")
    )
    kept = kept.with_columns(_fresh=fresh).join(old, on="_component", how="left", maintain_order="left")
    # Two components can claim one name when ties are fewer than before: only the one that holds its key may.
    claims = kept.select("_component", "_fresh", "_old").unique().drop_nulls("_old")
    claimed = pl.col("_old").is_duplicated() | pl.col("_old").is_in(kept["_fresh"].unique().implode())
    torn = claims.filter(claimed & (pl.col("_old") != pl.col("_fresh")))["_component"]
    keep_old = ~pl.col("_component").is_in(torn.implode())
    return kept.select(group=pl.coalesce(pl.when(keep_old).then("_old"), "_fresh"))["group"]


def _parameters(kept: pl.DataFrame, groups: pl.DataFrame, config: SplitConfig, rows: int) -> dict[str, Any]:
    """What the history says of the step: the settings as they were used, and the certificate."""
    used = asdict(config) | {"near_duplicate_distance": config.distance_for(rows)}
    used["near_duplicate_closer"] = [list(step) for step in config.closer_for(rows)]
    stand = groups.select("group", "position", "split").iter_rows()
    moved = {group: part for group, position, part in stand if split_at(position, config.val, config.test) != part}
    rules = dict.fromkeys(("sequence", "panorama", "same_bytes"), True)
    rules |= {name: used[name] for name in used if name.startswith(("radius", "near_duplicate"))}
    shares = {"val": config.val, "test": config.test}
    return used | {"certificate": certify(kept, seed=config.seed, shares=shares, rules=rules, moved=moved)}


def _warnings(kept: pl.DataFrame, config: SplitConfig) -> Iterator[str]:
    """Say what should make one doubt the split."""
    tied = pl.any_horizontal(pl.col("sequence", "lat", "panorama").is_not_null())
    for source, ties, photos in kept.group_by("source").agg(tied.any(), photos=pl.len()).sort("source").iter_rows():
        if not ties:
            yield (
                f"none of the {photos:,} photos of {source!r} has a sequence or coordinates, so photos of one"
                " drive may stand in different splits; put each drive into a folder of its own below the country, or"
                " give a table with a column `sequence`"
            )
    countries = set(kept["country"].unique())
    for part in ("val", "test"):
        missing = sorted(countries - set(kept.filter(pl.col("split") == part)["country"].unique()))
        if missing and getattr(config, part) > 0:
            what = f"no {part} photo in {len(missing)} of {counted(len(countries), 'country', 'countries')}"
            yield f"{what}, having too few groups: {_some(missing)}"
    # a group that decides alone what a country is trained or judged on: chains of near places do that
    share = pl.col("len") / pl.col("len").sum().over("country")
    large = (
        kept.group_by("country", "group")
        .len()
        .with_columns(share=share, of=pl.col("len").sum().over("country"))
        .filter(pl.col("share") > LARGE_SHARE, pl.col("of") >= LARGE_COUNTRY)
        .sort("share", "country", descending=[True, False])
        .unique("country", keep="first", maintain_order=True)
    )
    if large.height:
        what = f"one group holds more than {LARGE_SHARE:.0%} of a country's photos"
        listed = [f"{country} {part:.0%}" for country, part in large.select("country", "share").iter_rows()]
        yield f"{what}; a smaller --radius-m makes smaller groups: {_some(listed)}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (" …" if len(names) > 12 else "")


def earlier_splits(frame: pl.DataFrame, manifest: Manifest, *, seed: int, val: float, test: float) -> pl.Series:
    """The split that each row of `frame` has by earlier runs with the same seed and shares; null where none binds.

    What a model was trained on must not become what it is tested on. A row that lost its split but not its group,
    being merged into another table or having given way to a better copy, has the one that the certificate of that
    run gives its group. Where tables were split in different ways before they were merged, nothing binds: the name
    of a group does not say which run it is from.
    """
    runs = list(_runs(manifest.history[0].params, manifest.last("split"))) if manifest.history else []
    wanted = {"seed": seed, "val": val, "test": test}
    if not runs or any(run.get(name) != value for run in runs for name, value in wanted.items()):
        return pl.Series("earlier", [None] * frame.height, dtype=pl.String)
    names = frame.filter(pl.col("split").is_null())["group"].drop_nulls().unique()
    moves = [(run.get("certificate") or {}).get("moved", {}) for run in runs]
    known = [_earlier_split(name, moves, seed=seed, val=val, test=test) for name in names]
    by_group = pl.col("group").replace_strict(names, known, default=None, return_dtype=pl.String)
    return frame.select(earlier=pl.coalesce("split", by_group))["earlier"]


def _runs(begun: dict[str, Any], own: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """The parameters of a table's last split, or else of those of the tables that it was merged from."""
    if own is not None:
        yield own
        return
    for table in begun.get("inputs", ()):
        history = table["history"]
        last = next((line["params"] for line in reversed(history) if line["step"] == "split"), None)
        yield from _runs(history[0]["params"] if history else {}, last)


def _earlier_split(group: str, moves: Sequence[dict[str, str]], *, seed: int, val: float, test: float) -> str:
    """Where a group stood: as its hash has it unless it was moved. Where two tables may disagree train wins."""
    fell = split_at(position_of(group, seed), val, test)
    return min((moved.get(group, fell) for moved in moves), key=SPLITS.index)


def position_of(group: str, seed: int) -> float:
    """Where the hash of (seed, name) falls in [0, 1): the test begins at 0, then comes val, then train."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{group}".encode()).digest()[:8], "big") / 2**64


def split_at(position: float, val: float, test: float) -> str:
    """The split that a position falls into."""
    if position < test:
        return "test"
    return "val" if position < test + val else "train"


def stratify(groups: pl.DataFrame, *, val: float, test: float) -> pl.Series:
    """Return the split of each group of a table with `country`, `position` and `earlier` (a split or null).

    A group that has an earlier split keeps it. Of the others, a country's smallest positions go to the test, the
    next to val: as many as fall there by themselves, unless that is less or more than the country's share allows
    (see `_taken`). So the splits of a country with many groups are those of the hash alone, whatever other
    groups there are, and a country with few has photos to be judged by. A country's only group is for training.
    """
    rows = groups.with_row_index("_row").sort("country", "position", "_row")
    fixed = pl.col("earlier").cast(PART).to_physical().cast(pl.Int64).fill_null(-1)
    parts = [np.empty(0, np.int64)]
    for _, country in rows.select("country", "position", fixed).group_by("country", maintain_order=True):
        parts.append(_of_country(country["position"].to_numpy(), country["earlier"].to_numpy(), val, test))
    names = pl.Series(np.array(SPLITS)[np.concatenate(parts)], dtype=pl.String)
    return pl.DataFrame({"_row": rows["_row"], "split": names}).sort("_row")["split"]


def _of_country(position: NDArray[np.float64], fixed: Parts, val: float, test: float) -> Parts:
    """The splits of one country's groups, which come by position."""
    free, count = np.flatnonzero(fixed < 0), len(fixed)
    held = np.bincount(fixed[fixed >= 0], minlength=3)
    drawn = position[free]
    room = count - (1 if count < 3 or val == 0 else 2)
    to_test = _taken((drawn < test).sum(), held[TEST], test, count, least=2, room=room, free=free.size)
    falls, room = ((drawn >= test) & (drawn < test + val)).sum(), count - 1 - held[TEST] - to_test
    to_val = _taken(falls, held[VAL], val, count, least=3, room=room, free=free.size - to_test)
    parts = fixed.copy()
    parts[free] = TRAIN
    parts[free[:to_test]] = TEST
    parts[free[to_test : to_test + to_val]] = VAL
    return parts


def _taken(falls: int, held: int, share: float, count: int, *, least: int, room: int, free: int) -> int:
    """How many of a country's `free` groups, of `count` in all, go to a split that has `held` ones already.

    As many as fall there, but all in all within `SLACK` of the share, and at least one where the country has `least`
    groups; `room` is what the other splits leave: none, where earlier runs have given it all away.
    """
    low = high = 0
    if share and count >= least:
        high = max(0, min(ceil(share * count * (1 + SLACK)), room))
        low = min(max(1, floor(share * count * (1 - SLACK))), high)
    return int(np.clip(np.clip(falls, low - held, max(high - held, 0)), 0, free))
