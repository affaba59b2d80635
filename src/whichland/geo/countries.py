"""Countries by ISO 3166-1 alpha-2 code: names in their usual English spellings, regions, driving side.

    >>> find_country("Korea, Republic of"), find_country("cote_divoire"), find_country("NA")
    ('KR', 'CI', 'NA')

The table is `countries.csv`, made by scripts/countries.py: the 249 countries of ISO 3166-1, and Kosovo as XK.
"""

import csv
import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from whichland.errors import UserError


@dataclass(frozen=True, kw_only=True, slots=True)
class Country:
    """One country or territory of ISO 3166-1."""

    code: str  # alpha-2; "NA" is Namibia
    alpha3: str
    name: str
    aliases: tuple[str, ...]
    continent: str  # Africa, Antarctica, Asia, Europe, North America, Oceania or South America
    region: str  # the finest UN M49 region: "Western Europe", "Caribbean", "Southern Africa", …
    drives_on: Literal["left", "right"]


class _Countries(Mapping[str, Country]):
    """The countries by code, read when first asked for."""

    def __getitem__(self, code: str) -> Country:
        return _table()[code]

    def __iter__(self) -> Iterator[str]:
        return iter(_table())

    def __len__(self) -> int:
        return len(_table())


COUNTRIES: Mapping[str, Country] = _Countries()


def find_country(text: str) -> str | None:
    """Give the alpha-2 code for a code (alpha-2 or alpha-3) or any usual English spelling, or None.

    Case, accents, punctuation, underscores, "the", "and" and "&" do not matter, nor does the order around a
    comma or bracket ("Korea, Republic of").
    """
    spelled, by_code = text.strip(), _codes()
    if spelled.upper() in by_code:
        return by_code[spelled.upper()]
    names = _names()
    found = names.get(_key(spelled))
    if found is None:
        last, *first = re.split(r"[,(]", spelled, maxsplit=1)
        found = names.get(_key(" ".join([*first, last])))
    return found


def nearest_names(text: str, n: int = 3) -> list[str]:
    """List the names of up to `n` countries that `text` may have meant, the nearest first."""
    names = {key: code for key, code in _names().items() if len(key) > 3}  # every short word is near some code
    keys = difflib.get_close_matches(_key(text), names, n=3 * n, cutoff=0.65)
    return list(dict.fromkeys(COUNTRIES[names[key]].name for key in keys))[:n]


def country_name(code: str) -> str:
    """Give the English name of a country. Raises UserError for what is not an alpha-2 code."""
    if code not in COUNTRIES:
        raise UserError(f"{code!r} is no country: codes are ISO 3166-1 alpha-2, such as NO; mend the column `country`")
    return COUNTRIES[code].name


def region_order(codes: Iterable[str]) -> list[str]:
    """Sort codes by continent, region and name, so that neighbours stand together in a matrix."""
    return sorted(codes, key=lambda code: (COUNTRIES[code].continent, COUNTRIES[code].region, country_name(code)))


@cache
def _table() -> dict[str, Country]:
    with Path(__file__).with_name("countries.csv").open(encoding="utf-8", newline="") as file:
        return {row["code"]: _country(row) for row in csv.DictReader(file)}


def _country(row: dict[str, str]) -> Country:
    return Country(
        code=row["code"],
        alpha3=row["alpha3"],
        name=row["name"],
        aliases=tuple(row["aliases"].split("; ")) if row["aliases"] else (),
        continent=row["continent"],
        region=row["region"],
        drives_on="left" if row["drives_on"] == "left" else "right",
    )


@cache
def _codes() -> dict[str, str]:
    countries = COUNTRIES.values()
    return {c.alpha3: c.code for c in countries} | {c.code: c.code for c in countries}


@cache
def _names() -> dict[str, str]:
    """Map the normalised form of every spelling to its code."""
    spellings = {_key(alias): c.code for c in COUNTRIES.values() for alias in c.aliases}
    own = {_key(c.name): c.code for c in COUNTRIES.values()}  # a country's own name wins over another's alias
    codes = {_key(code): country for code, country in _codes().items() if _key(code)}  # for "U.S." and "U.S.A."
    return codes | spellings | own


# Words written in several ways, as the normalised form has them; None: the word does not count.
_WORDS = {"the": None, "and": None, "saint": "st", "sainte": "st", "rep": "republic", "dem": "democratic"}


def _key(text: str) -> str:
    """Normalise a spelling: no case, accents, punctuation, spaces; "SouthKorea" equals "south_korea"."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()
    words = re.findall(r"[^\W_]+", re.sub(r"['’ʼ`]", "", text))
    return "".join(_WORDS.get(word, word) or "" for word in words)
