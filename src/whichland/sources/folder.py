"""A folder of photos by country, `<folder>/<ISO code or name>/**/*.jpg`, or in parts, `<folder>/train/<country>/…`.

Kaggle's GeoGuessr screenshots (`<Country>/canvas_<unix time>.jpg`) are laid out like this, and so is any
ImageFolder with country names. A folder that holds photos and no folders gives photos without a country; where
a camera or phone wrote coordinates into them, geocoding finds it.

Country211 (Radford et al., "Learning transferable visual models from natural language supervision", 2021) has parts:
150, 50 and 100 photos for each of 211 countries, from YFCC100M, each under a Creative Commons licence of its own.
"""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.geo.countries import find_country
from whichland.images.formats import PHOTO_SUFFIXES, passed_over
from whichland.sources.columns import absolute, complete, country_codes, say, slug
from whichland.sources.exif import read_exif
from whichland.sources.sequences import seconds, sequences, warn_untied
from whichland.sources.sidecars import metadata_table, read_sidecars
from whichland.sources.table import read_table

PARTS = ("train", "valid", "val", "validation", "test", "training", "testing", "training_set", "test_set")


def read_folder(
    folder: Path, *, source: str | None = None, skip_unknown: bool = False, exif: bool = True
) -> pl.DataFrame:
    """List the photos of a folder by country.

    Photos are known by their extension; whether they can be decoded is measured later. A table `metadata.csv` or
    `.jsonl` beside the photos, as the hub's ImageFolder has it, says what they show. With `exif`, coordinates,
    heading, time of capture and projection are read from the photos that state them, and from the JSON files that
    Google Takeout and Mapillary's tools put beside them. With `skip_unknown`, folders that are no country, names
    that are not UTF-8 and photos beside the country folders are left out with a line on stderr. Raises UserError for
    unknown countries and for a folder without photos.
    """
    source = source or slug(absolute(folder).name)
    folder = _inner(folder)
    if has_parts(folder):
        return read_country211(folder, source=source, skip_unknown=skip_unknown, exif=exif)
    table = metadata_table(folder)
    if table is not None:
        say(f"{folder}: what the photos show is read from {table.name}")
        return read_table(table, source=source, skip_unknown=skip_unknown)
    photos, others = walk(folder, skip_unknown=skip_unknown)
    if not photos:
        raise UserError(f"{folder}: no photos in it (looked for .jpg, .jpeg, .png, .webp, …){_instead(folder)}")
    if others:
        say(f"{folder}: {others:,} files are not images by their extension, hidden or a system's own, and ignored")
    if all("/" not in path for path in photos):
        countries: list[str | None] = [None] * len(photos)
    else:
        photos, countries = _by_country(folder, photos, skip_unknown)
    uris = [f"{absolute(folder)}/{path}" for path in photos]
    frame = pl.DataFrame(
        {
            "image_id": [f"{source}/{path}" for path in photos],
            "uri": uris,
            "source": [source] * len(photos),
            "label_country": pl.Series(countries, dtype=pl.String),
        }
    )
    pairs = list(zip(photos, countries, strict=True))
    if not exif:
        named = sequences(pairs, source)
        return _tied(frame, named, folder)
    stated = read_sidecars(folder, photos, read_exif(uris, str(folder)))
    times, cameras = seconds(stated["captured_at"]), stated["camera"].to_list()
    named = sequences(pairs, source, times=times, cameras=cameras)
    own = stated["sequence"].to_list()
    named = [name if mine is None else f"{source}/{mine}" for name, mine in zip(named, own, strict=True)]
    return _tied(frame.hstack(stated.drop("camera", "sequence")), named, folder)


def _tied(frame: pl.DataFrame, named: list[str | None], folder: Path) -> pl.DataFrame:
    frame = frame.with_columns(pl.Series("sequence", named, dtype=pl.String))
    warn_untied(
        frame, str(folder), "put each into a folder below its country's, or give a table with a column `sequence`"
    )
    return complete(frame)


def read_country211(
    folder: Path, *, source: str | None = None, skip_unknown: bool = False, exif: bool = True
) -> pl.DataFrame:
    """List the photos of all parts by country; the publishers' part is kept as `official_split`.

    Raises UserError when there is no part, and for what `read_folder` refuses.
    """
    parts = [part for part in PARTS if (folder / part).is_dir()]
    if not parts:
        raise UserError(f"{folder}: none of the folders {', '.join(PARTS[:5])} is there")
    others = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name not in PARTS)
    others = [name for name in others if not passed_over(name)]
    if others:
        say(f"{folder}: folders that are no part are ignored: {', '.join(others[:5])}")
    source = source or slug(folder.resolve().name)
    frames = []
    for part in parts:
        rows = read_folder(folder / part, source=f"{source}/{part}", skip_unknown=skip_unknown, exif=exif)
        rows = rows.with_columns(pl.lit(source).alias("source"), pl.lit(part).alias("official_split"))
        frames.append(complete(rows, extra=("official_split",)))
    return pl.concat(frames)


def has_parts(folder: Path) -> bool:
    """Tell whether a folder's folders are parts of a data set, such as train and test, and none is a country."""
    inside = [path.name for path in _folders(folder)]
    return any(name in PARTS for name in inside) and not any(find_country(name) for name in inside)


def _inner(folder: Path) -> Path:
    """Go down through folders that hold one folder each and no photo, as unpacked archives have them."""
    while True:
        inside = _folders(folder)
        if len(inside) != 1 or find_country(inside[0].name) or inside[0].name in PARTS or metadata_table(folder):
            return folder
        if any(path.suffix.lower() in PHOTO_SUFFIXES for path in _entries(folder)):
            return folder
        below = _folders(inside[0])
        # one folder of photos alone is a country whose name is not known
        if not below and not metadata_table(inside[0]) and not _has_sidecars(inside[0]):
            return folder
        say(f"{folder}: reading {inside[0].name}/, the only folder in it")
        folder = inside[0]


def _has_sidecars(folder: Path) -> bool:
    return any(path.suffix.lower() == ".json" for path in _entries(folder))


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir() and not passed_over(path.name)]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror})") from None


def _instead(folder: Path) -> str:
    """Say what to do about a folder that holds something else than photos."""
    suffixes = {path.suffix.lower() for path in _entries(folder)}
    if suffixes & {".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"}:
        return "; unpack the archives in it first"
    return ""


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
            elif path.isprintable() or _is_text(path):
                photos.append(path)
            else:
                odd.append(path)
    if odd and not skip_unknown:
        raise UserError(
            f"{folder}: the file name {odd[0]!r} is not UTF-8 ({len(odd):,} such); rename it, or leave it out with "
            "--skip-unknown"
        )
    if odd:
        say(f"{folder}: {len(odd):,} photos left out whose names are not UTF-8, {odd[0]!r} first")
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


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


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
