"""Bring manifests together: one label space, unique ids, and who has which country.

A table that is made of others begins a history of its own; theirs are carried whole in `inputs`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import polars as pl

from whichland.config import Config
from whichland.errors import UserError
from whichland.geo.countries import country_name
from whichland.manifest import Manifest

TABLE = ("country", "name", "only_in")  # columns of `source_by_country` beside those of the sources

# Judgements on one table as a whole, which do not hold of several together.
JUDGED = ("drop_reason", "split", "weight", "rank")


@dataclass(frozen=True, kw_only=True)
class MergeConfig(Config):
    """How several manifests become one table."""

    countries: Annotated[
        Literal["all", "shared", "first"],
        "labels to keep: all, those that every manifest has, or those of the first; other rows lose theirs",
    ] = "all"
    sources: Annotated[tuple[str, ...], "new names for the collections, one a manifest, where two bear the same"] = ()


def merge(manifests: Sequence[Manifest], config: MergeConfig | None = None) -> Manifest:
    """Put the rows of several manifests into one table, in order.

    Columns are united; a column that a manifest lacks is null there. A row outside the label space stays,
    with `country` null (its `label_country` says what it was), and `clean` gives it the reason `no_country`.
    What was judged on each table alone (`drop_reason`, `split`, `weight`, `rank`) is removed: clean and split
    the whole anew. `group` stays, so a photo keeps its group's name and with it its split. Raises UserError
    when an image_id occurs twice.
    """
    config = config or MergeConfig()
    if config.sources and len(config.sources) != len(manifests):
        raise UserError(f"{len(config.sources)} names of sources for {len(manifests)} manifests: give one each")
    for manifest in manifests:
        manifest.require("country", hint="run `whichland data ingest` or `geocode` first")
    frames = [manifest.frame.drop(JUDGED, strict=False) for manifest in manifests]
    if config.sources:
        frames = [_renamed(frame, name) for frame, name in zip(frames, config.sources, strict=True)]
    whole = _stacked(frames)
    _check_unique(whole)
    _check_sources(whole)
    labels = _label_space([set(frame["country"].drop_nulls().unique()) for frame in frames], config)
    if labels is not None:
        inside = pl.col("country").is_in(sorted(labels))
        whole = whole.with_columns(pl.when(inside).then("country").alias("country"))
    return begun_anew("merge", whole, manifests, **asdict(config))


def begun_anew(step: str, frame: pl.DataFrame, inputs: Sequence[Manifest], **params: Any) -> Manifest:
    """A manifest whose rows are not those of its inputs: one line of history, with theirs in `inputs`."""
    carried = [{"rows": len(manifest), "history": [asdict(line) for line in manifest.history]} for manifest in inputs]
    return Manifest(frame.head(0)).with_step(step, frame, **params, inputs=carried)


def source_by_country(frame: pl.DataFrame) -> pl.DataFrame:
    """Count the photos of each country and source: `country`, `name`, a column a source, `only_in`.

    `only_in` names the source of a country that no other has; it is null throughout where there is but one
    source. Countries with fewest sources come last, otherwise the largest first.
    """
    counted = frame.filter(pl.col("country").is_not_null()).group_by("country", "source").len()
    sources = sorted(frame["source"].unique())
    table = counted.pivot("source", index="country", values="len")
    table = table.with_columns(pl.lit(0).alias(name) for name in sources if name not in table.columns)
    table = table.select("country", *(pl.col(name).fill_null(0).cast(pl.Int64) for name in sources))
    alone = pl.sum_horizontal(pl.col(name) > 0 for name in sources) == 1
    holder = pl.coalesce(pl.when(pl.col(name) > 0).then(pl.lit(name)) for name in sources)
    only_in = pl.when(alone).then(holder) if len(sources) > 1 else pl.lit(None, dtype=pl.String)
    names = pl.Series("name", [country_name(code) for code in table["country"]], dtype=pl.String)
    table = table.with_columns(only_in.alias("only_in")).insert_column(1, names)
    table = table.with_columns(pl.sum_horizontal(sources).alias("_total"))
    return table.sort(pl.col("only_in").is_not_null(), "_total", "country", descending=[False, True, False]).drop(
        "_total"
    )


def lone_countries(table: pl.DataFrame) -> list[str]:
    """Warn of each source's countries that no other source has, a line a source, from `source_by_country`."""
    lines = []
    for (source,), part in sorted(table.drop_nulls("only_in").group_by("only_in"), key=lambda item: item[0]):
        codes = ", ".join(part["country"].sort())
        lines.append(
            f"warning: {part.height} of {table.height} countries come from {source!r} alone: {codes}; a model "
            "can tell them by the source's looks instead of the country's"
        )
    return lines


def source_guessed_by_country(table: pl.DataFrame) -> tuple[float, float] | None:
    """How often the source is guessed right from the country alone, and without it: two shares of the photos.

    The first is what a model of countries knows of the source; where it is far above the second, source and
    label are entangled. None where there is but one source. From `source_by_country`.
    """
    sources = [name for name in table.columns if name not in TABLE]
    if len(sources) < 2 or not table.height:
        return None
    totals = table.select(pl.col(sources).sum()).row(0)
    right = table.select(pl.max_horizontal(sources).sum()).item()
    return right / sum(totals), max(totals) / sum(totals)


def _renamed(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Give the rows of one manifest a new source, which their ids begin with, too."""
    prefix = pl.concat_str("source", pl.lit("/"))
    ids = [
        pl.concat_str(pl.lit(f"{name}/"), pl.col(column).str.strip_prefix(prefix)).alias(column)
        for column in ("image_id", "panorama")
        if column in frame.columns
    ]
    return frame.with_columns(*ids, pl.lit(name).alias("source"))


def _stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Put the frames below each other; columns of a user's own may have types that do not go together."""
    try:
        return pl.concat(frames, how="diagonal_relaxed", rechunk=True)
    except pl.exceptions.PolarsError:
        kinds: dict[str, set[pl.DataType]] = {}
        for name, kind in (item for frame in frames for item in frame.schema.items()):
            kinds.setdefault(name, set()).add(kind)
        mixed = ", ".join(f"{name} ({', '.join(sorted(map(str, of)))})" for name, of in kinds.items() if len(of) > 1)
        raise UserError(f"columns have types that do not go together: {mixed}; rename or cast them") from None


def _check_unique(frame: pl.DataFrame) -> None:
    again = frame.filter(pl.col("image_id").is_duplicated())
    if again.height:
        raise UserError(
            f"{again['image_id'].n_unique():,} image_id occur in more than one manifest, {again['image_id'][0]!r} "
            "first: leave out the repeated manifest, or tell them apart with --sources NAME,NAME"
        )


def _check_sources(frame: pl.DataFrame) -> None:
    taken = sorted(set(frame["source"].unique()) & set(TABLE))
    if taken:
        raise UserError(f"a source cannot be called {taken[0]!r}: give other names with --sources NAME,NAME")


def _label_space(held: list[set[str]], config: MergeConfig) -> set[str] | None:
    """The countries to keep; None keeps all."""
    if config.countries == "all":
        return None
    labels = held[0] if config.countries == "first" else set.intersection(*held)
    if not labels:
        raise UserError(f"countries {config.countries}: the manifests have no country in common")
    return labels
