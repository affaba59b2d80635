"""Write docs/reference from the code: the command line, Python, the manifest's columns, the settings.

    make docs                                       # or: .venv/bin/python scripts/reference.py
    .venv/bin/python scripts/reference.py --check   # exit code 1 when a page is out of date, nothing written

Every command is imported, so all extras must be installed; one that cannot be imported stops the script.
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import typer

import whichland
from whichland.cli.commands import root
from whichland.config import Setting, settings
from whichland.manifest import SCHEMA

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
MADE = "<!-- Made by `make docs` from the code; edits are lost. -->"

# The configuration classes, in the order in which the data meets them.
CONFIGS = (
    "whichland.sources.synthetic.world:WorldConfig",
    "whichland.sources.mapillary.config:HarvestConfig",
    "whichland.curate.merge:MergeConfig",
    "whichland.curate.geometry:HarmoniseConfig",
    "whichland.curate.geocode:GeocodeConfig",
    "whichland.model.street:ScoreConfig",
    "whichland.curate.clean:CleanConfig",
    "whichland.curate.split:SplitConfig",
    "whichland.curate.balance:BalanceConfig",
    "whichland.model.features:BackboneConfig",
    "whichland.evaluation.source_probe:ProbeConfig",
    "whichland.evaluation.audit_checks:AuditConfig",
    "whichland.training.config:TrainConfig",
    "whichland.evaluation.calibration:CalibrateConfig",
    "whichland.model.export:ExportConfig",
    "whichland.bulk.config:PredictConfig",
    "whichland.bulk.config:EmbedConfig",
    "whichland.explanation.atlas_config:AtlasConfig",
    "whichland.explanation.maximise:MaximiseConfig",
    "whichland.serving.settings:ServeConfig",
)


def pages() -> dict[str, str]:
    """The text of every page, by file name."""
    return {
        "cli.md": cli_page(),
        "python.md": python_page(),
        "manifest.md": manifest_page(),
        "config.md": config_page(),
    }


def commands() -> Iterator[tuple[str, Any, Any]]:
    """Every command as (its words after the program's name, command, context), in the order of --help."""
    yield from _walk((), root(), None)


def _walk(words: tuple[str, ...], command: Any, parent: Any) -> Iterator[tuple[str, Any, Any]]:
    context = typer.Context(command, parent=parent, info_name=words[-1] if words else "whichland")
    if not hasattr(command, "list_commands"):
        yield " ".join(words), command, context
        return
    for name in command.list_commands(context):
        _, inner, _ = command.resolve_command(context, [name])
        yield from _walk((*words, name), inner, context)


def cli_page() -> str:
    """The command line: a section a command, with its usage, what it does, and its arguments and options."""
    found = list(commands())
    lines = [
        MADE,
        "# Command line",
        "",
        "Results go to stdout, progress and errors to stderr. The exit code is 0 when all went well, 2 when "
        "there is something that you can mend (one line says what), 130 after Ctrl-C.",
        "",
        "| command | |",
        "|---|---|",
        *(f"| [`whichland {words}`](#{_anchor(words)}) | {_cell(c.help)} |" for words, c, _ in found),
    ]
    for words, command, context in found:
        usage = " ".join(["whichland", words, *command.collect_usage_pieces(context)])
        lines += ["", f"## whichland {words}", "", "```", usage, "```", ""]
        lines += [_description(command), "", "| argument or flag | |", "|---|---|"]
        for names, text in parameters(command, context):
            lines.append(f"| `{names.replace('|', chr(92) + '|')}` | {_cell(text)} |")
    return "\n".join(lines) + "\n"


def parameters(command: Any, context: Any) -> list[tuple[str, str]]:
    """(names, help) of a command's arguments and options, without --help itself."""
    records = [p.get_help_record(context) for p in command.get_params(context) if p.name != "help"]
    return [record for record in records if record is not None]


def _anchor(words: str) -> str:
    return f"whichland-{words}".replace(" ", "-")


def _description(command: Any) -> str:
    """The docstring of the command's function, with a blank line between paragraphs."""
    return cleandoc(command.callback.__doc__ or command.help)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def python_page() -> str:
    """Every public name: functions with their signature and docstring, classes with what they offer."""
    names = sorted(whichland.__all__, key=str.lower)
    public = {name: getattr(whichland, name) for name in names if name != "__version__"}
    settings_of = {place.partition(":")[2] for place in CONFIGS}
    lines = [
        MADE,
        "# Python",
        "",
        "`import whichland as wl` gives these names; each is imported when it is first used. What you can mend is a "
        "`wl.UserError` with one line. Classes that end in `Config` hold settings: [their fields](config.md).",
        "",
        "| name | |",
        "|---|---|",
        *(f"| [`wl.{name}`](#wl{name.lower()}) | {_first_line(found)} |" for name, found in public.items()),
    ]
    for name, found in public.items():
        lines += ["", f"## wl.{name}", ""]
        if name in settings_of:
            lines += [f"{_first_line(found)} [Its settings](config.md#{name.lower()})."]
        else:
            lines += [] if inspect.isclass(found) else ["```python", *_call(found), "```", ""]
            lines += [_prose(found), *(_members(found) if inspect.isclass(found) else [])]
    return "\n".join(lines) + "\n"


def _members(found: type) -> list[str]:
    """A table of a class's own methods and properties that have a docstring."""
    rows = []
    for name, member in vars(found).items():
        of = getattr(member, "fget", None) or getattr(member, "func", None) or member
        if not name.startswith("_") and callable(of) and of.__doc__:
            [shown] = _call(of, width=10_000) if of is member else [name]
            rows.append(f"| `{shown.replace('|', chr(92) + '|')}` | {_cell(cleandoc(of.__doc__))} |")
    return ["", "| | |", "|---|---|", *rows] if rows else []


def _call(function: Any, width: int = 100) -> list[str]:
    """A function's name and signature as its source has them, a line a parameter where it is long."""
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(node, ast.FunctionDef)
    given = node.args
    given.args = [each for each in given.args if each.arg != "self"]
    end = f") -> {ast.unparse(node.returns).strip(chr(39))}" if node.returns else ")"
    whole = f"{node.name}({', '.join(_parameters(given))}{end}"
    if len(whole) <= width:
        return [whole]
    return [f"{node.name}(", *(f"    {part}," for part in _parameters(given)), end]


def _parameters(given: ast.arguments) -> Iterator[str]:
    """Each parameter with its type and default."""
    plain = [None] * (len(given.args) - len(given.defaults)) + list(given.defaults)
    yield from (_parameter(*each) for each in zip(given.args, plain, strict=True))
    if given.vararg or given.kwonlyargs:
        yield "*" + (ast.unparse(given.vararg) if given.vararg else "")
    yield from (_parameter(*each) for each in zip(given.kwonlyargs, given.kw_defaults, strict=True))
    if given.kwarg:
        yield f"**{ast.unparse(given.kwarg)}"


def _parameter(named: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(named) + (f" = {ast.unparse(default)}" if default else "")


def _first_line(found: Any) -> str:
    return _cell(cleandoc(found.__doc__).partition("\n\n")[0])


def _prose(found: Any) -> str:
    """The docstring; what it indents is code."""
    text = cleandoc(found.__doc__)
    code = re.compile(r"(?m)((?:^ {4}.*\n?)+)")
    return code.sub(lambda found: f"```python\n{textwrap.dedent(found[1]).strip()}\n```\n", text).strip()


def manifest_page() -> str:
    """The manifest's columns, and the history in the file's metadata."""
    lines = [
        MADE,
        "# The manifest",
        "",
        "A Parquet file, one row an image. Each step of `whichland data` adds or fills columns and never "
        "deletes a row; columns that are not listed here are carried along untouched. The file's metadata "
        "holds, under `whichland.history`, a JSON list of the steps: `step`, `params`, `version`, `rows`, "
        "and `dropped`, the rows left out so far by reason.",
        "",
        "| column | type | written by | may be empty | meaning |",
        "|---|---|---|---|---|",
    ]
    for column in SCHEMA:
        meaning = column.meaning + (f": {', '.join(column.values)}" if column.values else "")
        empty = "yes" if column.nullable else "no"
        lines.append(f"| `{column.name}` | {column.dtype} | {column.writer} | {empty} | {_cell(meaning)} |")
    return "\n".join(lines) + "\n"


def config_page() -> str:
    """The settings: a table a configuration class."""
    lines = [
        MADE,
        "# Settings",
        "",
        "Each table is one class. A setting is a field in Python, a key in TOML, and a flag on the command "
        "line (`head_first` is `--head-first`; a list is written with commas). A name with a dot, such as "
        "`optimisation.lr`, is the key `lr` of the table `[optimisation]` in TOML, and still the field `lr` in Python. "
        "What has no flag is given in TOML, or by `--set optimisation.ema=0.99`.",
    ]
    for place in CONFIGS:
        module, _, name = place.partition(":")
        config = getattr(import_module(module), name)
        lines += ["", f"## {name}", "", f"`{module}`: {_cell(cleandoc(config.__doc__))}", ""]
        lines += ["| setting | type | default | flag | |", "|---|---|---|---|---|"]
        for setting in settings(config):
            kind, default = _kind(setting.kind), _default(setting)
            flag = "yes" if setting.flag else "no"
            lines.append(f"| `{setting.path}` | {kind} | {default} | {flag} | {_cell(setting.help)} |")
    return "\n".join(lines) + "\n"


def _kind(kind: Any) -> str:
    """A type in a reader's words."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        kinds = " or ".join(_kind(arg) for arg in args if arg is not NoneType)
        return kinds + (", or unset" if NoneType in args else "")
    if origin is Literal:
        return ", ".join(f"`{arg}`" for arg in args)
    if origin is tuple:
        return f"list of {_kind(args[0])}"
    if origin is dict or kind is dict:
        return "table"
    return {bool: "on or off", int: "whole number", float: "number", str: "text", Path: "path"}[kind]


def _default(setting: Setting) -> str:
    if setting.default is MISSING:
        return "must be given"
    if setting.default is None:
        return "unset"
    if isinstance(setting.default, bool):
        return "on" if setting.default else "off"
    if setting.default in ((), {}, ""):
        return "empty"
    if isinstance(setting.default, tuple):
        return f"`{', '.join(map(str, setting.default))}`"
    return f"`{setting.default}`"


def main() -> None:
    """Write the pages, or with --check compare them with what is there."""
    try:
        made = pages()
    except (ImportError, AttributeError) as error:
        sys.exit(f"reference: the code cannot be read ({error}); nothing was written")
    stale = [name for name, text in made.items() if _written(FOLDER / name) != text]
    if "--check" in sys.argv[1:]:
        sys.exit(f"out of date: {', '.join(stale)}; run `make docs`" if stale else 0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (FOLDER / name).write_text(made[name], encoding="utf-8")
    print(f"docs/reference: {', '.join(stale) if stale else 'nothing'} changed")


def _written(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    main()
