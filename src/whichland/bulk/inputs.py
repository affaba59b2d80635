"""What to predict, as it is named on the command line, to a sequence of photos.

Files, folders, globs (also quoted ones), zip archives, Parquet shards and manifests, web addresses, and text files
that list paths and addresses. A photo is a string: a path, `archive.zip#member`, `shard.parquet#row` or an
address. Millions of them are held as bytes, not as objects.
"""

import glob
import os
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import overload

from whichland.errors import UserError
from whichland.images.containers import is_address, list_archive
from whichland.images.formats import PHOTO_SUFFIXES, passed_over
from whichland.sources.text import WESTERN, decode_text

CONTAINERS = frozenset((".zip", ".parquet"))


class Names(Sequence[str]):
    """Strings behind one prefix, a few bytes each."""

    def __init__(self, names: Iterable[str], prefix: str = "") -> None:
        self._prefix, self._text, self._ends = prefix, bytearray(), array("q", [0])
        self.addresses = False
        for name in names:
            self._text += os.fsencode(name)
            self._ends.append(len(self._text))
            self.addresses = self.addresses or is_address(name)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        return self._prefix + os.fsdecode(bytes(self._text[self._ends[at] : self._ends[at + 1]]))


class Photos(Sequence[str]):
    """All photos that were named, in their order."""

    def __init__(self, parts: Sequence[Names | range], shards: Sequence[str] = ()) -> None:
        """`shards` holds, for a part that is a range of rows, the path of their file."""
        self._parts = parts
        self._shards = shards or [""] * len(parts)
        self._starts = list(accumulate(map(len, parts), initial=0))

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        if not 0 <= at < len(self):
            raise IndexError(at)
        number = bisect_right(self._starts, at) - 1
        part, inside = self._parts[number], at - self._starts[number]
        return f"{self._shards[number]}#{part[inside]}" if isinstance(part, range) else part[inside]

    @property
    def addresses(self) -> bool:
        """Whether any of them is to be fetched from the web."""
        return any(isinstance(part, Names) and part.addresses for part in self._parts)


def find_photos(things: Iterable[str]) -> Photos:
    """List the photos that the things name, in their order; what lies in a folder is sorted by path.

    Raises UserError for what does not exist and for a folder, archive or list without photos.
    """
    parts: list[Names | range] = []
    shards: list[str] = []
    for thing in things:
        for part, shard in _parts_of(thing):
            parts.append(part)
            shards.append(shard)
    return Photos(parts, shards)


Part = tuple[Names | range, str]  # with the shard whose rows it is


def _parts_of(thing: str) -> list[Part]:
    path = Path(thing)
    if is_address(thing):
        return [(Names([thing]), "")]
    if thing == "-":
        if sys.stdin is None:
            raise UserError("standard input is closed: give a file with the list, or the photos themselves")
        return [_listed(sys.stdin.buffer.read(), "standard input")]
    if path.is_dir():
        return [_of_folder(thing)]
    if path.is_file():
        return [_of_file(thing)]
    if path.exists() or ("#" in thing and Path(thing.rpartition("#")[0]).is_file()):
        return [(Names([thing]), "")]
    if any(sign in thing for sign in "*?["):
        return _of_glob(thing)
    raise UserError(f"{thing}: no such photo or folder")


def _of_file(thing: str) -> Part:
    ending = Path(thing).suffix.lower()
    if ending == ".zip":
        return _of_archive(thing), ""
    if ending == ".parquet":
        return _of_parquet(thing)
    if ending == ".txt":
        return _listed(Path(thing).read_bytes(), thing)
    return Names([thing]), ""


def _listed(data: bytes, where: str) -> Part:
    """A path or an address on each line; empty ones and those that begin with # are passed over."""
    text, encoding = decode_text(data)
    if encoding == WESTERN:  # the names of files may be so too, or be UTF-8 on the disk and not in the list
        raw = os.fsdecode(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")).split("\n")
        lines = [one if Path(one.strip()).exists() else other for one, other in zip(raw, text.split("\n"), strict=True)]
    else:
        lines = text.split("\n")
    stripped = (line.strip() for line in lines)
    names = Names(line for line in stripped if line and not line.startswith("#"))
    if not names:
        raise UserError(f"{where}: no photos in this list (one path or address a line)")
    return names, ""


def _of_folder(folder: str) -> Part:
    names = Names(_walk(folder))
    if names:
        return names, ""
    inside = next((kind for kind in sorted(CONTAINERS) if any(Path(folder).glob(f"*{kind}"))), None)
    hint = f"; for the files in it that hold some: '{folder}/*{inside}'" if inside else ""
    raise UserError(f"{folder}: no photos in this folder ({', '.join(sorted(PHOTO_SUFFIXES))}){hint}")


def _walk(folder: str) -> Iterator[str]:
    """Photos below a folder in the order of their paths; what is not the user's own is left out."""
    try:
        with os.scandir(folder) as found:
            kinds = [(entry, entry.is_dir(follow_symlinks=False)) for entry in found if not passed_over(entry.name)]
            # a pipe would be waited for
            readable = [pair for pair in kinds if pair[1] or pair[0].is_file() or pair[0].is_symlink()]
            entries = [(entry.name, is_folder) for entry, is_folder in readable]
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror})") from None
    for name, is_folder in sorted(entries, key=lambda entry: entry[0] + "/" * entry[1]):
        path = os.path.join(folder, name)  # noqa: PTH118 (a path is shown as it was given)
        if is_folder:
            yield from _walk(path)
        elif os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES:  # noqa: PTH122 (for every file)
            yield path


def _of_glob(pattern: str) -> list[Part]:
    everywhere = "**" in pattern  # then the folders' own photos are among the matches
    matches = [
        match
        for match in sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (shown as it was given)
        if (Path(match).suffix.lower() in PHOTO_SUFFIXES | CONTAINERS and Path(match).is_file())
        or (not everywhere and Path(match).is_dir())
    ]
    if not matches:
        raise UserError(f"{pattern}: no photos match")
    if sum(match.lower().endswith(".parquet") for match in matches) > 1:
        from whichland.sources.parquet import find_shards

        find_shards(pattern)  # refuses two uploads of the same photos
    photos = [match for match in matches if Path(match).suffix.lower() in PHOTO_SUFFIXES]
    if len(photos) == len(matches):
        return [(Names(matches), "")]
    return [part for match in matches for part in _parts_of(match)]


def _of_archive(path: str) -> Names:
    names = Names((member for member in list_archive(path) if _is_photo(PurePosixPath(member))), f"{path}#")
    if not names:
        raise UserError(f"{path}: no photos in this archive")
    return names


def _is_photo(member: PurePosixPath) -> bool:
    """Whether it is called like a photo; macOS puts a second, hidden `._` file beside each in its archives."""
    hidden = any(passed_over(part) for part in member.parts)
    return member.suffix.lower() in PHOTO_SUFFIXES and not hidden


def _of_parquet(path: str) -> Part:
    """Every row of a shard with embedded images, or the kept rows of a manifest."""
    import polars as pl

    try:
        table = pl.scan_parquet(path, glob=False)
        schema = table.collect_schema()
        if isinstance(schema.get("image"), pl.Struct) or schema.get("image") == pl.Binary:
            rows = int(table.select(pl.len()).collect().item())
            if rows:
                return range(rows), path
            raise UserError(f"{path}: no rows in this shard")
        if schema.get("uri") != pl.String:
            raise UserError(f"{path}: neither images nor a column `uri` in it (it has {', '.join(schema)})")
        kept = table.filter(pl.col("drop_reason").is_null()) if "drop_reason" in schema else table
        uris = kept.select(pl.col("uri").drop_nulls()).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    if uris.is_empty():
        raise UserError(f"{path}: no kept photos in this manifest")
    return Names(uri for part in uris.iter_slices(65_536) for uri in part["uri"]), ""
