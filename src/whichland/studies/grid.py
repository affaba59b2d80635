"""A grid of training runs: a TOML file in which lists are axes becomes cells, each with all of its settings.

    title = "Two models, three amounts of data"

    [train.data]                  # settings of every cell, as in a recipe
    countries = ["AU", "BR", "DE"]

    [grid]                        # every list is an axis; every combination a cell
    arch = ["resnet18.a1_in1k", "convnext_tiny.fb_in22k_ft_in1k"]
    photos = [100, 200, 300]
    seed = [0, 1]

An axis whose values are tables changes several settings at once, and may give them a `name`, a `family` and a
`tier` for the figures: `[[grid.model]]`. Several grids in one file are written `[[grid]]`; a cell that stands in
two of them is run once. `whichland train --recipe GRID:CELL` trains one cell alone; a cell is named after its model,
photos and seed, such as convnext-tiny-300.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl

from whichland.config import build, check, flat, read_toml, recipe_file, warn_of_flat
from whichland.errors import UserError
from whichland.manifest import Manifest
from whichland.model.families import MEMBERS
from whichland.training.config import TrainConfig
from whichland.whole_file import file_sha256

ABOUT = ("name", "family", "tier")  # what a table of an axis says beside settings
TOP = ("title", "train", "grid")
NO_MATTER = ("cache", "tensorboard")  # settings that change no result
REPEATED = ("photos", "seed")  # axes along which a model stays the same
TIERS = ("tiny", "small", "base")
DECIDING = ("group", "weight", "rank")  # columns that a run depends on beside label and split


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a grid."""

    key: str = ""  # the same settings and photos: the same key
    model: str  # what the figures call it: its place on all axes but photos and seed
    family: str | None
    tier: str | None
    axes: dict[str, Any]  # its place on each axis, as a plain value
    config: TrainConfig

    @property
    def repeated(self) -> dict[str, Any]:
        """Where it stands on the axes of photos and seed."""
        return {axis: self.axes[axis] for axis in REPEATED if axis in self.axes}

    @property
    def name(self) -> str:
        """Name of its folder."""
        words = [self.model[:60], *(f"{axis}{value}" for axis, value in self.repeated.items())]
        return f"{_slug(words)}-{self.key[:8]}"

    @property
    def short_name(self) -> str:
        """What `--recipe GRID:NAME` calls it, such as vit-small-300."""
        return _slug([self.model, *map(str, self.repeated.values())])

    @property
    def said(self) -> str:
        """Where it stands on each axis, for reading."""
        return "  ".join([self.model, *(f"{axis} {value}" for axis, value in self.repeated.items())])


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A study to be run."""

    title: str
    axes: tuple[str, ...]
    cells: tuple[Cell, ...]
    repeated: int  # cells that stood in the file more than once


def read_grid(path: str | Path, manifest: Manifest) -> Grid:
    """Read a grid and settle every cell. Raises UserError for what cannot be a grid or a setting."""
    title, planned = _planned(path)
    data, weights = cache(lambda label: manifest.digest(label, *DECIDING)), cache(file_sha256)
    cells: dict[str, Cell] = {}
    for cell in planned:
        key = _key(cell.config, data, weights)
        cells.setdefault(key, replace(cell, key=key))
    if any(cell.config.photos is not None for cell in cells.values()):
        manifest.require("rank", hint="photos takes the first of each country; run `whichland data balance`")
    seen: set[tuple[Any, ...]] = set()
    for cell in cells.values():
        if (spot := (cell.model, cell.config.photos, cell.config.seed)) in seen:  # they would be drawn as one
            raise UserError(
                f"two different cells are both {cell.said!r}: give the tables of an axis a name of their own"
            )
        seen.add(spot)
    axes = dict.fromkeys(axis for cell in cells.values() for axis in cell.axes)
    return Grid(title=title, axes=tuple(axes), cells=tuple(cells.values()), repeated=len(planned) - len(cells))


def cell_settings(grid: str, name: str) -> dict[str, Any]:
    """The settings of one cell of a grid, as a recipe names it. Raises UserError when there is none of that name."""
    cells = {cell.short_name: cell for cell in _planned(grid)[1]}
    if name not in cells:
        near = get_close_matches(name, cells, n=3, cutoff=0.3) or list(cells)[:3]
        raise UserError(f"{grid}:{name}: the grid has no such cell; near: {', '.join(near)}")
    return asdict(cells[name].config)


def _planned(path: str | Path) -> tuple[str, list[Cell]]:
    """The title and all cells of a grid, without their keys: those depend on the photos, too."""
    text = read_toml(recipe_file(path))
    if unknown := [name for name in text if name not in TOP]:
        raise UserError(f"{path}: unknown table or value {unknown[0]!r}; known are {', '.join(TOP)}")
    common = check(text.get("train", {}), dict[str, Any], f"{path}: train")
    warn_of_flat(TrainConfig, common, f"{path}: train")
    common = flat(TrainConfig, common, f"{path}: train")
    grids = text.get("grid", {})
    grids = grids if isinstance(grids, list) else [grids]
    cells: list[Cell] = []
    for number, grid in enumerate(grids, 1):
        where = f"{path}: grid" + (f" {number}" if len(grids) > 1 else "")
        cells += _cells(check(grid, dict[str, Any], where), common, where)
    return check(text.get("title", Path(path).stem), str, f"{path}: title"), cells


def _slug(words: list[str]) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(words)).strip("-").lower()


def _cells(grid: Mapping[str, Any], common: Mapping[str, Any], where: str) -> Iterator[Cell]:
    for axis, values in grid.items():
        if not isinstance(values, list):
            raise UserError(f"{where}: {axis}: an axis is a list; a setting of every cell stands under [train]")
        if not values:
            raise UserError(f"{where}: {axis}: an axis needs a value")
    for place in product(*grid.values()):
        settings, about, spots = dict(common), dict.fromkeys(ABOUT), dict[str, Any]()
        tables, others = list[str](), list[str]()  # words for the model's name
        for axis, value in zip(grid, place, strict=True):
            if isinstance(value, Mapping):
                given = {name: item for name, item in value.items() if name not in ABOUT}
                settings |= flat(TrainConfig, given, f"{where}: {axis}")
                about |= {name: value[name] for name in ABOUT if name in value}
                spots[axis] = value.get("name") or ", ".join(f"{k}={v}" for k, v in value.items())
                tables.append(str(spots[axis]))
            else:
                settings[axis] = value
                spots[axis] = value if isinstance(value, int | float | str) else str(value)
                if axis not in REPEATED:
                    others.append(str(spots[axis]) if axis == "arch" else f"{axis} {spots[axis]}")
        config = build(TrainConfig, settings, where)
        known = next((member for member in MEMBERS if member.arch == config.arch), None)
        yield Cell(
            model=", ".join([*tables, *others]) or config.arch,
            family=about["family"] or (known.family if known else None),
            tier=about["tier"] or (known.tier if known else None),
            axes=spots,
            config=config,
        )


def _key(config: TrainConfig, data: Callable[[str], str], weights: Callable[[Path], str]) -> str:
    """Hash of every setting, given or default, of the photos and of the weights: none of them changes silently."""
    settings = {name: value for name, value in asdict(config).items() if name not in NO_MATTER}
    file = Path(config.weights)
    if config.weights not in ("hub", "none") and file.is_file():  # where it lies does not matter
        settings["weights"] = weights(file)
    text = json.dumps([settings, data(config.label)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def tier_order(tier: str | None) -> int:
    """Place of a tier: tiny, small, base, others, none."""
    return TIERS.index(tier) if tier in TIERS else len(TIERS) + (tier is None)


def places(cells: tuple[Cell, ...]) -> pl.DataFrame:
    """A row a cell: key, model, family, tier and its place on each axis (text where an axis holds both kinds)."""
    columns: dict[str, list[Any]] = {
        "cell": [cell.name for cell in cells],
        "key": [cell.key for cell in cells],
        "model": [cell.model for cell in cells],
        "family": [cell.family for cell in cells],
        "tier": [cell.tier for cell in cells],
        "arch": [cell.config.arch for cell in cells],
    }
    for axis in dict.fromkeys(axis for cell in cells for axis in cell.axes):
        values = [cell.axes.get(axis) for cell in cells]
        kinds = {type(value) for value in values if value is not None}
        if len(kinds) > 1 and kinds != {int, float}:
            values = [None if value is None else str(value) for value in values]
        if columns.get(axis) != values:
            columns[axis if axis not in columns else f"{axis}_axis"] = values
    return pl.DataFrame(columns, strict=False)
