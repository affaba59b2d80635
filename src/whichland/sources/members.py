"""Photos by file name, wherever below a folder they lie: as files, or in zip archives that stay closed.

Only the directory at an archive's end is read, 50,000 names in about half a second.
"""

import zipfile
from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.progress import track
from whichland.sources.columns import absolute, say
from whichland.sources.folder import SUFFIXES, walk


def find_photos(folder: Path, *, skip_broken: bool = False) -> pl.DataFrame:
    """List the photos at and below `folder` and in its zip archives: columns `name`, `uri`.

    `name` is the file's own name without folders. Raises UserError for an archive that cannot be read (cut off
    while it was fetched, say); with `skip_broken` it is left out and named on stderr.
    """
    photos, archives = walk(folder, SUFFIXES)[0], walk(folder, {".zip"})[0]
    files = pl.DataFrame({"member": photos}, schema={"member": pl.String})
    frames = [_located(files, f"{absolute(folder)}/")]
    for name in track(archives, description="listing archives"):
        path = absolute(folder) / name
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.namelist()
        except (zipfile.BadZipFile, OSError) as error:
            if not skip_broken:
                raise UserError(
                    f"{path}: not a readable zip archive ({error}); fetch it again, or leave it out with "
                    "--skip-unknown"
                ) from None
            say(f"{path}: not a readable zip archive ({error}); its photos are left out")
            continue
        frames.append(_located(pl.DataFrame({"member": members}, schema={"member": pl.String}), f"{path}#"))
    return pl.concat(frames)


def _located(members: pl.DataFrame, prefix: str) -> pl.DataFrame:
    """Keep what is called like a photo; macOS puts a second, hidden `._` file beside each in its archives."""
    name = pl.col("member").str.split("/").list.last()
    suffix = name.str.extract(r"(\.\w+)$").str.to_lowercase()
    return members.filter(suffix.is_in(sorted(SUFFIXES)) & ~name.str.starts_with(".")).select(
        name.alias("name"), pl.concat_str(pl.lit(prefix), "member").alias("uri")
    )


def attach(rows: pl.DataFrame, photos: pl.DataFrame, where: str, *, skip_unknown: bool) -> pl.DataFrame:
    """Add `uri` to rows by `name`.

    Raises UserError for a name that two photos have, and for rows without a photo; with `skip_unknown` those
    rows are left out and counted on stderr.
    """
    wanted = photos.join(rows, on="name", how="semi")
    check_unique(wanted, where)
    joined = rows.join(wanted, on="name", how="left", maintain_order="left")
    return with_photo(joined, "name", where, skip_unknown=skip_unknown)


def check_unique(photos: pl.DataFrame, where: str) -> None:
    """Raise UserError for a name that two photos have, as when an archive lies beside what was unpacked of it."""
    twice = photos.filter(pl.col("name").is_duplicated())
    if twice.height:
        first, second = twice.filter(pl.col("name") == twice["name"][0])["uri"].head(2)
        raise UserError(
            f"{where}: {twice.height:,} photos share their name with another, {first} and {second} first: "
            "move one of each away"
        )


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
