"""Where label spaces come from: ISO 3166-1, or a text column of a manifest; and where their labels are photographed.

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

import numpy as np

from whichland.errors import UserError
from whichland.geo.borders import country_of
from whichland.geo.countries import COUNTRIES, GROUPS, Country, find_country
from whichland.geo.land import POINTS, Points, land_points, sea_km
from whichland.model.labels import COUNTRY, Label, LabelSpace

if TYPE_CHECKING:
    from whichland.manifest import Manifest

ENOUGH = 20  # training photos with coordinates; a country with fewer is represented by its land
COAST_KM = 10.0  # the map's coast is off by less, but for islands that it leaves out
DECIMALS = 2  # of degrees, about a kilometre: a bundle gives no house away
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


def located(labels: LabelSpace, manifest: "Manifest | None" = None) -> LabelSpace:
    """Labels with the points where their training photos were taken.

    One photo a group counts, not at sea, and of a country only where it lies in it. Of more than `POINTS` those are
    taken that lie evenly in the order from south to north. A country with fewer than `ENOUGH` has points on its land
    instead; other labels keep the few that there are, and where one has none, there are no points at all.
    """
    found: dict[str, Points] = {}
    if manifest is not None and {"lat", "lon", "split"} <= set(manifest.frame.columns):
        found = _photographed(labels.kind, manifest)
    if labels.kind != COUNTRY and not found.keys() >= set(labels.codes):
        return labels
    on_map = [code for code in labels.codes if code not in found]
    points = found | dict(zip(on_map, land_points(on_map), strict=True))
    return labels.with_points(
        [points[code] for code in labels.codes], ["photos" if code in found else "land" for code in labels.codes]
    )


def _photographed(column: str, manifest: "Manifest") -> dict[str, Points]:
    """Points of the training photos by label, for labels with enough of them."""
    import polars as pl

    rows = manifest.kept.filter(pl.col("split") == "train").drop_nulls(["lat", "lon", column])
    if "group" in rows.columns:
        one_of = [pl.coalesce("group", "image_id"), *([] if column == COUNTRY else [column])]
        rows = rows.sort("image_id").unique(one_of, keep="first")
    places = rows.select(column, pl.col("lat", "lon").round(DECIMALS)).unique().sort(column, "lat", "lon")
    found = {}
    for (code,), own in places.group_by(column):
        points = _evenly(own.select("lat", "lon").to_numpy(), 4 * POINTS)
        lat, lon = points.T
        good = sea_km(lat, lon) <= COAST_KM
        if column == COUNTRY:
            good &= country_of(lat, lon) == code
        points = points[good]
        if len(points) >= (ENOUGH if column == COUNTRY else 1):
            found[str(code)] = _evenly(points, POINTS)
    return found


def _evenly(points: Points, count: int) -> Points:
    """Up to `count` of some points, at equal steps along the list."""
    steps = np.linspace(0, len(points) - 1, min(count, len(points)))
    some: Points = points[steps.round().astype(int)]
    return some


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
