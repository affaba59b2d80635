"""Turn a configuration class into command-line flags, so that a setting is written once."""

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import MISSING
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from typer import Option

from whichland.config import Setting, build, flat, read_settings, read_toml, recipe_file, settings
from whichland.errors import UserError

FILES = {
    "--recipe": "TOML file of settings, one that comes with whichland, or a cell of a grid, such as "
    "seed000:vit-small-300; a flag given beside it wins.",
    "--settings": "TOML file of settings; a flag given beside it wins.",
}


def flags(
    config: type, *, recipe: bool = False, every: bool = True, variables: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for every field of `config` that has one; it receives the filled object as `config`.

    A tuple is written with commas (`--head 512,256`), a dict as repeated `name=value`, a size that is a number or
    a tuple as `224` or `662x1536`. With `recipe`, a flag `--recipe` supplies the values that no flag gives; where a
    setting has no flag, so does `--settings`; in both cases `--set NAME=VALUE` gives any setting. Without `every`
    there are only those two. With `variables`, a prefix, the environment may give settings as well: PREFIX_PORT.
    """
    known = {setting.name: setting for setting in settings(config)}
    typed = [setting for setting in known.values() if setting.flag and every]
    without = {_flag(setting): setting.path for setting in known.values() if setting not in typed}
    options = {}
    if recipe or without:
        file, name = ("--recipe", "FILE|NAME") if recipe else ("--settings", "FILE")
        options["settings_file"] = Annotated[str | None, Option(file, metavar=name, help=FILES[file])]
        example = min(known.values(), key=lambda setting: setting.flag)
        text = f"Any setting by its name, such as {example.path}=VALUE; may be given again."
        options["set_"] = Annotated[list[str] | None, Option("--set", metavar="NAME=VALUE", help=text)]
    options |= {setting.name: _option(setting, variables) for setting in typed}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def run(**values: Any) -> None:
            given = {}
            for name, setting in known.items():
                variable = variables and os.environ.get(variables + name.upper())
                value = values.pop(name, None) if setting in typed else variable
                if value is not None:
                    given[name] = parse(setting, value, _flag(setting))
            given |= _set(config, values.pop("set_", None) or ())
            path = values.pop("settings_file", None)
            base = _from_file(config, path) if path else {}
            if values.get("resume") and (values["out"] / "config.toml").is_file():
                path = values["out"] / "config.toml"  # a resumed run keeps its own settings
                base = flat(config, read_toml(path), str(path))
            command(config=build(config, base | given, str(path or "flags")), **values)

        # an option is None when not given, so that the file and the class's own default stay underneath
        kind = inspect.Parameter.KEYWORD_ONLY
        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [
            *(parameter.replace(kind=kind) for parameter in own if parameter.name != "config"),
            *(inspect.Parameter(name, kind, default=None, annotation=option) for name, option in options.items()),
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.without_flag = without  # type: ignore[attr-defined]
        return run

    return decorate


def _from_file(config: type, name: str) -> dict[str, Any]:
    """The settings of a file, of a recipe by its name, or of a cell of a grid."""
    if ":" in name and not Path(name).is_file():
        from whichland.studies.grid import cell_settings

        return cell_settings(*name.rsplit(":", 1))
    return read_settings(config, recipe_file(name))


def _set(config: type, texts: Sequence[str]) -> dict[str, Any]:
    """Read `--set NAME=VALUE`, the name with or without its table. Raises UserError for unknown names."""
    by_name = {name: setting for setting in settings(config) for name in (setting.name, setting.path)}
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text}: write NAME=VALUE, such as --set seed=1")
        if name.strip() not in by_name:
            raise UserError(f"--set {text}: unknown setting; known are {', '.join(s.path for s in settings(config))}")
        setting = by_name[name.strip()]
        found[setting.name] = parse(setting, value.strip(), f"--set {setting.path}")
    return found


def _flag(setting: Setting) -> str:
    return "--" + setting.name.replace("_", "-")


def _option(setting: Setting, variables: str | None) -> Any:
    """The annotation that makes one flag, under the heading of its group."""
    kind, default = _inner(setting.kind), setting.default
    name, metavar = _flag(setting), None
    cli_kind: type = str
    if kind is bool:
        name, cli_kind = f"{name}/--no-{name[2:]}", bool
        default = "on" if default else "off"
    elif _is_size(setting.kind):
        metavar = "N|HxW"
    elif kind in (int, float):
        cli_kind = kind
    elif get_origin(kind) is Literal:
        metavar = "|".join(map(str, get_args(kind)))
    elif get_origin(kind) is tuple:
        metavar = "A,B,…"
    elif get_origin(kind) is dict or kind is dict:
        metavar = "NAME=VALUE,…"
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    option = Option(
        name,
        help=setting.help if default in (None, MISSING, {}, "") else f"{setting.help} [default: {default}]",
        metavar=metavar,
        show_default=False,
        envvar=variables and variables + setting.name.upper(),
        rich_help_panel=setting.group and setting.group.capitalize(),
    )
    return Annotated[Union[cli_kind, None], option]  # noqa: UP007 (built at run time)


def _inner(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        return next(arg for arg in get_args(kind) if arg is not type(None))
    return kind


def _is_size(kind: Any) -> bool:
    """Whether a whole number or several will do."""
    arguments = get_args(kind)
    return int in arguments and any(get_origin(arg) is tuple for arg in arguments)


def parse(setting: Setting, value: Any, where: str) -> Any:
    """Turn the text of a flag, of --set or of a variable into the setting's value; `where` is named in errors."""
    kind = _inner(setting.kind)
    if not isinstance(value, str):
        return value
    if _is_size(setting.kind):
        sides = value.lower().replace("×", "x").split("x")
        if not all(side.strip().isdecimal() for side in sides):
            raise UserError(f"{where}: {value!r} is no size such as 224 or 662x1536")
        return int(sides[0]) if len(sides) == 1 else tuple(int(side) for side in sides)
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        try:
            return tuple(item(part.strip()) for part in value.split(",") if part.strip())
        except ValueError:
            raise UserError(f"{where}: {value!r} is not a list of {item.__name__}") from None
    if get_origin(kind) is dict:
        pairs = [part.partition("=") for part in value.split(",") if part]
        return {name.strip(): _plain(text.strip()) for name, _, text in pairs}
    if get_origin(kind) is Literal:
        choices = {str(choice): choice for choice in get_args(kind)}
        if value not in choices:
            raise UserError(f"{where}: {value!r} is not one of {', '.join(choices)}")
        return choices[value]
    return value if kind is str else _plain(value)


def _plain(text: str) -> Any:
    """Read a bare value: number, true, false or text."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)
