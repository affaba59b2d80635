"""The figures of docs/decisions/splits.md that no other benchmark makes; each command prints its Markdown table.

    python benchmarks/splits.py places POINTS.csv         # groups by radius, of points with lat and lon
    python benchmarks/splits.py strangers MANIFEST        # near-duplicates that are of two countries
    python benchmarks/splits.py search 200000 1000000     # time of the search on random hashes
    python benchmarks/splits.py shares MANIFEST           # how near three ways of dividing come to the shares

POINTS.csv has the columns lat, lon, and country or country_name; MANIFEST went through `data prepare`.
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import polars as pl

from whichland.curate.pairs import connected_components, near_duplicate_batches, pairs_within
from whichland.curate.split import SPLITS, SplitConfig, position_of, split_at, stratify
from whichland.manifest import read

RADII_M = (10, 25, 50, 100, 200, 1000)
BITS = (12, 10, 8, 6, 4)
TONES = (SplitConfig().near_duplicate_tone, 0.02, 0.03, 1.0)
SEEDS = 20
SHARE = 0.15
WAYS = ("hash alone", "hash, a tenth of slack", "exact quantiles of the hash")


def places(file: Path) -> None:
    """Groups that coordinates alone make."""
    points = pl.read_csv(file, infer_schema_length=None)
    country = points["country" if "country" in points.columns else "country_name"]
    lat, lon = (points[name].cast(pl.Float64).to_numpy() for name in ("lat", "lon"))
    print(f"{points.height:,} points of {country.n_unique()} countries")
    print("| radius, m | groups | largest, photos | tied to another | most of a country in one group |")
    print("|---|---|---|---|---|")
    for radius in RADII_M:
        group = connected_components(points.height, pairs_within(lat, lon, radius))
        table = pl.DataFrame({"country": country, "group": group})
        sizes = table.group_by("group").len()["len"]
        shares = table.group_by("country", "group").len().with_columns(of=pl.col("len").sum().over("country"))
        most = shares.filter(pl.col("of") >= 100).select((pl.col("len") / pl.col("of")).max()).item() or 0
        tied = sizes.filter(sizes > 1).sum()
        print(f"| {radius:,} | {len(sizes):,} | {sizes.max()} | {tied:,} | {most:.0%} |")


def strangers(file: Path) -> None:
    """Pairs of photos of two countries, which cannot be one place, whose hashes are alike."""
    kept = read(file).kept.select("phash", "brightness", "contrast", "country")
    phash, country = kept["phash"].to_numpy(), kept["country"].rank("dense").to_numpy()
    tones = kept.select("brightness", "contrast").to_numpy()
    asked, found = 0, np.zeros((len(BITS), len(TONES)), dtype=np.int64)
    for row in range(kept.height - 1):
        other = row + 1 + np.flatnonzero(country[row + 1 :] != country[row])
        bits = np.bitwise_count(phash[other] ^ phash[row])
        asked += other.size
        near = bits <= max(BITS)
        apart = np.abs(tones[other[near]] - tones[row]).max(axis=1)
        found += [[((bits[near] <= most) & (apart <= tone)).sum() for tone in TONES] for most in BITS]
    like, every = found[:, 0], found[:, -1]
    share = like[0] / max(every[0], 1)
    print(f"{asked:,} pairs of two countries")
    print(f"| bits | {' | '.join(f'tones within {tone:g}' for tone in TONES[:-1])} | at any tone |", end=" ")
    print("with like tones, per pair (about) | photos until one in ten has such a stranger |")
    print("|---" * (len(TONES) + 3) + "|")
    for at, most in enumerate(BITS):
        chance = every[at] * share / asked
        print(
            f"| {most} | {' | '.join(map(str, found[at]))} | {chance:.1e} | {0.1 / chance if chance else np.inf:,.0f} |"
        )


def search(rows: list[int]) -> None:
    """Time the search for near-duplicates among random hashes, with tones spread like those of real photos."""
    random = np.random.default_rng(0)
    print("| hashes | bits, at any tone | pairs | seconds | peak memory of the process, GB |")
    print("|---|---|---|---|---|")
    for count in rows:
        phash = random.integers(0, 2**64, count, dtype=np.uint64)
        tones = np.column_stack([random.normal(0.5, 0.09, count), random.normal(0.19, 0.045, count)])
        config, begun = SplitConfig(), time.perf_counter()
        bits, closer = config.distance_for(count), config.closer_for(count)
        pairs = sum(map(len, near_duplicate_batches(phash, bits, tones, config.near_duplicate_tone, closer)))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"| {count:,} | {bits}, {closer[0][0]} | {pairs} | {time.perf_counter() - begun:.1f} | {peak:.1f} |")


def shares(file: Path) -> None:
    """Divide the groups of a manifest with twenty seeds in three ways; then those of made-up small countries."""
    groups = read(file).kept.group_by("group").agg(pl.col("country").mode().sort().first()).sort("group")
    print(f"{groups.height:,} groups of {groups['country'].n_unique()} countries, {SEEDS} seeds")
    _shares_of(groups, moves=True)
    tail = [(f"c{n:02}", f"c{n:02}/{at}") for n in range(90) for at in range(1 + n * n // 120)]
    print(f"\n90 countries of 1 to {1 + 89 * 89 // 120} groups, of which those with three or more are judged")
    _shares_of(pl.DataFrame(tail, schema=["country", "group"], orient="row"), moves=False)


def _shares_of(groups: pl.DataFrame, *, moves: bool) -> None:
    off: dict[str, list[tuple[float, float, float, float, int]]] = {way: [] for way in WAYS}
    moved: dict[tuple[str, float], list[tuple[int, int, int]]] = {
        (way, part): [] for way in WAYS for part in (0.5, 0.1)
    }
    for seed in range(SEEDS):
        whole = _divided(groups, seed)
        for way in WAYS:
            found = whole.group_by("country").agg(
                pl.len(), *((pl.col(way) == part).mean().alias(part) for part in ("val", "test"))
            )
            found = found.filter(pl.col("len") >= 3)
            part = found.select("val", "test").to_numpy()
            away = np.abs(part - SHARE) * 100
            off[way].append((away.mean(), away.max(), *_span(part[:, 1]), int((part == 0).sum())))
        for share in (0.5, 0.1) if moves else ():
            few = _divided(groups.sample(fraction=share, seed=seed), seed)
            both = few.join(whole, on="group", suffix="_grown")
            for way in WAYS:
                old, new = both[way], both[f"{way}_grown"]
                lost = int(((old == "train") & (new == "test")).sum())
                moved[way, share].append((int((old != new).sum()), lost, both.height))
    print(
        "| | off the share, mean | worst country (mean over seeds) | share of the test | empty splits a seed |", end=""
    )
    print(" moved when doubled | …tenfold | of them train → test |" if moves else "")
    print("|---|---|---|---|---|" + ("---|---|---|" if moves else ""))
    for way in WAYS:
        mean, worst, least, most, empty = np.array(off[way]).T
        line = f"| {way} | {mean.mean():.1f} points | {worst.mean():.1f} |"
        line += f" {least.min():.1f} to {most.max():.1f} % | {empty.mean():.1f} |"
        for share in (0.5, 0.1) if moves else ():
            went, _, of = np.sum(moved[way, share], axis=0)
            line += f" {went / of:.1%} of {of // SEEDS:,} |"
        if moves:
            lost = [np.sum(moved[way, share], axis=0) for share in (0.5, 0.1)]
            line += " " + "; ".join(f"{from_train / of:.1%}" for _, from_train, of in lost) + " |"
        print(line)


def _span(part: np.ndarray) -> tuple[float, float]:
    return float(part.min()) * 100, float(part.max()) * 100


def _divided(groups: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The groups with a column for each of `WAYS`."""
    position = pl.Series("position", [position_of(name, seed) for name in groups["group"]], dtype=pl.Float64)
    groups = groups.with_columns(position, pl.lit(None, dtype=pl.String).alias("earlier"))
    alone = pl.Series(WAYS[0], [split_at(at, SHARE, SHARE) for at in position], dtype=pl.String)
    count, rank = pl.len().over("country"), pl.col("position").rank("ordinal").over("country") - 1
    exact = pl.when(rank < (SHARE * count).round()).then(pl.lit("test"))
    exact = exact.when(rank < (2 * SHARE * count).round()).then(pl.lit("val")).otherwise(pl.lit(SPLITS[0]))
    slack = stratify(groups, val=SHARE, test=SHARE).alias(WAYS[1])
    return groups.with_columns(alone, slack, exact.alias(WAYS[2]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("places", "strangers", "shares"):
        commands.add_parser(name).add_argument("file", type=Path)
    commands.add_parser("search").add_argument("rows", type=int, nargs="+")
    args = parser.parse_args()
    if args.command == "search":
        search(args.rows)
    else:
        {"places": places, "strangers": strangers, "shares": shares}[args.command](args.file)


if __name__ == "__main__":
    main()
