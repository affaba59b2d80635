"""Files that are written whole or not at all, or one line that says why not; and their SHA-256."""

import errno
import hashlib
import os
import platform
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from whichland.errors import UserError

HOST = re.sub(r"\W", "_", platform.node())  # a folder may be shared by machines, which have their own process ids


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it takes the name `path` if nothing fails, else it goes.

    Missing folders are made. The file gets the permissions that the umask gives, whatever the writer set. Raises
    UserError when it cannot be written: no permission, no space left.
    """
    partial = path.with_name(f".{path.name}.{HOST}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        yield partial
        partial.chmod(mode)
        partial.replace(path)
    except UserError:
        raise
    except Exception as error:
        if (of_system := system_error(error)) is None:
            raise
        raise cannot_write(path, of_system) from None
    finally:
        with suppress(OSError):  # where a folder of its path is a file
            partial.unlink(missing_ok=True)


def system_error(error: Exception) -> OSError | None:
    """The error of the system that an exception is, or that Polars or safetensors (Rust) reports."""
    if isinstance(error, OSError):
        return error
    number = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else None


def sweep(folder: Path) -> None:
    """Remove the half-written files of processes of this machine that were killed."""
    for partial in folder.glob(f".*.{HOST}.*.part"):
        process = partial.name.split(".")[-2]
        if process.isdecimal() and not _runs(int(process)):
            partial.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    if sys.platform == "win32":  # where asking would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def usual_permissions(path: Path) -> None:
    """Give a file that is there the permissions that the umask gives a new one: some writers choose others."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.mode")
    beside.touch()
    path.chmod(stat.S_IMODE(beside.stat().st_mode))
    beside.unlink()


def check_writable(path: Path) -> None:
    """Raise UserError where a file of that name, or one in a folder of that name, cannot be written: before the work.

    Folders that are missing do not matter, as they can be made.
    """
    nearest = next(folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder))
    if nearest != path and not nearest.exists():
        raise cannot_write(path, FileNotFoundError(errno.ENOENT, f"{nearest} is a link that leads nowhere"))
    if nearest.is_file() or not nearest.exists():
        if nearest != path:
            raise cannot_write(path, NotADirectoryError(errno.ENOTDIR, f"{nearest} is a file"))
        nearest = path.absolute().parent
    if not os.access(nearest, os.W_OK | os.X_OK):
        read_only = sys.platform != "win32" and os.statvfs(nearest).f_flag & os.ST_RDONLY
        code = errno.EROFS if read_only else errno.EACCES
        raise cannot_write(path, OSError(code, os.strerror(code)))


def cannot_write(path: Path, error: OSError) -> UserError:
    """What the user reads of a file or folder that cannot be written."""
    return UserError(f"{path}: cannot be written ({error.strerror or error}); give another place")


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
