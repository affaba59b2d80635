"""Which country is answered for each polygon: one table, and a user's own changes to it.

`territories.csv` has a row a polygon: its id, name, the ISO code answered, the sovereign state, and why where that
is not plain. The rule: a polygon's own ISO code, else that of the territory it is a part of, else the state's.
`disputed.csv` has the places that another state sees otherwise, whether it claims, holds or recognises them.
"""

import csv
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from whichland.config import read_toml
from whichland.errors import UserError
from whichland.geo.countries import COUNTRIES

ISO, SOVEREIGN = "iso", "sovereign"


class Territory(NamedTuple):
    """One polygon of the borders."""

    id: str  # country-coder's ISO code or Wikidata id
    name: str
    code: str  # what is answered; empty: nothing
    sovereign: str
    why: str


@cache
def territories() -> tuple[Territory, ...]:
    """Read the table, in the order of the polygons."""
    with Path(__file__).with_name("territories.csv").open(encoding="utf-8", newline="") as file:
        return tuple(Territory(**row) for row in csv.DictReader(file))


class Disputed(NamedTuple):
    """A place of which states see differently whose it is."""

    name: str
    lat: float  # of a point in it
    lon: float
    code: str  # what is answered there
    otherwise: tuple[str, ...]  # states that see it otherwise


@cache
def disputed() -> tuple[Disputed, ...]:
    """Read their table, in the order of the names."""
    with Path(__file__).with_name("disputed.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            Disputed(row["name"], float(row["lat"]), float(row["lon"]), row["code"], tuple(row["otherwise"].split()))
            for row in csv.DictReader(file)
        )


def answers(choice: str | Mapping[str, str] = ISO) -> tuple[str, ...]:
    """The code answered for each polygon.

    `choice` is "iso"; "sovereign", by which a dependency is its state (PR is US, HK is CN, AX is FI); a mapping;
    or the path of a file of one: TOML (`PR = "US"`) or CSV (columns id and code). Its keys are ids of polygons, or
    codes, for all polygons that answer one; an id goes before a code, and an empty value answers nothing. Raises
    UserError for unknown keys and for values that are no country.
    """
    table = territories()
    if choice == ISO:
        return tuple(row.code for row in table)
    if choice == SOVEREIGN:
        return tuple(row.sovereign for row in table)
    where = "territories" if isinstance(choice, Mapping) else str(choice)
    changes = dict(choice) if isinstance(choice, Mapping) else _read(Path(choice))
    known = {row.id for row in table} | {row.code for row in table}
    for key, code in changes.items():
        if key not in known:
            raise UserError(f"{where}: {key!r} is no code or id in whichland/geo/territories.csv")
        if code and code not in COUNTRIES:
            raise UserError(f"{where}: {key} = {code!r} is no ISO 3166-1 alpha-2 code, nor empty")
    return tuple(changes.get(row.id, changes.get(row.code, row.code)) for row in table)


def folded(choice: str | Mapping[str, str] = ISO) -> dict[str, str]:
    """The codes that no polygon answers any more under `choice`, each with the code that stands for it."""
    code_of = answers(choice)
    left = set(code_of)
    now = {row.code: code for row, code in zip(territories(), code_of, strict=True) if code}
    return {code: instead for code, instead in now.items() if code not in left}


@cache
def sovereigns() -> dict[str, str]:
    """The state that each code belongs to; a state's own is itself."""
    return {row.code: row.sovereign for row in territories() if row.code}


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise UserError(f"territories {str(path)!r}: not {ISO} or {SOVEREIGN}, and no such .toml or .csv file")
    if path.suffix.lower() == ".toml":
        return _texts(path, read_toml(path).items())
    try:
        rows = csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines())
        if not {"id", "code"} <= set(rows.fieldnames or ()):
            raise UserError(f"{path}: the columns id and code are needed, as in whichland/geo/territories.csv")
        return _texts(path, ((row["id"], row["code"]) for row in rows))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a readable table of territories ({error})") from None


def _texts(path: Path, pairs: Iterable[tuple[object, object]]) -> dict[str, str]:
    changes = {}
    for key, code in pairs:
        if not isinstance(key, str) or not isinstance(code, str):
            raise UserError(f"{path}: {key or 'a row without an id'} has no text as its code")
        changes[key.strip()] = code.strip().upper()
    return changes
