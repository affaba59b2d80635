"""Turn a configuration class into command-line flags, so that a setting is written once."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from whichland.config import Setting, build, read_toml, recipe_file, settings
from whichland.errors import UserError


def flags(
    config: type, *, recipe: bool = False, variables: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for every field of `config`; it receives the filled object as `config`.

    A tuple is written with commas (`--head 512,256`), a dict as repeated `name=value`, a size that is a number or
    a tuple as `224` or `662x1536`. With `recipe`, a flag `--recipe FILE.toml` supplies the values that no flag
    gives. With `variables`, a prefix, so does the environment: a flag `--port` may be PREFIX_PORT there.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "config"]
        fields = settings(config)

        def run(**values: Any) -> None:
            given = {s.name: _parse(s, values.pop(s.name)) for s in fields if values[s.name] is not None}
            for setting in fields:
                values.pop(setting.name, None)
            path = values.pop("recipe", None) if recipe else None
            if values.get("resume") and (values["out"] / "config.toml").is_file():
                path = values["out"] / "config.toml"  # a resumed run keeps its own settings
            base = read_toml(recipe_file(path)) if path else {}
            command(config=build(config, base | given, str(path or "flags")), **values)

        extra = [_recipe_parameter()] if recipe else []
        parameters = [*own, *extra, *(_parameter(field, variables) for field in fields)]
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
        )
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        return run

    return decorate


def _recipe_parameter() -> inspect.Parameter:
    option = typer.Option(
        "--recipe",
        help="TOML file of settings, or the name of one that comes with whichland; a flag given beside it wins.",
    )
    return inspect.Parameter(
        "recipe", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Path | None, option]
    )


def _parameter(setting: Setting, variables: str | None = None) -> inspect.Parameter:
    """One flag; its default is None so that `recipe` and the class's own default stay underneath."""
    kind = _inner(setting.kind)
    shown = "" if setting.default in (None, MISSING, (), {}, "") else f" [default: {_show(setting.default)}]"
    name = "--" + setting.name.replace("_", "-")
    names, metavar = [name], None
    cli_kind: type = str
    if kind is bool:
        names, cli_kind = [f"{name}/--no-{name[2:]}"], bool
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
    option = typer.Option(
        *names,
        help=setting.help + shown,
        metavar=metavar,
        show_default=False,
        envvar=variables and variables + setting.name.upper(),
    )
    return inspect.Parameter(
        setting.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[Union[cli_kind, None], option],  # noqa: UP007 (built at run time)
    )


def _inner(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        return next(arg for arg in get_args(kind) if arg is not type(None))
    return kind


def _is_size(kind: Any) -> bool:
    """Whether a whole number or several will do."""
    arguments = get_args(kind)
    return int in arguments and any(get_origin(arg) is tuple for arg in arguments)


def _show(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _parse(setting: Setting, value: Any) -> Any:
    """Turn the text of a tuple, dict or Literal flag into its value."""
    kind = _inner(setting.kind)
    if _is_size(setting.kind):
        sides = str(value).lower().replace("×", "x").split("x")
        if not all(side.strip().isdecimal() for side in sides):
            raise UserError(f"--{setting.name.replace('_', '-')}: {value!r} is no size such as 224 or 662x1536")
        return int(sides[0]) if len(sides) == 1 else tuple(int(side) for side in sides)
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        try:
            return tuple(item(part.strip()) for part in str(value).split(",") if part.strip())
        except ValueError:
            raise UserError(f"--{setting.name.replace('_', '-')}: {value!r} is not a list of {item.__name__}") from None
    if get_origin(kind) is dict:
        pairs = [part.partition("=") for part in str(value).split(",") if part]
        return {name.strip(): _plain(text.strip()) for name, _, text in pairs}
    if get_origin(kind) is Literal:
        choices = {str(choice): choice for choice in get_args(kind)}
        if value not in choices:
            raise UserError(f"--{setting.name.replace('_', '-')}: {value!r} is not one of {', '.join(choices)}")
        return choices[value]
    return value


def _plain(text: str) -> Any:
    """Read a bare value: number, true, false or text."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)
