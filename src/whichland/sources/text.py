"""Text from files of others, whatever encoding their spreadsheet or shell wrote it in."""

import codecs

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WESTERN = "cp1252"  # what is neither UTF-8 nor UTF-16 is taken for this


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
