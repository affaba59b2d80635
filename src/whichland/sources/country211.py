"""Country211 (Radford et al., "Learning transferable visual models from natural language supervision", 2021).

    {train,valid,test}/<ISO alpha-2>/*.jpg      150, 50 and 100 photos for each of 211 countries

Any ImageFolder in parts is laid out like this. The photos are from YFCC100M (Flickr), each under its own Creative
Commons licence, which the data set does not tell.
"""

from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.sources.columns import complete, say, slug
from whichland.sources.folder import read_folder

PARTS = ("train", "valid", "val", "validation", "test")


def read_country211(
    folder: Path, *, source: str | None = None, skip_unknown: bool = False, exif: bool = True
) -> pl.DataFrame:
    """List the photos of all parts by country; the publishers' part is kept as `official_split`.

    Raises UserError when there is no part, and for what `read_folder` refuses.
    """
    parts = [part for part in PARTS if (folder / part).is_dir()]
    if not parts:
        raise UserError(f"{folder}: none of the folders {', '.join(PARTS)} is there")
    others = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name not in PARTS)
    if others:
        say(f"{folder}: folders that are no part are ignored: {', '.join(others[:5])}")
    source = source or slug(folder.resolve().name)
    frames = []
    for part in parts:
        rows = read_folder(folder / part, source=f"{source}/{part}", skip_unknown=skip_unknown, exif=exif)
        rows = rows.with_columns(pl.lit(source).alias("source"), pl.lit(part).alias("official_split"))
        frames.append(complete(rows, extra=("official_split",)))
    return pl.concat(frames)
