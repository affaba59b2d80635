"""Some of a model's labels by name: codes, names, what they lie in, the EU, or the driving side.

among(space, "EU, RS, BA")
('AT', 'BA', 'BE', …)
among(space, "drives left")
('GB', 'JP', …)
"""

import difflib
from collections.abc import Iterable

from whichland.errors import UserError
from whichland.geo.countries import COUNTRIES, GROUPS, Country, find_country
from whichland.model.labels import COUNTRY, LabelSpace


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
