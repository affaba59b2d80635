"""Text of others, which may be in any encoding, and JSON in it."""

import codecs
import json
import re
from typing import Any

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
    for name in (encoding,) if encoding else ("utf-8", WESTERN):
        try:
            return _lines(data.decode(name)), name
        except UnicodeDecodeError:
            continue
    return _lines(data.decode(encoding or "latin-1", errors="replace")), encoding or WESTERN


def _lines(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    return re.sub("^\ufeff+", "", text, flags=re.MULTILINE) if "\ufeff" in text else text  # of files put together


def parse_json(text: str) -> list[Any]:
    """Parse one JSON document, or one a line. Raises ValueError, which says what is wrong with the whole as one."""
    try:
        return [json.loads(text)]
    except (ValueError, RecursionError) as whole:
        try:
            return [json.loads(line) for line in text.split("\n") if line.strip()]
        except (ValueError, RecursionError):
            raise ValueError(str(whole)) from None
