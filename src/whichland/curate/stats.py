"""Count a manifest by country, split, source and drop reason, and find where cleaning took far more than elsewhere.

Cleaning that looks harmless can empty one end of the world: a threshold on darkness takes winters and the far
north first. So every drop reason is compared, place by place, with its rate in all other places.
"""

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from whichland.curate.split import SPLITS
from whichland.geo.countries import COUNTRIES, country_name
from whichland.manifest import Manifest, with_empty

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
    by_reason_unreadable: pl.DataFrame  # reason, photos, first
    drop_rates: dict[str, pl.DataFrame]  # by country, region and latitude, as far as known; see `drop_rates`
    excesses: list[Excess]  # the places that a reason has taken far more of than of the rest

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables by title, in order of printing."""
        return {name[3:].replace("_", " "): table for name, table in vars(self).items() if name.startswith("by_")}

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {name: table.to_dicts() for name, table in vars(self).items() if name.startswith("by_")}
        rates = {kind: table.to_dicts() for kind, table in self.drop_rates.items()}
        return {**vars(self), **plain, "drop_rates": rates, "excesses": [asdict(line) for line in self.excesses]}


def stats(manifest: Manifest) -> Stats:
    """Count the rows of a manifest, as far as the steps have come; what is not written yet counts as null."""
    names = ("country", "drop_reason", "split", "group", "unreadable")
    frame = with_empty(manifest.whole, *names).select("source", "uri", *names).collect()
    kept = frame.filter(KEPT).select("split", "group", "country")
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
        by_reason_unreadable=unreadable(frame),
        drop_rates={kind: table for kind in PLACES if (table := drop_rates(manifest, kind)).height},
        excesses=[line for kind in PLACES for line in excesses(manifest, kind)],
    )


def unreadable(frame: pl.DataFrame) -> pl.DataFrame:
    """Why photos could not be read, how many and the first of each reason; the most frequent first."""
    return (
        frame.filter(pl.col("unreadable").is_not_null())
        .group_by(reason="unreadable")
        .agg(photos=pl.len(), first=pl.col("uri").min())
        .sort("photos", "reason", descending=[True, False])
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
    table = counts.insert_column(1, pl.Series("name", names, dtype=pl.String))
    return table.sort("kept", "name", descending=[True, False])


def _by_split(kept: pl.DataFrame) -> pl.DataFrame:
    counts = kept.group_by("split").agg(
        photos=pl.len(),
        share=pl.len() / max(kept.height, 1),
        groups=pl.col("group").n_unique(),
        largest_group=pl.col("group").drop_nulls().value_counts().struct.field("count").max(),
        countries=pl.col("country").n_unique(),
    )
    return pl.DataFrame({"split": SPLITS}).join(counts, on="split", maintain_order="left")


def drop_rates(manifest: Manifest, kind: str) -> pl.DataFrame:
    """Photos and dropped rates by `kind`: country, region or latitude; the highest rate first, latitudes by place.

    Columns: the kind, `photos`, `dropped`, `rate`, and for each reason that occurs its share of the place's
    photos. Rows that have no country, or no latitude, are not counted. Empty before cleaning.
    """
    counts = _counts(manifest, kind)
    if not counts.width:
        return counts
    order = ["_order"] if kind == "latitude" else ["rate", "photos"]
    table = counts.with_columns(pl.col(name) / pl.col("photos") for name in counts.columns[2:-1]).rename({ANY: "rate"})
    table = table.insert_column(2, counts[ANY].alias("dropped"))
    return table.sort(*order, kind, descending=[True] * len(order) + [False]).drop("_order")


def excesses(manifest: Manifest, kind: str) -> list[Excess]:
    """The places of `kind` that a reason has taken far more photos of than of the rest, the most telling first.

    Fisher's exact test, one-sided: with the reason's photos fixed, so many or more of them in this place would
    come about by chance with probability p, which is multiplied by the number of comparisons (Bonferroni). The
    photos of one drive are not independent, so p is too small where drives are long: read it as a filter. A
    warning also needs a rate `TIMES` as high as elsewhere, `POINTS` above it, and `LEAST` photos.
    """
    from scipy.stats import hypergeom

    counts = _counts(manifest, kind)
    found: list[Excess] = []
    everywhere = int(counts["photos"].sum()) if counts.width else 0
    for reason in counts.columns[2:-1]:
        total = int(counts[reason].sum())
        for place, here, of in counts.select(kind, reason, "photos").iter_rows():
            if here < LEAST or of == everywhere:
                continue
            rate, elsewhere = here / of, (total - here) / (everywhere - of)
            if rate < TIMES * elsewhere or rate < elsewhere + POINTS:
                continue
            tail = float(hypergeom.sf(here - 1, everywhere, total, of))
            p = min(1.0, len(counts.columns[2:-1]) * counts.height * tail)
            if p < CHANCE:
                name = country_name(place) if kind == "country" else place
                line = Excess(
                    kind=kind, place=name, reason=reason, dropped=here, photos=of,
                    rate=rate, elsewhere=elsewhere, p=p,
                )  # fmt: skip
                found.append(line)
    explained = {line.place for line in found if line.reason != ANY}
    telling = [line for line in found if line.reason != ANY or line.place not in explained]
    return sorted(telling, key=lambda line: (line.p, line.place, line.reason))


def _counts(manifest: Manifest, kind: str) -> pl.DataFrame:
    """A row a place: `kind`, photos, those dropped by any reason, by each; `_order` sorts latitudes, south to north.

    Without columns where the table lacks what it takes.
    """
    if not {"drop_reason", "lat" if kind == "latitude" else "country"} <= set(manifest.columns):
        return pl.DataFrame()
    place, order = pl.col("country"), pl.lit(0)
    if kind == "region":
        regions = {code: country.region for code, country in COUNTRIES.items()}
        place = pl.col("country").replace_strict(regions, default=None, return_dtype=pl.String)
    elif kind == "latitude":
        order = (pl.col("lat") / BAND).floor().clip(-90 // BAND, 90 // BAND - 1)
        order = order.cast(pl.Int64, strict=False)  # NaN is no latitude
        north = {at: f"{at * BAND}–{(at + 1) * BAND}° N" for at in range(90 // BAND)}
        bands = north | {-1 - at: name.replace("N", "S") for at, name in north.items()}
        place = order.replace_strict(bands, default=None, return_dtype=pl.String)
    table = manifest.whole.select("drop_reason", "lat" if kind == "latitude" else "country").collect()
    reasons = table["drop_reason"].drop_nulls().value_counts(sort=True)["drop_reason"].to_list()
    return (
        table.select(place.alias(kind), order.alias("_order"), "drop_reason")
        .drop_nulls(kind)
        .group_by(kind)
        .agg(
            pl.len().cast(pl.Int64).alias("photos"),
            (~KEPT).sum().cast(pl.Int64).alias(ANY),
            *[(pl.col("drop_reason") == reason).sum().cast(pl.Int64).alias(reason) for reason in reasons],
            pl.col("_order").first(),
        )
        .sort(kind)
    )
