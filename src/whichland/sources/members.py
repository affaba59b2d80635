"""Photos by file name, wherever below a folder they lie: as files, or in zip archives that stay closed.

Only the directory at an archive's end is read, 50,000 names in about half a second.
"""

from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.images.containers import list_archive
from whichland.images.formats import PHOTO_SUFFIXES
from whichland.progress import track
from whichland.sources.columns import absolute, say
from whichland.sources.folder import walk


def find_photos(folder: Path, *, skip_broken: bool = False) -> pl.DataFrame:
    """List the photos at and below `folder` and in its zip archives: columns `name`, `uri`.

    `name` is the file's own name without folders, in Unicode's composed form. Raises UserError for an
    archive that cannot be read (cut off while it was fetched, say); with `skip_broken` it is left out and named on
    stderr.
    """
    photos, archives = walk(folder, PHOTO_SUFFIXES)[0], walk(folder, {".zip"})[0]
    files = pl.DataFrame({"member": photos}, schema={"member": pl.String})
    frames = [_located(files, f"{absolute(folder)}/")]
    for name in track(archives, description="listing archives"):
        path = absolute(folder) / name
        try:
            members = list_archive(path)
        except UserError as error:
            if not skip_broken:
                raise UserError(f"{error}; fetch it again, or leave it out with --skip-unknown") from None
            say(f"{error}; its photos are left out")
            continue
        frames.append(_located(pl.DataFrame({"member": members}, schema={"member": pl.String}), f"{path}#"))
    return pl.concat(frames)


def _located(members: pl.DataFrame, prefix: str) -> pl.DataFrame:
    """Keep what is called like a photo; macOS puts a second, hidden `._` file beside each in its archives."""
    name = pl.col("member").str.split("/").list.last()
    suffix = name.str.extract(r"(\.\w+)$").str.to_lowercase()
    return members.filter(suffix.is_in(sorted(PHOTO_SUFFIXES)) & ~name.str.starts_with(".")).select(
        name.str.normalize("NFC").alias("name"), pl.concat_str(pl.lit(prefix), "member").alias("uri")
    )


def attach(rows: pl.DataFrame, photos: pl.DataFrame, where: str, *, skip_unknown: bool) -> pl.DataFrame:
    """Add `uri` to rows by `name`.

    Raises UserError for a name that two photos have, and for rows without a photo; with `skip_unknown` those
    rows are left out and counted on stderr.
    """
    located = rows.with_columns(locate(rows["name"], photos, where))
    return with_photo(located, "name", where, skip_unknown=skip_unknown)


def locate(names: pl.Series, photos: pl.DataFrame, where: str) -> pl.Series:
    """Look up the `uri` of each name, null where there is no such photo.

    Raises UserError for a name that two photos have, as when an archive lies beside what was unpacked of it.
    """
    wanted = pl.DataFrame({"name": names.str.normalize("NFC")})  # a Mac's disk and a table seldom agree in this
    found = wanted.join(photos, on="name", how="left", maintain_order="left")
    if found.height > names.len():
        several = photos.join(wanted, on="name", how="semi").filter(pl.col("name").is_duplicated())
        first, second = several.filter(pl.col("name") == several["name"][0])["uri"].head(2)
        raise UserError(
            f"{where}: {several.height:,} photos share their name with another, {first} and {second} first: "
            "move one of each away"
        )
    return found["uri"]


def with_photo(rows: pl.DataFrame, name: str, where: str, *, skip_unknown: bool) -> pl.DataFrame:
    """Keep rows with a `uri`; one without raises UserError, telling its `name`, or is left out and counted."""
    missing = rows["uri"].null_count()
    if missing and not skip_unknown:
        first = rows.filter(pl.col("uri").is_null())[name][0]
        raise UserError(
            f"{where}: {missing:,} of {rows.height:,} photos are not there, {first} first; fetch them, or leave "
            "them out with --skip-unknown"
        )
    if missing:
        say(f"{where}: {missing:,} of {rows.height:,} rows left out whose photos are not there")
        rows = rows.filter(pl.col("uri").is_not_null())
    return rows
