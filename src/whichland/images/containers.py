"""Where the bytes of an image lie: a file, a row of a Parquet shard, or a member of a zip archive.

Shards and archives are read in place. What is kept between calls is bounded: a few blocks of rows, a few open
archives. Every function here may be called from several threads. A process that was forked after Polars was
imported cannot read shards (its thread pool does not survive a fork): start workers with "spawn" or
"forkserver".
"""

import lzma
import os
import re
import stat
import struct
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from whichland.errors import UserError

MAX_BYTES = 200_000_000  # of one encoded image

_INSIDE = re.compile(r"(.+?\.(parquet|zip))#(.+)", re.IGNORECASE | re.DOTALL)

BLOCK_ROWS = 16  # rows read together from a shard, and more of one that is read in order
BLOCK_SIZES = tuple(BLOCK_ROWS << doubled for doubled in range(9))
GROWING_BYTES = 64_000_000  # a block of more is followed by one of as many rows, not twice as many
KEPT_BLOCKS_BYTES = 128_000_000
KEPT_ARCHIVES = 16

# Formats that cannot be decoded are here too, so that they are reported, not ignored.
PHOTO_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"),
    *(".heic", ".heif", ".jp2", ".j2k", ".jxl", ".ppm", ".pgm"),
}
# Folders in which systems keep thumbnails and what was thrown away: of Synology, QNAP, Windows, macOS and Linux.
SYSTEM_FOLDERS = {
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", "@sharebin", "lost+found"),
    *("$recycle.bin", "recycler", "recycled", "system volume information", "__macosx"),
}


def passed_over(name: str) -> bool:
    """Whether a file or folder is not the user's own: hidden by a dot, or put there by a system."""
    return name.startswith(".") or name.casefold() in SYSTEM_FOLDERS


_forked = False


def _after_fork() -> None:
    global _forked, _blocks
    _forked, _blocks = True, _Blocks()
    _archive.cache_clear()


def is_address(uri: str) -> bool:
    """Whether an image is to be fetched from the web, see `images.fetch`."""
    return uri[:8].lower().startswith(("http://", "https://"))


class ImageError(UserError):
    """An image that cannot be read: one line saying why and, where there is one, the remedy."""


def named(error: ImageError, uri: str) -> ImageError:
    """The same error with the image's name in front, where it is not there yet."""
    return error if str(error).startswith(uri) else ImageError(f"{uri}: {error}")


def read_bytes(uri: str) -> bytes:
    """Read the encoded image at `uri`: a path, `shard.parquet#row` or `archive.zip#member`.

    Rows count from 0 within their file. Raises ImageError when there is nothing to read or it is over
    `MAX_BYTES`.
    """
    inside = _INSIDE.fullmatch(uri) if "#" in uri else None
    if inside is None or Path(uri).exists():
        return _read_file(uri)
    container, kind, name = inside.groups()
    _check_file(container)
    if kind.lower() == "zip":
        return _read_member(container, name)
    if not name.isdecimal():
        raise ImageError(f"{uri}: after # stands the number of a row, not {name!r}")
    return _blocks.read(container, int(name))


def require_files(uris: Sequence[str]) -> None:
    """Raise UserError when not one of the files that photos lie in is there, of 100 looked at: they were moved."""
    files = {container_of(uri) for uri in uris[:: max(1, len(uris) // 100)] if not is_address(uri)}
    if files and not any(os.path.exists(file) for file in files):  # noqa: PTH110 (as elsewhere here)
        raise UserError(
            f"the photos are not where the table says ({min(files)} and all others looked at are gone); if they were "
            "moved, make the table anew from where they are now: `whichland data prepare PHOTOS -o TABLE`"
        )


def container_of(uri: str) -> str:
    """The file that holds the bytes of an image: the shard or archive, or the image's own."""
    inside = _INSIDE.fullmatch(uri) if "#" in uri else None
    return uri if inside is None or Path(uri).exists() else inside.group(1)


def list_archive(path: str | Path) -> list[str]:
    """Name all members of a zip archive, from the directory at its end. Raises ImageError for what is none."""
    with _open_archive(path) as archive:
        return archive.namelist()


def _open_archive(path: str | Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:  # ValueError: a name
        raise ImageError(f"{path}: not a readable zip archive ({error})") from None


def _check_file(path: str) -> int:
    """Return the size of a regular file, or raise ImageError."""
    try:
        status = os.stat(path)  # noqa: PTH116 (called for every photo; making a Path takes longer than asking)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path}: cannot be read ({reason})") from None
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{path}: not a file")
    return status.st_size


def _check_size(uri: str, size: int) -> None:
    if size > MAX_BYTES:
        raise ImageError(f"{uri}: {size:,} bytes are over the limit of {MAX_BYTES:,}")


def _read_file(path: str) -> bytes:
    size = _check_file(path)
    _check_size(path, size)
    try:
        with open(path, "rb") as file:
            return file.read(size)  # asking for more than is there would make room for it
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from None


class _Blocks:
    """Blocks of rows of shards, least recently used out first.

    To read one row, the whole row group that holds it has to be decoded, and most libraries write one row group a
    shard. So blocks grow while a shard is read in order, and stay small where it is not.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # by shard, its time of change, the number of rows of a block, and the block's number among those of that size
        self._kept: OrderedDict[tuple[str, int, int, int], list[bytes | None]] = OrderedDict()
        self._bytes = 0
        self._last: dict[str, tuple[int, int]] = {}  # of each shard, the end of the block read last, and its rows

    def read(self, shard: str, row: int) -> bytes:
        changed = Path(shard).stat().st_mtime_ns
        with self._lock:
            end, rows = self._last.get(shard, (-1, BLOCK_ROWS))
            if not end <= row < end + rows:
                rows = BLOCK_ROWS
            keys = [(shard, changed, size, row // size) for size in BLOCK_SIZES]
            key = next((key for key in keys if key in self._kept), (shard, changed, rows, row // rows))
            block = self._kept.get(key)
            if block is not None:
                self._kept.move_to_end(key)
        if block is None:
            block = _read_block(shard, key[3] * key[2], key[2])
            self._keep(key, block)
        at = row % key[2]
        if at >= len(block):
            raise ImageError(f"{shard}#{row}: the shard has no such row")
        data = block[at]
        if data is None:
            raise ImageError(f"{shard}#{row}: the row has no image bytes")
        _check_size(f"{shard}#{row}", len(data))
        return data

    def _keep(self, key: tuple[str, int, int, int], block: list[bytes | None]) -> None:
        with self._lock:
            shard, _, rows, number = key
            grown = rows if _size(block) > GROWING_BYTES else min(2 * rows, BLOCK_SIZES[-1])
            self._last[shard] = ((number + 1) * rows, grown)
            if key not in self._kept:
                self._kept[key] = block
                self._bytes += _size(block)
            while self._bytes > KEPT_BLOCKS_BYTES and len(self._kept) > 1:
                self._bytes -= _size(self._kept.popitem(last=False)[1])


def _size(block: list[bytes | None]) -> int:
    return sum(len(data) for data in block if data)


def _read_block(shard: str, start: int, rows: int) -> list[bytes | None]:
    """Rows of the column `image`: a struct with bytes, or plain bytes."""
    if _forked:
        raise RuntimeError('Parquet rows cannot be read in a forked process; start workers with "spawn"')
    import polars as pl

    table, image = pl.scan_parquet(shard, glob=False), pl.col("image")
    try:
        kind = table.collect_schema().get("image")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ImageError(f"{shard}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    if isinstance(kind, pl.Struct) and any(f.name == "bytes" and f.dtype == pl.Binary for f in kind.fields):
        image = image.struct.field("bytes")
    elif kind != pl.Binary:
        raise ImageError(f"{shard}: no column `image` of struct{{bytes, path}}")
    try:
        return table.slice(start, rows).select(image.alias("bytes")).collect()["bytes"].to_list()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ImageError(f"{shard}: cannot be read ({str(error).splitlines()[0]})") from None


# What Python's decompressors raise on broken members and on those of other methods.
_BROKEN_MEMBER = (
    *(zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError, ValueError, MemoryError),
    *(zlib.error, lzma.LZMAError, struct.error),
)


@lru_cache(maxsize=KEPT_ARCHIVES)  # one is closed when the last reader lets go of it
def _archive(path: str, changed: int) -> zipfile.ZipFile:
    """An open archive of that time of change; it may be read from several threads."""
    return _open_archive(path)


def _read_member(path: str, member: str) -> bytes:
    archive = _archive(path, Path(path).stat().st_mtime_ns)
    try:
        info = archive.getinfo(member)
    except KeyError:
        raise ImageError(f"{path}#{member}: the archive has no such member") from None
    _check_size(f"{path}#{member}", info.file_size)
    try:
        with archive.open(info) as file:
            return file.read(MAX_BYTES + 1)
    except _BROKEN_MEMBER as error:
        raise ImageError(f"{path}#{member}: cannot be unpacked ({error})") from None


_blocks = _Blocks()
os.register_at_fork(after_in_child=_after_fork)
