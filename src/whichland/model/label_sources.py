"""Where label spaces come from: ISO 3166-1, or a text column of a manifest.

Also some of a space's labels by name: codes, names, what they lie in, the EU, or the driving side.

among(space, "EU, RS, BA")
('AT', 'BA', 'BE', …)
among(space, "drives left")
('GB', 'JP', …)
"""

import difflib
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from whichland.errors import UserError
from whichland.geo.countries import COUNTRIES, GROUPS, Country, find_country
from whichland.model.labels import COUNTRY, Label, LabelSpace

if TYPE_CHECKING:
    from whichland.manifest import Manifest

REGION, CONTINENT = "region", "continent"


def countries(codes: Sequence[str] | None = None) -> LabelSpace:
    """Countries by ISO 3166-1 alpha-2 code, in UN regions, in continents, all where none are named; without points.

    Raises UserError for what is no country.
    """
    return LabelSpace(kind=COUNTRY, tree=_above_labels(sorted(COUNTRIES) if codes is None else codes))


def column_labels(manifest: "Manifest", column: str, codes: Sequence[str]) -> LabelSpace:
    """The labels of a manifest's column; without points.

    A label lies in a country where all its kept photos that have one share it. Raises UserError for a code of
    column `country` that is no country.
    """
    if column == COUNTRY:
        return countries(codes)
    import polars as pl

    parents: dict[str, str] = {}
    if COUNTRY in manifest.frame.columns and column != CONTINENT:
        rows = manifest.kept.drop_nulls([column, COUNTRY]).group_by(column).agg(pl.col(COUNTRY).unique())
        parents = {str(code): found[0] for code, found in rows.iter_rows() if len(found) == 1}
    own = {code: Label(code, parents.get(code)) for code in codes}
    above = _above_labels(sorted({label.parent for label in own.values() if label.parent})) if parents else {}
    below = takewhile(lambda item: item[0] != column, above.items())  # of a level of the column's name there is one
    return LabelSpace(kind=column, tree={column: own} | dict(below))


def _above_labels(codes: Sequence[str]) -> dict[str, dict[str, Label]]:
    """Countries, their regions and continents, by level."""
    unknown = [code for code in codes if code not in COUNTRIES]
    if unknown:
        raise UserError(
            f"{unknown[0]!r} is no country: codes are ISO 3166-1 alpha-2, such as NO; mend the column `country`, or "
            "train on another column with --label"
        )
    of = [COUNTRIES[code] for code in codes]
    regions = {country.region: country.continent for country in sorted(of, key=lambda country: country.region)}
    return {
        COUNTRY: {one.code: Label(one.name, one.region) for one in of},
        REGION: {name: Label(name, continent) for name, continent in regions.items()},
        CONTINENT: {name: Label(name) for name in sorted(set(regions.values()))},
    }


def among(space: LabelSpace, names: str | Iterable[str]) -> tuple[str, ...]:
    """The codes of the labels that any of `names` covers, in the order of the labels.

    A name is the code or name of a label, of what labels lie in ("Europe"), of a group of countries ("EU"), or
    "drives left" or "drives right"; a text lists names between commas. Raises UserError, with the nearest names, for
    one that covers no label.
    """
    texts = names.split(",") if isinstance(names, str) else list(names)
    covered = {code for text in texts for code in _covered(space, text.strip())}
    return tuple(code for code in space.codes if code in covered)


def groups_of(space: LabelSpace) -> dict[str, list[str]]:
    """The names that cover labels of a space, each with their codes: what they lie in, groups, driving sides.

    Where labels lie in countries, every continent, region and group is there, also one of which no label is known.
    """
    above = list(space.tree)[1:]
    known = COUNTRIES.values() if COUNTRY in space.tree else ()
    found: dict[str, list[str]] = {name: [] for country in known for name in _groups(country)}
    for code in space.codes:
        lies_in = [(level, space.named(code, level)) for level in above]
        names = {space.tree[level][parent].name for level, parent in lies_in if parent is not None}
        if country := space.named(code, COUNTRY):
            names |= set(_groups(COUNTRIES[country]))
        for name in names:
            found.setdefault(name, []).append(code)
    return found


def _groups(country: Country) -> list[str]:
    """The names of all that a country belongs to."""
    groups = [name for name, members in GROUPS.items() if country.code in members]
    return [*groups, country.continent, country.region, f"drives {country.drives_on}"]


def _covered(space: LabelSpace, wanted: str) -> list[str]:
    if wanted in space:
        return [wanted]
    groups = groups_of(space)
    by_name = {name.casefold(): name for name in groups}
    name = by_name.get(wanted.casefold())
    if name is None and space.kind != COUNTRY and COUNTRY in space.tree and (country := find_country(wanted)):
        name = COUNTRIES[country].name  # in any spelling
    if name is None:
        near = difflib.get_close_matches(wanted.casefold(), by_name, n=2, cutoff=0.65)
        return [space.find(wanted, also=[by_name[key] for key in near])]
    if not groups.get(name):
        raise UserError(f"this bundle knows no {space.noun} of {name!r}; it knows {', '.join(space.codes)}")
    return groups[name]
