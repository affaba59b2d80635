"""Does the source of a photo give its country away, and can the source be told from the file?

Both must hold for a shortcut: countries that share no source, and sources that differ in what a model can see.
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whichland.errors import UserError
from whichland.evaluation.audit_effects import Check, Effect
from whichland.evaluation.source_probe import ProbeConfig, source_probe
from whichland.manifest import Manifest
from whichland.statistics import Score, group_numbers, interval, replicate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REDRAWS = 500
PROBED = 1000  # photos of each source
TOLD = 0.05  # beyond chance, of the probe's balanced accuracy
TRIVIAL, RELEVANT = 0.1, 0.25  # of the distance between two countries' mixes of sources, beyond chance


def source_check(manifest: Manifest, names: Sequence[str], *, seed: int) -> Check:
    """Measure how far the source tells the country: the mean distance between two countries' mixes of sources.

    The distance is half the summed difference of the shares (total variation): whoever knows the source tells two
    countries apart in half of all cases plus half of it. It is above zero by chance alone, so it is compared with
    sources dealt out anew to the groups.
    """
    rows = manifest.kept.filter(pl.col("split") == "train", pl.col("country").is_in(list(names)))
    counts = dict(rows.group_by("source").len().sort("source").iter_rows())
    check = Check(
        name="source",
        title="source of the photo",
        asks="Does the source tell the country, and the file the source?",
        measure="countries apart by source",
        score=None,
        null=0.0,
        against="sources dealt out at random",
        facts=(("photos by source", ", ".join(f"{name} {count:,}" for name, count in counts.items())),),
    )
    if len(counts) < 2:
        return replace(check, verdict="not found", says="there is one source only")
    source_N = rows["source"].replace_strict({name: at for at, name in enumerate(counts)}).to_numpy()
    country_N = group_numbers(rows["country"].to_list())
    group_N = group_numbers(rows["group"].to_list())

    def distance(weights_N: Floats, dealt_N: Ints = source_N) -> Floats:
        shape = (int(country_N.max()) + 1, len(counts))
        photos_KS = np.bincount(country_N * shape[1] + dealt_N, weights_N, shape[0] * shape[1]).reshape(shape)
        total_K = photos_KS.sum(axis=1)
        share_KS = photos_KS[total_K > 0] / total_K[total_K > 0, None]
        apart_KK = np.abs(share_KS[:, None] - share_KS[None]).sum(axis=2) / 2
        return np.array([apart_KK[np.triu_indices(len(share_KS), 1)].mean()])

    every = np.ones(len(source_N))
    first = np.unique(group_N, return_index=True)[1]
    random = np.random.default_rng((seed, 3))
    dealt = np.array(
        [distance(every, source_N[first][random.permutation(len(first))][group_N])[0] for _ in range(REDRAWS)]
    )
    value, chance = float(distance(every)[0]), float(dealt.mean())
    redrawn = replicate(distance, group_N, replicates=REDRAWS)
    low, high = interval(redrawn)
    beyond = value - chance
    error = float(np.hypot(redrawn.std(), dealt.std()))
    apart = Effect(
        what="apart by source",
        country=None,
        value=beyond,
        low=float(low[0]) - chance,
        high=float(high[0]) - chance,
        trivial=TRIVIAL,
        relevant=RELEVANT,
        p=NormalDist().cdf((TRIVIAL - beyond) / error) if error else float(beyond <= TRIVIAL),
        groups=len(first),
    )
    single = _single(rows)
    unless, told = _told(manifest, seed)
    few = f"{len(single)} of {len(names)}" + (f": {', '.join(single)}" if len(single) <= 12 else "")
    return replace(
        check,
        score=Score(value=value, low=float(low[0]), high=float(high[0])),
        null=chance,
        effects=(apart,),
        unless=unless,
        facts=(*check.facts, ("countries that one source alone has", few), ("source told from the header", told)),
    )


def _single(rows: pl.DataFrame) -> tuple[str, ...]:
    by_country = rows.group_by("country").agg(pl.col("source").n_unique().alias("sources"))
    return tuple(by_country.filter(pl.col("sources") == 1)["country"].sort())


def _told(manifest: Manifest, seed: int) -> tuple[str, str]:
    """Why sources that tell the country may be harmless all the same ("" if not), and the probe's reading."""
    try:
        header = source_probe(manifest, ProbeConfig(photos=PROBED, seed=seed)).readings[0]
    except UserError as error:
        return "whether files tell the source cannot be probed", str(error)
    reading = f"{header.balanced_accuracy:.1%} [{header.low:.1%}, {header.high:.1%}], chance {header.chance:.1%}"
    told = header.low > header.chance + TOLD
    return "" if told else "the files' headers do not tell the source; their pixels may", reading
