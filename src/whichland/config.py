"""Settings written once: frozen dataclasses that are also TOML files and command-line flags.

A field's type, bounds, default and help are written in one place:

    @dataclass(frozen=True, kw_only=True)
    class SplitConfig(Config):
        seed: Annotated[int, "which of the possible splits", AT_LEAST_0] = 0

A configuration of many fields inherits them from classes that name a `group`: the group is a table in TOML and a
heading in --help, while in Python every field is an attribute of the one object. A field marked TOML_ONLY has no
flag. `read_settings` reads a file, `build` makes the object, `to_toml` writes it, and `cli.flags` makes the flags.
"""

import json
import math
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from difflib import get_close_matches
from inspect import get_annotations
from operator import ge, gt, le, lt
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Interval, Le, Lt

from whichland.errors import UserError

T = TypeVar("T")

TOML_ONLY: Final = object()  # in Annotated: a setting for TOML and --set, without a flag of its own
ABOVE_0, AT_LEAST_0, AT_LEAST_1 = Gt(0), Ge(0), Ge(1)
SHARE = Interval(ge=0, le=1)
BETWEEN_0_AND_1 = Interval(gt=0, lt=1)


class Config:
    """What all configuration classes share: their bounds are checked when an object is made."""

    group: ClassVar[str | None] = None
    retired: ClassVar[Mapping[str, Any]] = {}  # settings that are gone, with the value that is still read: off

    def __post_init__(self) -> None:
        for setting in settings(type(self)):
            setting.check_bounds(getattr(self, setting.name))

    def part(self, kind: type[T]) -> T:
        """The settings of one of the classes that this one is made of."""
        return kind(**{field.name: getattr(self, field.name) for field in fields(kind)})  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One field of a configuration class, as TOML, flags and docs need it."""

    name: str
    kind: Any  # the type without Annotated
    help: str
    default: Any  # MISSING when there is none
    bounds: Mapping[str, float]  # ge, gt, le, lt: what every number in it must keep to
    group: str | None
    flag: bool

    @property
    def path(self) -> str:
        """Its name with that of its table in TOML."""
        return f"{self.group}.{self.name}" if self.group else self.name

    def check_bounds(self, value: Any) -> None:
        """Raise UserError when a number is out of bounds, naming the setting, the value and what would do."""
        numbers = value if isinstance(value, tuple) else (value,)
        for number in numbers:
            if number is not None and not all(COMPARE[name](number, edge) for name, edge in self.bounds.items()):
                raise UserError(f"{self.name} {','.join(map(str, numbers))}: give {_in_words(self.bounds)}")


COMPARE = {"ge": ge, "gt": gt, "le": le, "lt": lt}


def _in_words(bounds: Mapping[str, float]) -> str:
    """What to give: `a number above 0`, `1 or more`, `a share from 0 to 1`, `10 to 130`."""
    share = "a share " if sorted(bounds.values()) == [0, 1] else ""
    match [f"{bounds[name]:,}" for name in sorted(bounds)], sorted(bounds):
        case [low, high], ["ge", "le"]:
            return f"{share}{'from ' if share else ''}{low} to {high}"
        case [low, high], ["gt", "lt"]:
            return f"{share or 'a number '}between {low} and {high}"
        case [low, high], ["gt", "le"]:
            return f"{share}above {low}, at most {high}" if share else f"more than {low}, at most {high}"
        case [low, high], ["ge", "lt"]:
            return f"{low} or more, below {high}"
        case [low], ["gt"]:
            return f"a number above {low}"
        case [low], ["ge"]:
            return f"{low} or more"
    raise AssertionError(f"no words for the bounds {bounds}")


def settings(config: type) -> tuple[Setting, ...]:
    """List the fields of a configuration class, group after group, each with its type, bounds, help and default."""
    hints = get_type_hints(config, include_extras=True)
    owners = {name: base for base in reversed(config.__mro__) for name in get_annotations(base)}
    found = []
    for field in fields(config):
        kind, text = hints[field.name], ""
        marks: list[Any] = []
        if get_origin(kind) is Annotated:
            kind, text, *marks = get_args(kind)
        limits = [asdict(mark) for mark in marks if isinstance(mark, (Ge, Gt, Le, Lt, Interval))]
        found.append(
            Setting(
                name=field.name,
                kind=kind,
                help=text,
                default=field.default if field.default_factory is MISSING else field.default_factory(),
                bounds={name: edge for limit in limits for name, edge in limit.items() if edge is not None},
                group=vars(owners[field.name]).get("group"),
                flag=TOML_ONLY not in marks,
            )
        )
    # a dataclass has the fields of its last base first
    order = [None, *(vars(base)["group"] for base in config.__mro__ if vars(base).get("group"))]
    return tuple(sorted(found, key=lambda setting: order.index(setting.group)))


def check(value: Any, kind: Any, where: str) -> Any:
    """Return `value` as `kind` (lists become tuples, whole numbers floats) or raise UserError naming `where`."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in args:
            return None
        kinds = [arg for arg in args if arg is not NoneType]
        lists = [arg for arg in kinds if get_origin(arg) is tuple]
        return check(value, lists[0] if lists and isinstance(value, (list, tuple)) else kinds[0], where)
    if origin is Literal:
        if value not in args:
            raise UserError(f"{where}: {value!r} is not one of {', '.join(map(str, args))}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise UserError(f"{where}: expected a list, not {value!r}")
        return tuple(check(item, args[0], where) for item in value)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{where}: expected a table, not {value!r}")
        return dict(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UserError(f"{where}: expected {kind.__name__}, not {value!r}")
    if kind is float and not math.isfinite(value):  # nothing is below, above or equal to NaN: every bound lets it pass
        raise UserError(f"{where}: expected a finite number, not {value}")
    return value


def build(config: type[T], values: Mapping[str, Any], where: str) -> T:
    """Make a configuration from plain values, by name or in the tables of their groups.

    Raises UserError on unknown or missing names, wrong types and values out of bounds.
    """
    known = {setting.name: setting for setting in settings(config)}
    values = flat(config, values, where)
    missing = [name for name, setting in known.items() if setting.default is MISSING and name not in values]
    if missing:
        raise UserError(f"{where}: {missing[0]} must be given ({known[missing[0]].help})")
    checked = {name: check(value, known[name].kind, f"{where}: {name}") for name, value in values.items()}
    return config(**checked)


def flat(config: type, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Take settings out of their tables. Raises UserError on unknown names, wrong tables and what is given twice."""
    known = {setting.name: setting for setting in settings(config)}
    groups = {setting.group for setting in known.values() if setting.group}
    found: dict[str, Any] = {}
    for key, given in values.items():
        inside = given if key in groups and isinstance(given, Mapping) else {key: given}
        for name, value in inside.items():
            if getattr(config, "retired", {}).get(name, MISSING) == value:
                continue
            if name not in known:
                raise UserError(f"{where}: unknown setting {name!r}; known are {', '.join(known)}")
            if inside is given and known[name].group != key:
                raise UserError(f"{where}: {name} is not a setting of [{key}]: write it under [{known[name].group}]")
            if name in found:
                raise UserError(f"{where}: {name} is given twice")
            found[name] = value
    return found


def read_settings(config: type, path: str | Path) -> dict[str, Any]:
    """Read a file of settings as written by people. Raises UserError as `flat` does."""
    values = read_toml(path)
    warn_of_flat(config, values, str(path))
    return flat(config, values, str(path))


def warn_of_flat(config: type, values: Mapping[str, Any], where: str) -> None:
    """Say on stderr which settings are written without the table of their group, as they were before version 0.2."""
    lines: dict[str, list[str]] = {}
    for setting in settings(config):
        if setting.group and setting.name in values:
            lines.setdefault(setting.group, []).append(setting.name)
    if lines:
        moves = "; ".join(f"[{group}] {', '.join(names)}" for group, names in lines.items())
        print(
            f"{where}: settings without a table are read for the last time in this version; write {moves}",
            file=sys.stderr,
        )


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file into plain values. Raises UserError when it is missing or malformed."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None


def recipe_file(name: str | Path) -> Path:
    """Find a recipe: a file, or by its name alone one of those that come with whichland."""
    path = Path(name)
    if path.is_file() or path.name != str(name):
        return path
    package = Path(__file__).parent
    known = {file.stem: file for folder in (package, package.parents[1]) for file in folder.glob("recipes/*.toml")}
    if path.stem not in known:
        near = get_close_matches(path.stem, known, n=3, cutoff=0.3) or sorted(known)[:3]
        raise UserError(f"{name}: no such file, and no recipe of that name; near: {', '.join(near)}")
    return known[path.stem]


def to_toml(config: Any) -> str:
    """Write a configuration as TOML, a table a group and a setting a line; settings that are None are left out."""
    lines: list[str] = []
    group = None
    for setting in settings(type(config)):
        if setting.group != group:
            group = setting.group
            lines += [*([""] if lines else []), f"[{group}]"]
        value = getattr(config, setting.name)
        if value is not None:
            lines.append(f"{setting.name} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def differences(before: Any, after: Any) -> list[str]:
    """The settings of `after` that differ, as lines of TOML under their names with tables."""
    return [
        f"{setting.path} = {_toml(getattr(after, setting.name))}"
        for setting in settings(type(after))
        if getattr(before, setting.name) != getattr(after, setting.name)
    ]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(str(key))} = {_toml(item)}" for key, item in value.items()) + "}"
    # JSON's escapes are TOML's, but for DEL, which JSON leaves as it is
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
