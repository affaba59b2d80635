"""A folder of photos by country, `<folder>/<ISO code or name>/**/*.jpg`, or in parts, `<folder>/train/<country>/…`.

Kaggle's GeoGuessr screenshots (`<Country>/canvas_<unix time>.jpg`) are laid out like this, and so is any
ImageFolder with country names. A folder that holds photos and no folders gives photos without a country; where
a camera or phone wrote coordinates into them, geocoding finds it.

Country211 (Radford et al., "Learning transferable visual models from natural language supervision", 2021) has parts:
150, 50 and 100 photos for each of 211 countries, from YFCC100M, each under a Creative Commons licence of its own.
"""

from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.geo.countries import find_country
from whichland.images.containers import PHOTO_SUFFIXES, passed_over
from whichland.printed import counted
from whichland.sources.columns import complete, country_codes, identified, say, slug
from whichland.sources.exif import read_exif
from whichland.sources.files import absolute, walk
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
        archives = {path.suffix.lower() for path in _entries(folder)} & {".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"}
        remedy = "; unpack the archives in it first" if archives else ""
        raise UserError(f"{folder}: no photos in it (looked for .jpg, .jpeg, .png, .webp, …){remedy}")
    if others:
        say(f"{folder}: {others:,} files are not images by their extension, hidden or a system's own, and ignored")
    if all("/" not in path for path in photos):
        countries: list[str | None] = [None] * len(photos)
    else:
        photos, countries = _by_country(folder, photos, skip_unknown)
    pairs, uris = list(zip(photos, countries, strict=True)), [f"{absolute(folder)}/{path}" for path in photos]
    frame = pl.DataFrame({"path": photos, "uri": uris, "label_country": pl.Series(countries, dtype=pl.String)})
    frame = frame.with_columns(*identified(source, "path"))
    if exif:
        stated = read_sidecars(folder, photos, read_exif(uris, str(folder)))
        tied = sequences(pairs, source, times=seconds(stated["captured_at"]), cameras=stated["camera"].to_list())
        own = pl.concat_str(pl.lit(f"{source}/"), "sequence")
        frame = frame.hstack(stated).with_columns(sequence=pl.coalesce(own, pl.Series(tied, dtype=pl.String)))
    else:
        frame = frame.with_columns(sequence=pl.Series(sequences(pairs, source), dtype=pl.String))
    remedy = "put each into a folder below its country's, or give a table with a column `sequence`"
    warn_untied(frame, str(folder), remedy)
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
    """Whether a folder's folders are parts of a data set, such as train and test, and none is a country."""
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
        # one folder of photos alone is a country whose name is not known
        sidecars = any(path.suffix.lower() == ".json" for path in _entries(inside[0]))
        if not sidecars and not _folders(inside[0]) and not metadata_table(inside[0]):
            return folder
        say(f"{folder}: reading {inside[0].name}/, the only folder in it")
        folder = inside[0]


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir() and not passed_over(path.name)]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror})") from None


def _by_country(folder: Path, photos: list[str], skip_unknown: bool) -> tuple[list[str], list[str | None]]:
    """Keep the photos inside country folders, with the code of each."""
    loose = [path for path in photos if "/" not in path]
    if loose and not skip_unknown:
        raise UserError(
            f"{folder}: {counted(len(loose), 'photo')} beside the country folders, {loose[0]!r} first; "
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
