"""OpenStreetView-5M (Astruc et al., CVPR 2024), as its publishers lay it out on the hub under osv5m/osv5m.

    train.csv, test.csv            id, latitude, longitude, country, sequence, captured_at, creator_username, …
    images/{train,test}/NN.zip     <id>.jpg; read in place, and just as well once unpacked

The images come from Mapillary under CC-BY-SA-4.0, which asks for the creator's name where one is shown. The test
images stand at least 1 km from every training image; the publishers' split is kept as `official_split`.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.manifest import COLUMNS
from whichland.printed import counted
from whichland.sources.columns import complete, country_codes, identified, placed, say, stated, utc
from whichland.sources.files import find_photos, locate, with_photo

PARTS = ("train", "test")
OWN = ("id", "latitude", "longitude", "country", "sequence", "captured_at", "creator_username")
# Kept as `osv5m_<name>`. Left behind: thumb_original_url, which expires; cell, lon_bin and lat_bin, which follow
# from the coordinates; unique_*, which repeat region, city and country.
EXTRA: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("region", "sub-region", "city", "creator_id"), pl.String),
    **dict.fromkeys(("land_cover", "road_index", "drive_side", "climate", "soil", "dist_sea"), pl.Float32),
    **{f"quadtree_10_{leaf}": pl.Int32 for leaf in (500, 1000, 2500, 5000, 12500, 25000, 50000)},
}


def read_osv5m(folder: Path, *, source: str | None = None, skip_unknown: bool = False) -> pl.DataFrame:
    """List the photos of the parts that are there; either CSV may be missing.

    All 5.1 million rows take about two minutes and 5 GB (docs/decisions/origins.md). Raises UserError for rows
    whose photo is not there (a zip that was not fetched); with `skip_unknown` they are left out and counted.
    """
    parts = [part for part in PARTS if (folder / f"{part}.csv").is_file()]
    if not parts:
        raise UserError(f"{folder}: neither train.csv nor test.csv is there, which OSV-5M has beside its folder images")
    frames = [_read_part(folder, part, source or "osv5m", skip_unknown) for part in parts]
    return pl.concat(frames, how="diagonal", rechunk=False)


def _read_part(folder: Path, part: str, source: str, skip_unknown: bool) -> pl.DataFrame:
    """Read one CSV in a stream, so that no column of it is held twice."""
    table, images = folder / f"{part}.csv", folder / "images" / part
    if not images.is_dir():
        raise UserError(f"{images}: no such folder; the zips of {table.name} belong there")
    try:
        scan = pl.scan_csv(table, infer_schema=False, glob=False)
        there = scan.collect_schema().names()
        missing = [name for name in OWN if name not in there]
        if missing:
            raise UserError(f"{table}: no column {missing[0]}; its columns are {', '.join(there[:12])}")
        names = scan.select(stated("country").drop_nulls().unique()).collect(engine="streaming")["country"]
        codes = country_codes(sorted(names), where=str(table), skip_unknown=skip_unknown)
        rows = scan.select(*_own(codes, source, part), *_extra(there)).collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{table}: not a readable table ({str(error).splitlines()[0]})") from None
    photos = find_photos(images, skip_broken=skip_unknown)
    # looked up by themselves, as a join of all columns would hold them twice
    uris = locate(rows["name"], photos, str(images))
    rows = _counted(rows.drop("name").with_columns(uris), str(table))
    rows = with_photo(rows, "image_id", str(table), skip_unknown=skip_unknown)
    return complete(rows, extra=[name for name in rows.columns if name not in COLUMNS])


def _own(codes: Mapping[str, str], source: str, part: str) -> list[pl.Expr]:
    """Turn the columns that the manifest knows to its form, and flag what was stated."""
    country, captured_at, creator = stated("country"), stated("captured_at"), stated("creator_username")
    credit = pl.concat_str(creator, pl.lit("Mapillary, CC BY-SA 4.0"), separator=", ", ignore_nulls=True)
    return [
        pl.concat_str("id", pl.lit(".jpg")).alias("name"),
        *identified(source, "id"),
        stated("sequence"),
        *placed(*(pl.col(name).cast(pl.Float64, strict=False) for name in ("latitude", "longitude"))),
        country.replace_strict(codes, default=None, return_dtype=pl.String).alias("label_country"),
        utc(captured_at).alias("captured_at"),
        creator.alias("creator"),
        pl.lit("CC-BY-SA-4.0").alias("license"),
        credit.alias("attribution"),
        pl.lit(part).alias("official_split"),
        country.is_not_null().alias("states country"),
        captured_at.is_not_null().alias("states time"),
    ]


def _extra(there: Collection[str]) -> list[pl.Expr]:
    """Type the columns of `EXTRA`; whole numbers stand as "3.0" where pandas met an empty cell in the column."""
    return [
        (
            pl.col(name).str.strip_suffix(".0")
            if dtype == pl.String
            else pl.col(name).cast(pl.Float64, strict=False).cast(dtype, strict=False)
        ).alias(f"osv5m_{name.replace('-', '_')}")
        for name, dtype in EXTRA.items()
        if name in there
    ]


def _counted(rows: pl.DataFrame, where: str) -> pl.DataFrame:
    """Leave out rows of unknown countries, and say how many rows have what flaw."""
    unknown = rows["states country"] & rows["label_country"].is_null()
    if unknown.any():
        say(f"{where}: {counted(int(unknown.sum()), 'row')} of unknown countries left out")
        rows = rows.filter(~unknown)
    if nowhere := rows["lat"].null_count():
        say(f"{where}: {counted(nowhere, 'row')} without coordinates; left empty")
    if timeless := (rows["states time"] & rows["captured_at"].is_null()).sum():
        say(f"{where}: {counted(int(timeless), 'row')} with a time of capture that is not understood; left empty")
    return rows.drop("states country", "states time")
