"""Im2GPS3k (Vo, Jacobs and Hays, "Revisiting IM2GPS in the deep learning era", ICCV 2017), 3,000 test photos.

    im2gps3k_places365.csv     IMG_ID, AUTHOR, LAT, LON, … (of TIBHannover/GeoEstimation; 2,997 rows)
    images/ or im2gps3ktest/   or im2gps3ktest.zip: <photo>_<secret>_<server>_<author>.jpg

The photos are from Flickr, each under its own licence, which the table does not state; the names in it lead to the
photo's page. They are travel photos, few of them of a street.
"""

from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.sources.columns import blank_to_null, complete, degrees, identified, say
from whichland.sources.files import find_photos, locate, with_photo
from whichland.sources.table import read_text

NEEDED = ("IMG_ID", "LAT", "LON")


def read_im2gps3k(folder: Path, *, source: str | None = None, skip_unknown: bool = False) -> pl.DataFrame:
    """List the photos of the table; creator and attribution come from the name that Flickr gave the file.

    Raises UserError when no table is there, and for rows without a photo; with `skip_unknown` these are left out
    and counted on stderr. Photos without a row are counted there, too.
    """
    table, text = _find_table(folder)
    renamed = {"IMG_ID": "name", "LAT": "lat", "LON": "lon"}
    rows = blank_to_null(text.select(NEEDED).rename(renamed)).with_row_index("row", offset=1)
    photos = find_photos(folder, skip_broken=skip_unknown)
    if not rows["name"].str.contains(r"\.\w{3,4}$").any():  # YFCC4k's table has names without their ending
        photos = photos.with_columns(pl.col("name").str.replace(r"\.\w+$", ""))
    without = photos.join(rows, on="name", how="anti").height
    if without:
        say(f"{table}: photos without a row, ignored: {without:,}")
    rows = degrees(rows, str(table)).with_columns(locate(rows["name"], photos, str(table)))
    rows = with_photo(rows, "name", str(table), skip_unknown=skip_unknown)
    flickr = pl.col("name").str.extract_groups(r"^(?P<photo>\d+)_[0-9a-f]+_\d+_(?P<author>\d+@N\d+)\.").struct
    page = pl.format("flickr.com/photos/{}/{}", flickr.field("author"), flickr.field("photo"))
    own = identified(source or "im2gps3k", "name")
    return complete(rows.with_columns(*own, creator=flickr.field("author"), attribution=page))


def is_im2gps3k(folder: Path) -> bool:
    """Whether a folder has the data set's table, whose columns YFCC4k's has as well."""
    for table in folder.glob("*_places365.csv"):
        with table.open("rb") as file:
            if b"IMG_ID" in file.readline():
                return True
    return False


def _find_table(folder: Path) -> tuple[Path, pl.DataFrame]:
    """Return the one CSV of the folder that has the columns of Im2GPS3k."""
    tables = [(file, read_text(file)) for file in sorted(folder.glob("*.csv"))]
    fitting = [(file, text) for file, text in tables if set(NEEDED) <= set(text.columns)]
    if len(fitting) != 1:
        names = ", ".join(file.name for file, _ in fitting)
        found = f"{len(fitting)} tables have them, {names}: leave one" if fitting else "there is none"
        raise UserError(f"{folder}: a CSV with the columns {', '.join(NEEDED)} must be there; {found}")
    return fitting[0]
