"""Settings written once: frozen dataclasses that are also TOML files and command-line flags.

A field's type, default and help stand in one place:

    @dataclass(frozen=True, kw_only=True)
    class SplitConfig:
        seed: Annotated[int, "which of the possible splits"] = 0

`read_toml` builds one from a file, `to_toml` writes it back, and `cli.flags` turns the fields into flags.
"""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from whichland.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One field of a configuration class, as TOML, flags and docs need it."""

    name: str
    kind: Any  # the type without Annotated
    help: str
    default: Any  # MISSING when there is none


def settings(config: type) -> list[Setting]:
    """List the fields of a configuration class in order, each with its type, help and default."""
    hints = get_type_hints(config, include_extras=True)
    found = []
    for field in fields(config):
        kind, text = hints[field.name], ""
        if get_origin(kind) is Annotated:
            kind, text = get_args(kind)[:2]
        default = field.default if field.default_factory is MISSING else field.default_factory()
        found.append(Setting(name=field.name, kind=kind, help=text, default=default))
    return found


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
    """Make a configuration from plain values. Raises UserError on unknown or missing names and wrong types."""
    known = {setting.name: setting for setting in settings(config)}
    for name in values:
        if name not in known:
            raise UserError(f"{where}: unknown setting {name!r}; known are {', '.join(known)}")
    missing = [name for name, setting in known.items() if setting.default is MISSING and name not in values]
    if missing:
        raise UserError(f"{where}: {missing[0]} must be given ({known[missing[0]].help})")
    checked = {name: check(value, known[name].kind, f"{where}: {name}") for name, value in values.items()}
    return config(**checked)


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
    """Write a configuration as TOML, one setting a line; settings that are None are left out."""
    lines = []
    for field in fields(config):
        value = getattr(config, field.name)
        if value is not None:
            lines.append(f"{field.name} = {_toml(value)}")
    return "\n".join(lines) + "\n"


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
