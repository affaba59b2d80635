"""What every source does alike: the columns of the manifest, and country names turned into codes."""

import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.geo.countries import country_name, find_country, nearest_names
from whichland.manifest import SCHEMA

SOURCE_COLUMNS = tuple(column for column in SCHEMA if column.writer == "sources")


def complete(frame: pl.DataFrame, extra: Sequence[str] = ()) -> pl.DataFrame:
    """Give a source's rows all source columns, in order and typed, and `country` from the label.

    A column that the source does not know is null. `country` is what there is to learn from until coordinates
    are looked up. Columns in `extra`, which the manifest does not know, are kept as they are.
    """
    known = frame.with_columns(
        pl.lit(None, dtype=column.dtype).alias(column.name)
        for column in SOURCE_COLUMNS
        if column.name not in frame.columns
    )
    typed = known.select(pl.col(column.name).cast(column.dtype) for column in SOURCE_COLUMNS)
    typed = typed.with_columns(frame.select(extra))
    return typed.with_columns(pl.col("label_country").alias("country"))


def country_codes(names: Iterable[str], *, where: str, skip_unknown: bool) -> dict[str, str]:
    """Map country names or codes to alpha-2 codes.

    Where at least half of the names are codes, those that are words as well (CAN, my) count as codes. Raises
    UserError naming all that are unknown with the nearest guesses; with `skip_unknown` they are missing from the
    result instead.
    """
    wanted = list(dict.fromkeys(names))
    coded = sum(_is_code(name) for name in wanted)
    among_codes = coded > 0 and 2 * coded >= len(wanted)
    found = {
        name: code
        for name in wanted
        if (code := find_country(name, among_codes=among_codes)) and (among_codes or len(name) != 2 or name.isupper())
    }
    unknown = [name for name in wanted if name not in found]
    if unknown and not skip_unknown:
        guesses = "; ".join(_guess(name) for name in unknown[:20])
        more = f"; and {len(unknown) - 20} more" if len(unknown) > 20 else ""
        raise UserError(f"{where}: not a country: {guesses}{more}. Rename, or leave out with --skip-unknown")
    return found


def _is_code(name: str) -> bool:
    return name.isascii() and name.isalpha() and len(name) in (2, 3) and find_country(name) is not None


def _guess(name: str) -> str:
    code = find_country(name, among_codes=True)
    nearest = [country_name(code)] if code else nearest_names(name)
    return f"{name!r} (did you mean {' or '.join(nearest)}?)" if nearest else repr(name)


def absolute(path: Path) -> Path:
    """Make a path absolute and free of `..` without following links: the hub's cache links to nameless blobs."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def slug(name: str) -> str:
    """Make a source's name from a file's or folder's: lower case, with only letters, digits, `_` and `-`."""
    return re.sub(r"[^\w-]+", "-", name.casefold()).strip("-") or "photos"


def say(line: str) -> None:
    """Tell the user on stderr what was left out or found odd."""
    print(line, file=sys.stderr, flush=True)
