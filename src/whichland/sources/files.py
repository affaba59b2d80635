"""Photos on the disk: below a folder, in zip archives that stay closed, and by names that the disk writes otherwise."""

import os
import unicodedata
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.images.containers import PHOTO_SUFFIXES, list_archive, passed_over
from whichland.printed import counted
from whichland.progress import track
from whichland.sources.columns import say


def absolute(path: Path) -> Path:
    """Make a path absolute and free of `..` without following links: the hub's cache links to nameless blobs."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def walk(
    folder: Path, suffixes: Collection[str] = PHOTO_SUFFIXES, *, skip_unknown: bool = False
) -> tuple[list[str], int]:
    """List the photos below `folder` as sorted relative paths with `/`, and count the other files.

    Links to folders are followed, each folder once. What is hidden by a dot, a system's own, or no file (a pipe, a
    broken link) counts as other. A name that is not UTF-8 raises UserError, or with `skip_unknown` is left out.
    """
    photos: list[str] = []
    others, odd = 0, []
    seen: set[Path] = set()
    links = [""]  # followed last, so that a folder is found where it is, if it is below
    while links:
        for path, is_photo in _files(folder, links.pop(0), seen, suffixes, links):
            if not is_photo:
                others += 1
            elif path.isprintable() or path.encode(errors="replace").decode() == path:
                photos.append(path)
            else:
                odd.append(path)
    if odd and not skip_unknown:
        raise UserError(
            f"{folder}: the file name {odd[0]!r} is not UTF-8 ({len(odd):,} such); rename it, or leave it out with "
            "--skip-unknown"
        )
    if odd:
        say(f"{folder}: left out for a name that is not UTF-8: {counted(len(odd), 'photo')}, {odd[0]!r} first")
    return sorted(photos), others


def _files(
    folder: Path, below: str, seen: set[Path], suffixes: Collection[str], links: list[str]
) -> Iterator[tuple[str, bool]]:
    """Yield the path of each file below `folder`, and whether it is called like a photo; add links to folders."""
    at = folder / below
    real = at.resolve()
    if real in seen:
        return
    seen.add(real)
    try:
        with os.scandir(at) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{at}: cannot be listed ({error.strerror})") from None
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        own = not passed_over(entry.name)
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link that leads to itself
            is_folder = is_file = False
        if not is_folder:
            yield path, own and is_file and os.path.splitext(entry.name)[1].lower() in suffixes  # noqa: PTH122
        elif own and entry.is_symlink():
            links.append(path)
        elif own:
            yield from _files(folder, path, seen, suffixes, links)
        else:
            yield from ((path, False) for _, _, files in os.walk(at / entry.name) for _ in files)


def find_photos(folder: Path, *, skip_broken: bool = False) -> pl.DataFrame:
    """List the photos at and below `folder` and in its zip archives: columns `name`, `uri`.

    `name` is the file's own name without folders, in Unicode's composed form. Of an archive only the directory at
    its end is read, 50,000 names in about half a second. Raises UserError for an archive that cannot be read (cut
    off while it was fetched, say); with `skip_broken` it is left out and named on stderr.
    """
    photos, archives = walk(folder)[0], walk(folder, {".zip"})[0]
    frames = [_located(photos, f"{absolute(folder)}/")]
    for name in track(archives, description="listing archives", unit="archives"):
        path = absolute(folder) / name
        try:
            frames.append(_located(list_archive(path), f"{path}#"))
        except UserError as error:
            if not skip_broken:
                raise UserError(f"{error}; fetch it again, or leave it out with --skip-unknown") from None
            say(f"{error}; its photos are left out")
    return pl.concat(frames)


def _located(paths: Collection[str], prefix: str) -> pl.DataFrame:
    """Keep what is called like a photo; macOS puts a second, hidden `._` file beside each in its archives."""
    members = pl.DataFrame({"member": list(paths)}, schema={"member": pl.String})
    name = pl.col("member").str.split("/").list.last()
    suffix = name.str.extract(r"(\.\w+)$").str.to_lowercase()
    return members.filter(suffix.is_in(sorted(PHOTO_SUFFIXES)) & ~name.str.starts_with(".")).select(
        name.str.normalize("NFC").alias("name"), pl.concat_str(pl.lit(prefix), "member").alias("uri")
    )


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
            f"{where}: {several.height:,} photos share names, {first} and {second} first: move one of each away"
        )
    return found["uri"]


def with_photo(rows: pl.DataFrame, name: str, where: str, *, skip_unknown: bool) -> pl.DataFrame:
    """Keep rows with a `uri`; one without raises UserError, telling its `name`, or is left out and counted."""
    missing = rows["uri"].null_count()
    if missing and not skip_unknown:
        first = rows.filter(pl.col("uri").is_null())[name][0]
        raise UserError(
            f"{where}: not there: {missing:,} of {counted(rows.height, 'photo')}, {first} first; fetch them, or leave "
            "them out with --skip-unknown"
        )
    if missing:
        say(f"{where}: left out for a photo that is not there: {missing:,} of {counted(rows.height, 'row')}")
    return rows.filter(pl.col("uri").is_not_null()) if missing else rows


def on_disk(path: str) -> str | None:
    """Find a file whose name is written in another Unicode form, in other cases or with backslashes; None: not there.

    A name that several files could bear is none of them.
    """
    path = path if os.sep == "\\" else path.replace("\\", "/")
    found = "/" if path.startswith("/") else "."
    for part in filter(None, path.split("/")):
        fitting = [part] if os.path.lexists(f"{found}/{part}") else _listing(found).get(_form(part), [])
        if len(fitting) != 1:
            return None
        found = f"{found.rstrip('/')}/{fitting[0]}"
    return found if os.path.isfile(found) else None  # noqa: PTH113 (a name may be too long for Path)


@lru_cache(maxsize=4096)
def _listing(folder: str) -> dict[str, list[str]]:
    """The names in a folder by their form; none where it cannot be listed."""
    by_form: dict[str, list[str]] = {}
    try:
        for name in os.listdir(folder):  # noqa: PTH208
            by_form.setdefault(_form(name), []).append(name)
    except OSError:
        return {}
    return by_form


def _form(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
