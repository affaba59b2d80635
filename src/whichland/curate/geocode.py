"""Look up the country at each photo's coordinates, and hold the source's label against it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from whichland.config import AT_LEAST_0, Config
from whichland.curate.review import corrected
from whichland.geo.borders import COAST_KM, Borders, borders, on_globe
from whichland.geo.territories import ISO, folded, sovereigns
from whichland.manifest import Manifest
from whichland.progress import Progress

READ = (
    *("lat", "lon", "label_country", "country", "border_km", "country_conflict", "swapped_country"),
    *("review", "review_country", "drop_reason"),
)
BATCH = 1 << 20  # rows at a time: each batch costs a second for the borders near its new places


@dataclass(frozen=True, kw_only=True)
class GeocodeConfig(Config):
    """What is believed where label and coordinates differ, and how countries are counted."""

    group = "geocode"

    trust: Annotated[
        Literal["coordinates", "label"], "which of the two `country` is taken from where both are given"
    ] = "coordinates"
    territories: Annotated[
        str, "iso: by ISO code; sovereign: dependencies are their state (PR is US); or a .toml or .csv file"
    ] = ISO
    coast_km: Annotated[float, "how far from land a point may be and have a country; 0: land alone", AT_LEAST_0] = (
        COAST_KM
    )
    tolerance_km: Annotated[
        float, "this near to the border between the two, the label is right; the lines are that coarse", AT_LEAST_0
    ] = 2.5


def geocode(manifest: Manifest, config: GeocodeConfig | None = None) -> Manifest:
    """Write `country`, `border_km`, `country_conflict` and `swapped_country`, afresh for all rows.

    `country` is by coordinates, else by label; with `trust="label"` the other way round; or what a person corrected it
    to. Two labels are believed
    against the coordinates: one within `tolerance_km` of its own border with the country looked up, and one whose
    country is found when latitude and longitude change places. `country_conflict` is null where either is missing.
    It is false within the tolerance, and where the label names the state that a dependency belongs to: then the
    label is only less exact. The history counts what was found.
    """
    config = config or GeocodeConfig()
    manifest.require("lat", "lon", "label_country", hint="make it with `whichland data ingest` first")
    land, fold = borders(config.territories), folded(config.territories)
    known = manifest.frame.select("lat", "lon", "label_country")
    parts = [_looked_up(known.clear(), land, fold, config)]  # the columns' types, where there are no rows
    with Progress("geocoding", len(manifest)) as progress:
        for rows in known.iter_slices(BATCH):
            parts.append(_looked_up(rows, land, fold, config))
            progress.advance(rows.height)
    found = pl.concat(parts)
    frame = manifest.frame.with_columns(found.drop("near", "here"))
    placed = known["lat"].is_not_null() & known["lon"].is_not_null()
    counts = {
        "with_coordinates": int(placed.sum()),
        "in_no_country": int((placed & found["here"].is_null()).sum()),
        "conflicts": int(found["country_conflict"].sum()),
        "near_their_border": int(found["near"].sum()),
        "look_swapped": found["swapped_country"].count(),
        "without_country": found["country"].null_count(),
    }
    return manifest.with_step("geocode", corrected(frame), **asdict(config), found=counts)


def _looked_up(rows: pl.DataFrame, land: Borders, fold: Mapping[str, str], config: GeocodeConfig) -> pl.DataFrame:
    """The four columns of some rows, and `here`, the country by coordinates, and `near`, at the label's border."""
    lat_N, lon_N = rows["lat"].to_numpy(), rows["lon"].to_numpy()
    here = _names(land, land.country_index(lat_N, lon_N, coast_km=config.coast_km))
    km_N, pair_N2 = land.nearest_border(lat_N, lon_N)
    table = pl.DataFrame(
        {
            "label": rows["label_country"].replace(fold),
            "here": here,
            "border_km": pl.Series(km_N, nan_to_null=True),
            "one": _names(land, pair_N2[:, 0]),
            "other": _names(land, pair_N2[:, 1]),
        }
    )
    label, at, one, other = (pl.col(name) for name in ("label", "here", "one", "other"))
    at_their_border = ((at == one) & (label == other)) | ((at == other) & (label == one))
    near = ((pl.col("border_km") <= config.tolerance_km) & at_their_border).fill_null(value=False)
    state = at.replace_strict(sovereigns(), default=None, return_dtype=pl.String)
    table = table.with_columns(near=near, country_conflict=(label != at) & ~near & (label != state))
    # the label, where it is not found at (lat, lon) but is at (lon, lat)
    odd = table["label"].is_not_null() & (table["country_conflict"] | table["here"].is_null()).fill_null(value=False)
    odd_N = odd.to_numpy() & on_globe(lon_N, lat_N)
    there = _names(land, land.country_index(lon_N[odd_N], lat_N[odd_N], coast_km=config.coast_km))
    looked_up = pl.Series([None] * rows.height, dtype=pl.String).scatter(np.flatnonzero(odd_N), there)
    table = table.with_columns(swapped_country=pl.when(looked_up == label).then(label))
    believed = pl.when(pl.col("near") | pl.col("swapped_country").is_not_null()).then(label)
    country = pl.coalesce(label, at) if config.trust == "label" else pl.coalesce(believed, at, label)
    return table.select(country.alias("country"), "border_km", "country_conflict", "swapped_country", "near", "here")


def _names(land: Borders, index_N: NDArray[np.int16]) -> pl.Series:
    """Countries by their index as text; null for none."""
    index = pl.Series(index_N).cast(pl.Int64)
    return pl.Series(land.codes[:-1], dtype=pl.String).gather(index.replace(-1, None))
