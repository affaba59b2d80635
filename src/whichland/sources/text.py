"""Text of others: the encodings of lists and tables, and names that differ from those on the disk."""

import codecs
import os
import unicodedata
from functools import lru_cache

WESTERN = "cp1252"  # what is neither UTF-8 nor UTF-16 is taken for this

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode_text(data: bytes) -> tuple[str, str]:
    """Decode text and return it with the name of its encoding; lines end in a line feed.

    Known are UTF-8, UTF-16 and UTF-32 by their mark, UTF-16 also by its zeros; all else is taken as Windows-1252, of
    which every byte means something here.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is None and b"\0" in data[:200]:
        encoding = "utf-16-le" if data[1:200:2].count(0) >= data[:200:2].count(0) else "utf-16-be"
    if encoding is None:
        try:
            return _lines(data.decode()), "utf-8"
        except UnicodeDecodeError:
            encoding = WESTERN
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("latin-1" if encoding == WESTERN else encoding, errors="replace")
    return _lines(text), encoding


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


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
    """The names in a folder by their form."""
    by_form: dict[str, list[str]] = {}
    try:
        for name in os.listdir(folder):  # noqa: PTH208
            by_form.setdefault(_form(name), []).append(name)
    except OSError:
        return {}
    return by_form


def _form(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
