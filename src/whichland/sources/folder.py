"""A folder of photos by country: `<folder>/<ISO code or English name>/**/*.jpg`.

Kaggle's GeoGuessr screenshots (`<Country>/canvas_<unix time>.jpg`) are laid out like this, and so is any
ImageFolder with country names. A folder that holds photos and no folders gives photos without a country; where
a camera or phone wrote coordinates into them, geocoding finds it.
"""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.images.formats import PHOTO_SUFFIXES
from whichland.sources.columns import absolute, complete, country_codes, say, slug
from whichland.sources.exif import read_exif

# Photos of a country with time stamps less than this apart are one session: docs/decisions/capture-sessions.md
SESSION_S = 60

_STAMP = re.compile(r"(?:^|[_-])(1\d{9})(?:\d{3})?$")  # unix time at the end of the stem, 2001 to 2033


def read_folder(
    folder: Path, *, source: str | None = None, skip_unknown: bool = False, exif: bool = True
) -> pl.DataFrame:
    """List the photos of a folder by country.

    Photos are told by their extension; whether they can be decoded is measured later. With `exif`, coordinates,
    heading and time of capture are read from the photos that state them. With `skip_unknown`,
    folders that are no country, and photos beside the country folders, are left out with a line on stderr.
    Raises UserError for unknown countries and for a folder without photos.
    """
    source = source or slug(absolute(folder).name)
    photos, others = walk(folder)
    if others:
        say(f"{folder}: {others:,} files are not images by their extension and are ignored")
    if not photos:
        raise UserError(f"{folder}: no photos in it (looked for .jpg, .jpeg, .png, .webp, …)")
    if all("/" not in path for path in photos):
        countries: list[str | None] = [None] * len(photos)
    else:
        photos, countries = _by_country(folder, photos, skip_unknown)
    frame = pl.DataFrame(
        {
            "image_id": [f"{source}/{path}" for path in photos],
            "uri": [f"{absolute(folder)}/{path}" for path in photos],
            "label_country": pl.Series(countries, dtype=pl.String),
        }
    )
    sequence = pl.Series(sessions(zip(photos, countries, strict=True), source), dtype=pl.String)
    frame = frame.with_columns(pl.lit(source).alias("source"), sequence.alias("sequence"))
    return complete(frame.hstack(read_exif(frame["uri"])) if exif else frame)


def walk(folder: Path, suffixes: Collection[str] = PHOTO_SUFFIXES) -> tuple[list[str], int]:
    """List the photos below `folder` as sorted relative paths with `/`, and count the other files.

    Links to folders are followed, each folder once; names that begin with a dot are not looked at.
    """
    photos, others, seen = [], 0, set()
    for at, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        real = Path(at).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(at).relative_to(folder).as_posix()
        for name in files:
            if name.startswith(".") or Path(name).suffix.lower() not in suffixes:
                others += 1
            else:
                photos.append(_text(name if below == "." else f"{below}/{name}", folder))
    return sorted(photos), others


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be listed ({error.strerror})")


def _text(path: str, folder: Path) -> str:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UserError(f"{folder}: the file name {path!r} is not UTF-8; rename it") from None
    return path


def _by_country(folder: Path, photos: list[str], skip_unknown: bool) -> tuple[list[str], list[str | None]]:
    """Keep the photos inside country folders, with the code of each."""
    loose = [path for path in photos if "/" not in path]
    if loose and not skip_unknown:
        raise UserError(
            f"{folder}: {len(loose):,} photos lie beside the country folders, {loose[0]!r} first; "
            "move them into one, or leave them out with --skip-unknown"
        )
    names = [path.partition("/")[0] for path in photos if "/" in path]
    codes = country_codes(names, where=str(folder), skip_unknown=skip_unknown)
    kept = [path for path in photos if path.partition("/")[0] in codes and "/" in path]
    if len(kept) < len(photos):
        unknown = sorted(set(names) - set(codes))
        say(
            f"{folder}: {len(photos) - len(kept):,} photos left out, "
            f"{len(loose):,} of them beside the country folders; not a country: {', '.join(unknown) or 'none'}"
        )
    return kept, [codes[path.partition("/")[0]] for path in kept]


def sessions(photos: Iterable[tuple[str, str | None]], source: str) -> list[str | None]:
    """Name the capture session of each (path, country): photos of a country less than `SESSION_S` apart.

    Null for a name without a time stamp. The session is named by its first stamp.
    """
    photos = list(photos)
    stamps = [_stamp(path) for path, _ in photos]
    by_country: dict[str | None, list[int]] = defaultdict(list)
    for at, stamp in enumerate(stamps):
        if stamp is not None:
            by_country[photos[at][1]].append(at)
    named: list[str | None] = [None] * len(photos)
    for country, members in by_country.items():
        first = last = None
        for at in sorted(members, key=lambda at: (stamps[at], photos[at][0])):
            stamp = stamps[at]
            assert stamp is not None
            if last is None or stamp - last >= SESSION_S:
                first = stamp
            last = stamp
            named[at] = f"{source}/{country or 'unknown'}/session-{first}"
    return named


def _stamp(path: str) -> int | None:
    found = _STAMP.search(Path(path).stem)
    return int(found[1]) if found else None
