"""Typer's side of the command line: groups that import a command when it is called, and what every command does."""

from importlib import import_module
from importlib.util import find_spec
from inspect import getdoc
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from whichland.cli.main import ABOUT, ABOUT_DATA, COMMANDS, DATA_COMMANDS, Entry, listing
from whichland.errors import UserError
from whichland.printed import install
from whichland.whole_file import check_writable

WIDTH = 100  # of --help, at most


class Group(TyperGroup):
    """A group whose commands are imported when called; the list in --help needs only the table."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.table = DATA_COMMANDS if self.name == "data" else COMMANDS
        for name, entry in self.table.items():
            self.add_command(TyperCommand(name, help=entry.help, rich_markup_mode=None))

    def get_help(self, ctx: Any) -> str:
        return listing(self.name == "data")

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if args and args[0] in self.table:
            return args[0], load(args[0], self.table[args[0]]), args[1:]
        for before, table in (("", COMMANDS), ("data ", DATA_COMMANDS)):
            if args and args[0] in table:
                raise UserError(f"no such command here; it is `whichland {before}{args[0]}`")
        return super().resolve_command(ctx, args)


class Command(TyperCommand):
    """A command whose --help lists options under the headings of their groups."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for flag in (arg.partition("=")[0] for arg in args):
            if setting := getattr(self.callback, "without_flag", {}).get(flag):
                hint = f"give --set {setting}=VALUE, or write it in a file of settings"
                raise UserError(f"{flag} is no flag here: {hint}")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        if isinstance(out := ctx.params.get("out"), Path):
            check_writable(out)  # before the work, not after it
        if isinstance(bundle := ctx.params.get("bundle"), Path):
            from whichland.model.hub_bundles import found

            ctx.params["bundle"] = found(bundle)
        return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
            if record := parameter.get_help_record(ctx):
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def load(name: str, entry: Entry) -> Any:
    """Import a command's function and turn it into a command. Raises UserError when its extra is missing."""
    command = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    if entry.needs:
        require_extra("train", entry.needs)
    function = getattr(import_module(f"whichland.cli.{entry.module}"), name.replace("-", "_"))
    settings = {"max_content_width": WIDTH}
    command.command(name, cls=Command, help=getdoc(function) or entry.help, context_settings=settings)(function)
    return typer.main.get_command(command)


def root() -> Any:
    """Build the whole command tree."""
    options: dict[str, Any] = {"add_completion": False, "no_args_is_help": True, "rich_markup_mode": None}
    app = typer.Typer(cls=Group, pretty_exceptions_enable=False, help=ABOUT, **options)
    app.callback()(_root)
    data = typer.Typer(cls=Group, help=ABOUT_DATA, **options)
    data.callback()(lambda: None)
    app.add_typer(data, name="data")
    return typer.main.get_command(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from whichland import __version__

        print(__version__)
        raise typer.Exit


def _root(version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)] = False) -> None:
    """Nothing but the flag."""


def require_extra(extra: str, module: str) -> None:
    """Raise UserError naming the extra to install when a module of it is missing."""
    if find_spec(module) is None:
        raise UserError(f"this needs the extra {extra!r} ({module} is missing): {install(extra)}")
