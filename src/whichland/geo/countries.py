"""Countries by ISO 3166-1 alpha-2 code: names in their usual English spellings, regions, driving side.

    >>> find_country("Korea, Republic of"), find_country("cote_divoire"), find_country("NA")
    ('KR', 'CI', 'NA')

The table is `countries.csv`, made by scripts/countries.py: the 249 countries of ISO 3166-1, and Kosovo as XK.
"""

import csv
import difflib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

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


def _read(file: Path) -> dict[str, Country]:
    with file.open(encoding="utf-8", newline="") as table:
        rows: list[dict[str, Any]] = list(csv.DictReader(table))
    return {row["code"]: Country(**row | {"aliases": tuple(filter(None, row["aliases"].split("; ")))}) for row in rows}


COUNTRIES: Mapping[str, Country] = _read(Path(__file__).with_name("countries.csv"))

# Member states of the European Union since 2020: Treaty on European Union, article 52, less the United Kingdom.
_EU = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
GROUPS: Mapping[str, frozenset[str]] = {"EU": frozenset(_EU.split())}  # beside the UN's regions

# Codes of three letters that folders and cells as often hold as a word, a month, a maker or a file format.
ALSO_WORDS = frozenset(
    (
        *("AND", "ARE", "ARM", "BEN", "CAN", "COD", "COM", "DJI", "DOM", "GEO", "GUM", "GUY", "IOT", "JAM", "LIE"),
        *("MAC", "MAR", "PAN", "PNG", "SSD", "SUR", "TON", "VAT"),
    )
)

# Words written in several ways, as the normalised form has them; None: the word does not count.
_WORDS = {
    **{"the": None, "and": None, "saint": "st", "sainte": "st", "rep": "republic", "dem": "democratic"},
    **{"fed": "federal", "federated": "federal", "sts": "states", "is": "islands", "isl": "islands"},
}


def find_country(text: str, *, among_codes: bool = False) -> str | None:
    """Give the alpha-2 code for a code or any usual spelling of a country's name, or None.

    Codes are two letters of one case, or three capitals; some of three, such as CAN, are words as well and count only
    `among_codes`, where case does not matter. Names may be in English or in a language of the country. Case, accents,
    punctuation, underscores, "the", "and" and "&" do not matter in them, nor does the order ("Korea, Republic of").
    A word may be cut short at a full stop ("S. Sudan"), and a second name stand in brackets ("Turkey (Türkiye)").
    """
    # a flag or another sign beside the name says nothing more
    text = "".join(c for c in text if unicodedata.category(c) not in ("So", "Cf")).strip()
    code = _codes().get(text.upper())
    as_written = (text.isupper() and text not in ALSO_WORDS) or (len(text) == 2 and text.islower())
    if code and (among_codes or as_written):
        return code
    named = _short_names().get(text) or _names().get(_key(text)) or _names().get(_any_order(text))
    return named or _cut_short(text) or _in_brackets(text)


def _cut_short(text: str) -> str | None:
    """Look up a name of which words end in a full stop that stands for their rest; None where several fit."""
    dotted = re.findall(r"([^\W\d_]+)(\.?)", _plain(text))
    if len(dotted) < 2 or not any(dot for _, dot in dotted) or max(len(word) for word, _ in dotted) < 3:
        return None
    words = [(_WORDS.get(word, word), dot) for word, dot in dotted]
    pattern = re.compile(" ".join(re.escape(word) + (r"\S*" if dot else "") for word, dot in words if word))
    found = {code for name, code in _spaced_names() if pattern.fullmatch(name)}
    return found.pop() if len(found) == 1 else None


def _in_brackets(text: str) -> str | None:
    """Look up two names of one country, or a territory and, in brackets, whose it is."""
    from whichland.geo.territories import sovereigns

    both = re.fullmatch(r"([^()/]+)[(/]([^()/]+)\)?", text)
    if both is None:
        return None
    first, second = (find_country(part) for part in both.groups())
    return first if first and second in (first, sovereigns().get(first)) else None


def nearest_names(text: str, n: int = 3) -> list[str]:
    """List the names of up to `n` countries that `text` may have meant, the nearest first."""
    names = {key: code for key, code in _names().items() if len(key) > 3 and " " not in key}
    keys = difflib.get_close_matches(_key(text), names, n=3 * n, cutoff=0.65)
    return list(dict.fromkeys(COUNTRIES[names[key]].name for key in keys))[:n]


def country_name(code: str) -> str:
    """Give the English name of a country. Raises UserError for what is not an alpha-2 code."""
    if code not in COUNTRIES:
        raise UserError(f"{code!r} is no country: codes are ISO 3166-1 alpha-2, such as NO; mend the column `country`")
    return COUNTRIES[code].name


@cache
def _codes() -> dict[str, str]:
    return {c.alpha3: c.code for c in COUNTRIES.values()} | {code: code for code in COUNTRIES}


@cache
def _short_names() -> dict[str, str]:
    """Map names of at most three letters, which would pass for words in another case: UK, DRC, U.S.A."""
    short = {alias: c.code for c in COUNTRIES.values() for alias in c.aliases if len(alias) <= 3 and alias.isascii()}
    stopped = {".".join(name) + ".": code for name, code in (short | {"US": "US"}).items() if len(name) > 1}
    lower = {name.lower(): short[name] for name in ("UK", "USA", "UAE", "DRC")}
    return short | stopped | lower


@cache
def _names() -> dict[str, str]:
    """Map the normalised forms of every spelling to its code; a country's own name wins over another's alias."""
    found: dict[str, str] = {}
    for form in (_any_order, _key):
        aliases = {
            form(alias): c.code for c in COUNTRIES.values() for alias in c.aliases if alias not in _short_names()
        }
        found |= aliases | {form(c.name): c.code for c in COUNTRIES.values()}
    return {name: code for name, code in found.items() if name}


@cache
def _spaced_names() -> list[tuple[str, str]]:
    return [(" ".join(_words(name)), c.code) for c in COUNTRIES.values() for name in (c.name, *c.aliases)]


def _plain(text: str) -> str:
    """Take away case, accents, apostrophes and the joints of CamelCase."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()
    return re.sub(r"['’‘ʼʻ`]", "", text)


def _words(text: str) -> list[str]:
    words = re.findall(r"[^\W_]+", _plain(text))
    return [known for word in words if (known := _WORDS.get(word, word))]


def _key(text: str) -> str:
    """Normalise a spelling: no case, accents, punctuation, spaces; "SouthKorea" equals "south_korea"."""
    return "".join(_words(text))


def _any_order(text: str) -> str:
    """Normalise a spelling of several words whatever their order; one word has no such form."""
    words = [word for word in _words(text) if word != "of"]
    return " ".join(sorted(words)) if len(words) > 1 else ""
