"""OpenStreetView-5M (Astruc et al., CVPR 2024), as its publishers lay it out on the hub under osv5m/osv5m.

    train.csv, test.csv            id, latitude, longitude, country, sequence, captured_at, creator_username, …
    images/{train,test}/NN.zip     <id>.jpg; read in place, and just as well once unpacked

The images come from Mapillary under CC-BY-SA-4.0, which asks for the creator's name where one is shown. The test
images stand at least 1 km from every training image; the publishers' split is kept as `official_split`.
"""

from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.sources.cells import details, good_degrees, labels
from whichland.sources.columns import complete, say
from whichland.sources.members import attach, find_photos

PARTS = ("train", "test")
LICENCE = "CC-BY-SA-4.0"

OWN = {
    "id": "id",
    "latitude": "lat",
    "longitude": "lon",
    "country": "country",
    "sequence": "sequence",
    "captured_at": "captured_at",
    "creator_username": "creator",
}
# Kept as `osv5m_<name>`. Left behind: thumb_original_url, which expires; cell, lon_bin and lat_bin, which follow
# from the coordinates; unique_*, which repeat region, city and country.
EXTRA: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("region", "sub-region", "city", "creator_id"), pl.String),
    **dict.fromkeys(("land_cover", "road_index", "drive_side", "climate", "soil", "dist_sea"), pl.Float32),
    **{f"quadtree_10_{leaf}": pl.Int32 for leaf in (500, 1000, 2500, 5000, 12500, 25000, 50000)},
}


def read_osv5m(folder: Path, *, source: str | None = None, skip_unknown: bool = False) -> pl.DataFrame:
    """List the photos of the parts that are there; either CSV may be missing.

    5.1 million rows take about a minute and 4 GB (docs/decisions/origins.md). Raises UserError for rows whose
    photo is not there (a zip that was not fetched); with `skip_unknown` they are left out and counted.
    """
    parts = [part for part in PARTS if (folder / f"{part}.csv").is_file()]
    if not parts:
        raise UserError(
            f"{folder}: neither train.csv nor test.csv is there, which OSV-5M has beside its folder images"
        )
    return pl.concat(
        [_read_part(folder, part, source or "osv5m", skip_unknown) for part in parts],
        how="diagonal",
        rechunk=False,
    )


def _read_part(folder: Path, part: str, source: str, skip_unknown: bool) -> pl.DataFrame:
    table, images = folder / f"{part}.csv", folder / "images" / part
    if not images.is_dir():
        raise UserError(f"{images}: no such folder; the zips of {table.name} belong there")
    rows = attach(
        _read_rows(table),
        find_photos(images, skip_broken=skip_unknown),
        str(table),
        skip_unknown=skip_unknown,
    )
    rows = details(labels(rows, str(table), skip_unknown), str(table))
    extra = [name for name in rows.columns if name.startswith("osv5m_")]
    credit = pl.concat_str(
        pl.when(pl.col("creator").is_not_null()).then(pl.col("creator") + ", ").otherwise(pl.lit("")),
        pl.lit("Mapillary, CC BY-SA 4.0"),
    )
    rows = rows.with_columns(
        pl.concat_str(pl.lit(f"{source}/"), "id").alias("image_id"),
        pl.lit(source).alias("source"),
        pl.lit(LICENCE).alias("license"),
        credit.alias("attribution"),
        pl.lit(part).alias("official_split"),
    )
    return complete(rows, extra=("official_split", *extra))


def _read_rows(table: Path) -> pl.DataFrame:
    """Read the columns that are kept; a CSV without one of `EXTRA` is as good."""
    try:
        scan = pl.scan_csv(table, infer_schema=False)
        there = scan.collect_schema().names()
        missing = [name for name in OWN if name not in there]
        if missing:
            raise UserError(f"{table}: no column {missing[0]}; its columns are {', '.join(there[:12])}")
        own = [pl.col(name).alias(role) for name, role in OWN.items()]
        extra = [_typed(name, dtype) for name, dtype in EXTRA.items() if name in there]
        rows = scan.select(*own, *extra).collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{table}: not a readable table ({str(error).splitlines()[0]})") from None
    lat, lon = (pl.col(name).cast(pl.Float64, strict=False) for name in ("lat", "lon"))
    good = good_degrees(lat, lon)
    rows = rows.with_columns(
        pl.when(good).then(lat).alias("lat"),
        pl.when(good).then(lon).alias("lon"),
        pl.concat_str("id", pl.lit(".jpg")).alias("name"),
    )
    if rows["lat"].null_count():
        say(f"{table}: {rows['lat'].null_count():,} rows have no coordinates; theirs are left empty")
    return rows


def _typed(name: str, dtype: type[pl.DataType]) -> pl.Expr:
    """Whole numbers stand as "3.0" where pandas met an empty cell in the column."""
    column = pl.col(name)
    if dtype == pl.String:
        column = column.str.strip_suffix(".0")
    else:
        column = column.cast(pl.Float64, strict=False).cast(dtype, strict=False)
    return column.alias(f"osv5m_{name.replace('-', '_')}")
