"""Count a manifest by country, split, source and drop reason, and find where cleaning took far more than elsewhere.

Cleaning that looks harmless can empty one end of the world: a threshold on darkness takes winters and the far
north first. So every drop reason is compared, place by place, with its rate in all other places.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whichland.curate.certificate import SPLITS
from whichland.geo.countries import COUNTRIES, country_name
from whichland.manifest import Manifest

KEPT = pl.col("drop_reason").is_null()
PLACES = ("country", "region", "latitude")
BAND = 15  # degrees of latitude

# When a rate is worth a warning.
TIMES = 2.0  # so many times the rate elsewhere…
POINTS = 0.01  # …and so much above it…
LEAST = 5  # …by so many photos at least…
CHANCE = 0.01  # …and chance alone would give a warning this often in the whole table

ANY = "any"


@dataclass(frozen=True, kw_only=True)
class Excess:
    """One place that a reason has taken far more photos of than of the others."""

    kind: str  # country, region or latitude
    place: str
    reason: str
    dropped: int
    photos: int
    rate: float
    elsewhere: float
    p: float  # of so many or more by chance, for all places and reasons of the table together

    def __str__(self) -> str:
        reason = "dropped" if self.reason == ANY else self.reason
        return (
            f"{self.place}: {self.dropped:,} of {self.photos:,} photos {reason} ({self.rate:.1%}), "
            f"elsewhere {self.elsewhere:.2%}"
        )


@dataclass(frozen=True, kw_only=True)
class Stats:
    """The counts of a manifest; every table is sorted, the largest first."""

    rows: int
    kept: int
    by_country: pl.DataFrame  # country, name, kept, train, val, test, groups, dropped, drop_rate
    by_split: pl.DataFrame  # split, photos, groups, countries, largest_group
    by_source: pl.DataFrame  # source, photos, kept, countries
    by_drop_reason: pl.DataFrame  # drop_reason, photos, share
    drop_rates: dict[str, pl.DataFrame]  # by country, region and latitude, as far as known; see `drop_rates`
    excesses: list[Excess]  # the places that a reason has taken far more of than of the rest

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables by title, in order of printing."""
        return {
            "country": self.by_country,
            "split": self.by_split,
            "source": self.by_source,
            "drop reason": self.by_drop_reason,
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        tables = {f"by_{title.replace(' ', '_')}": table.to_dicts() for title, table in self.tables().items()}
        rates = {kind: table.to_dicts() for kind, table in self.drop_rates.items()}
        return {
            "rows": self.rows,
            "kept": self.kept,
            **tables,
            "drop_rates": rates,
            "excesses": [asdict(line) for line in self.excesses],
        }


def stats(manifest: Manifest) -> Stats:
    """Count the rows of a manifest, as far as the steps have come; what is not written yet counts as null."""
    wanted = {"country": pl.String, "drop_reason": pl.String, "split": pl.String, "group": pl.String}
    missing = [
        pl.lit(None, dtype=kind).alias(name) for name, kind in wanted.items() if name not in manifest.frame.columns
    ]
    frame = manifest.frame.with_columns(missing)
    kept = frame.filter(KEPT)
    return Stats(
        rows=frame.height,
        kept=kept.height,
        by_country=_by_country(frame),
        by_split=_by_split(kept),
        by_source=frame.group_by("source")
        .agg(photos=pl.len(), kept=KEPT.sum(), countries=pl.col("country").filter(KEPT).drop_nulls().n_unique())
        .sort("photos", "source", descending=[True, False]),
        by_drop_reason=frame.filter(~KEPT)
        .group_by("drop_reason")
        .agg(photos=pl.len(), share=pl.len() / max(frame.height, 1))
        .sort("photos", "drop_reason", descending=[True, False]),
        drop_rates={kind: table for kind in PLACES if (table := drop_rates(manifest, kind)).height},
        excesses=[line for kind in PLACES for line in excesses(manifest, kind)],
    )


def _by_country(frame: pl.DataFrame) -> pl.DataFrame:
    counts = frame.group_by("country").agg(
        KEPT.sum().alias("kept"),
        *[(KEPT & (pl.col("split") == part)).sum().alias(part) for part in SPLITS],
        pl.col("group").filter(KEPT).drop_nulls().n_unique().alias("groups"),
        (~KEPT).sum().alias("dropped"),
        (~KEPT).mean().alias("drop_rate"),
    )
    names = [country_name(code) if code else "(none)" for code in counts["country"]]
    return counts.insert_column(1, pl.Series("name", names, dtype=pl.String)).sort(
        "kept", "name", descending=[True, False]
    )


def _by_split(kept: pl.DataFrame) -> pl.DataFrame:
    sizes = pl.col("group").drop_nulls().value_counts().struct.field("count")
    table = (
        kept.filter(pl.col("split").is_not_null())
        .group_by("split")
        .agg(
            photos=pl.len(),
            share=pl.len() / max(kept.height, 1),
            groups=pl.col("group").n_unique(),
            largest_group=sizes.max(),
            countries=pl.col("country").n_unique(),
        )
    )
    order = pl.DataFrame({"split": SPLITS, "_order": range(len(SPLITS))})
    return table.join(order, on="split", how="left").sort("_order").drop("_order")


def drop_rates(manifest: Manifest, kind: str) -> pl.DataFrame:
    """Photos and dropped rates by `kind`: country, region or latitude; the highest rate first, latitudes by place.

    Columns: the kind, `photos`, `dropped`, `rate`, and for each reason that occurs its share of the place's
    photos. Rows that have no country, or no latitude, are not counted. Empty before cleaning.
    """
    frame = manifest.frame
    if "drop_reason" not in frame.columns or (kind == "latitude" and "lat" not in frame.columns):
        return pl.DataFrame()
    counts = _counts(frame, kind)
    reasons = [name for name in counts.columns if name not in (kind, "photos", "_order")]
    table = counts.select(
        kind,
        "photos",
        pl.col(ANY).alias("dropped"),
        (pl.col(ANY) / pl.col("photos")).alias("rate"),
        *((pl.col(reason) / pl.col("photos")).alias(reason) for reason in reasons if reason != ANY),
        "_order",
    )
    order = ["_order"] if kind == "latitude" else ["rate", "photos"]
    return table.sort(*order, kind, descending=[True] * len(order) + [False]).drop("_order")


def excesses(manifest: Manifest, kind: str) -> list[Excess]:
    """The places of `kind` that a reason has taken far more of than of the rest, the most telling first.

    Fisher's exact test, one-sided: with the reason's photos fixed, so many or more of them in this place would
    come about by chance with probability p, which is multiplied by the number of comparisons (Bonferroni). The
    photos of one drive are not independent, so p is too small where drives are long: read it as a filter. A
    warning also needs a rate `TIMES` as high as elsewhere, `POINTS` above it, and `LEAST` photos.
    """
    if "drop_reason" not in manifest.frame.columns or (kind == "latitude" and "lat" not in manifest.frame.columns):
        return []
    counts = _counts(manifest.frame, kind)
    found = list(_excesses(counts, kind))
    explained = {line.place for line in found if line.reason != ANY}
    telling = [line for line in found if line.reason != ANY or line.place not in explained]
    return sorted(telling, key=lambda line: (line.p, line.place, line.reason))


def _excesses(counts: pl.DataFrame, kind: str) -> Iterator[Excess]:
    photos = counts["photos"].to_numpy().astype(np.int64)
    everywhere = int(photos.sum())
    reasons = [name for name in counts.columns if name not in (kind, "photos", "_order")]
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, everywhere + 1)))])
    comparisons = len(reasons) * counts.height
    for reason in reasons:
        dropped = counts[reason].to_numpy().astype(np.int64)
        total = int(dropped.sum())
        for place, here, of in zip(counts[kind], dropped.tolist(), photos.tolist(), strict=True):
            if here < LEAST or of == everywhere:
                continue
            rate, elsewhere = here / of, (total - here) / (everywhere - of)
            if rate < TIMES * elsewhere or rate < elsewhere + POINTS:
                continue
            p = min(1.0, comparisons * _tail(factorials, here, of, total, everywhere))
            if p < CHANCE:
                name = country_name(place) if kind == "country" else place
                yield Excess(
                    kind=kind, place=name, reason=reason, dropped=here, photos=of, rate=rate,
                    elsewhere=elsewhere, p=p,
                )  # fmt: skip


def _tail(factorials: NDArray[np.float64], here: int, of: int, total: int, everywhere: int) -> float:
    """P(X >= here), hypergeometric: `of` are drawn from `everywhere`, of which `total` are marked."""

    def choose(n: int, k: NDArray[np.int64] | int) -> Any:
        return factorials[n] - factorials[k] - factorials[n - k]

    x = np.arange(here, min(of, total) + 1)
    x = x[of - x <= everywhere - total]
    logs = choose(total, x) + choose(everywhere - total, of - x) - choose(everywhere, of)
    return float(np.exp(logs).sum())


def _counts(frame: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Photos, dropped by any reason and by each, a row a place; `_order` sorts latitudes from south to north."""
    place, order = pl.col("country"), pl.lit(0)
    if kind == "region":
        regions = {code: country.region for code, country in COUNTRIES.items()}
        place = pl.col("country").replace_strict(regions, default=None, return_dtype=pl.String)
    elif kind == "latitude":
        order = (pl.col("lat") / BAND).floor().clip(-90 // BAND, 90 // BAND - 1)
        order = order.cast(pl.Int64, strict=False)  # NaN is no latitude
        bands = {at: _band(at) for at in range(-90 // BAND, 90 // BAND)}
        place = order.replace_strict(bands, default=None, return_dtype=pl.String)
    found = frame["drop_reason"].drop_nulls().value_counts(sort=True)["drop_reason"].to_list()
    return (
        frame.select(place.alias(kind), order.alias("_order"), "drop_reason")
        .drop_nulls(kind)
        .group_by(kind)
        .agg(
            pl.len().alias("photos"),
            pl.col("drop_reason").is_not_null().sum().alias(ANY),
            *[(pl.col("drop_reason") == reason).sum().alias(reason) for reason in found],
            pl.col("_order").first(),
        )
        .sort(kind)
    )


def _band(at: int) -> str:
    low, high = sorted((abs(at * BAND), abs((at + 1) * BAND)))
    return f"{low}–{high}° {'N' if at >= 0 else 'S'}"
