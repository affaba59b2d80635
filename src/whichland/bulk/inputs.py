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
from pathlib import Path, PurePosixPath
from typing import overload

from whichland.errors import UserError
from whichland.images.containers import PHOTO_SUFFIXES, is_address, list_archive, passed_over
from whichland.sources.text import WESTERN, decode_text

CONTAINERS = frozenset((".zip", ".parquet"))


class Photos(Sequence[str]):
    """Photos in their order, a few bytes each: the names, and once for many the file that they lie in."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._text, self._ends = bytearray(), array("q", [0])
        self._starts: list[int] = []
        self._prefixes: list[str] = []
        self.addresses = False  # whether any of them is to be fetched from the web
        self.add(names)

    def add(self, names: Iterable[str], prefix: str = "") -> bool:
        """Append names, each behind the prefix; return whether there was any."""
        before = len(self)
        self._starts.append(before)
        self._prefixes.append(prefix)
        for name in names:
            self._text += os.fsencode(name)
            self._ends.append(len(self._text))
            self.addresses = self.addresses or (not prefix and is_address(name))
        return len(self) > before

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        if not 0 <= at < len(self):
            raise IndexError(at)
        name = os.fsdecode(bytes(self._text[self._ends[at] : self._ends[at + 1]]))
        return self._prefixes[bisect_right(self._starts, at) - 1] + name


def find_photos(inputs: Iterable[str]) -> Photos:
    """List the photos that `inputs` name, in their order; what lies in a folder is sorted by path.

    Raises UserError for what does not exist and for a folder, archive or list without photos.
    """
    photos = Photos()
    for name in inputs:
        _add(photos, name)
    return photos


def _add(photos: Photos, name: str) -> None:
    path = Path(name)
    inside = "#" in name and Path(name.rpartition("#")[0]).is_file()
    if name == "-":
        if sys.stdin is None:
            raise UserError("standard input is closed: give a file with the list, or the photos themselves")
        _add_list(photos, sys.stdin.buffer.read(), "standard input")
    elif is_address(name):
        photos.add([name])
    elif path.is_dir():
        _add_folder(photos, name)
    elif path.is_file() and path.suffix.lower() == ".zip":
        if not photos.add(filter(_is_photo, list_archive(name)), f"{name}#"):
            raise UserError(f"{name}: no photos in this archive")
    elif path.is_file() and path.suffix.lower() == ".parquet":
        _add_parquet(photos, name)
    elif path.is_file() and path.suffix.lower() == ".txt":
        _add_list(photos, path.read_bytes(), name)
    elif path.exists() or inside:
        photos.add([name])
    elif any(sign in name for sign in "*?["):
        _add_glob(photos, name)
    else:
        raise UserError(f"{name}: no such photo or folder")


def _add_list(photos: Photos, data: bytes, where: str) -> None:
    """A path or an address on each line; empty ones and those that begin with # are passed over."""
    text, encoding = decode_text(data)
    lines = text.split("\n")
    if encoding == WESTERN:  # the names of files may be so too, or be UTF-8 on the disk and not in the list
        raw = os.fsdecode(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")).split("\n")
        lines = [one if Path(one.strip()).exists() else other for one, other in zip(raw, lines, strict=True)]
    stripped = (line.strip() for line in lines)
    if not photos.add(line for line in stripped if line and not line.startswith("#")):
        raise UserError(f"{where}: no photos in this list (one path or address a line)")


def _add_folder(photos: Photos, folder: str) -> None:
    if not photos.add(_walk(folder)):
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


def _add_glob(photos: Photos, pattern: str) -> None:
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
    if all(Path(match).suffix.lower() in PHOTO_SUFFIXES for match in matches):
        photos.add(matches)
        return
    for match in matches:
        _add(photos, match)


def _is_photo(member: str) -> bool:
    """Whether it is called like a photo; macOS puts a second, hidden `._` file beside each in its archives."""
    path = PurePosixPath(member)
    return path.suffix.lower() in PHOTO_SUFFIXES and not any(map(passed_over, path.parts))


def _add_parquet(photos: Photos, path: str) -> None:
    """Every row of a shard with embedded images, or the kept rows of a manifest."""
    import polars as pl

    try:
        table = pl.scan_parquet(path, glob=False)
        schema = table.collect_schema()
        if isinstance(schema.get("image"), pl.Struct) or schema.get("image") == pl.Binary:
            rows = int(table.select(pl.len()).collect().item())
            if not photos.add(map(str, range(rows)), f"{path}#"):
                raise UserError(f"{path}: no rows in this shard")
            return
        if schema.get("uri") != pl.String:
            raise UserError(f"{path}: neither images nor a column `uri` in it (it has {', '.join(schema)})")
        kept = table.filter(pl.col("drop_reason").is_null()) if "drop_reason" in schema else table
        uris = kept.select(pl.col("uri").drop_nulls()).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    if not photos.add(uri for part in uris.iter_slices(65_536) for uri in part["uri"]):
        raise UserError(f"{path}: no kept photos in this manifest")
