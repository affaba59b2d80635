"""The command line: one table from command to function, imported only when the command runs.

`whichland --help` must stay under 0.3 s, so nothing heavy is imported here or at the top of a command file.
"""

import os
import sys
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from inspect import getdoc
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from whichland.allocator import keep_freed_memory
from whichland.errors import UserError
from whichland.whole_file import check_writable

WIDTH = 100  # of --help, at most


class Entry(NamedTuple):
    """Where a command lives, and its line in --help, which must not import it."""

    module: str  # of this package, in which the function has the command's name
    help: str
    needs: str = ""  # a module of the extra `train`


COMMANDS = {
    "demo": Entry("start", "The whole way on the synthetic world: photos to report.", "torch"),
    "doctor": Entry("start", "What is installed, what is missing, what the machine has."),
    "train": Entry("training", "Train a model on a manifest; out comes a bundle.", "torch"),
    "lr-find": Entry("training", "Suggest a learning rate, with a picture.", "torch"),
    "evaluate": Entry("evaluation", "Judge a bundle on a split, with intervals and a report.", "torch"),
    "compare": Entry("evaluation", "Is one model better, and can the test show it?", "torch"),
    "calibrate": Entry("bundle", "Make a bundle's probabilities honest on validation photos.", "torch"),
    "study": Entry("training", "Train and judge a grid of runs; figures with intervals.", "torch"),
    "cross-source": Entry("training", "Train on one source, test on another, for all pairs.", "torch"),
    "export": Entry("bundle", "Write a bundle as ONNX, so that no torch is needed.", "onnxscript"),
    "embed": Entry("embeddings", "Photos as vectors, in a Parquet file to search.", "torch"),
    "search": Entry("embeddings", "The photos that lie nearest to another one.", "torch"),
    "zero-shot": Entry("bundle", "A bundle from a CLIP or SigLIP model, without training.", "torch"),
    "push": Entry("bundle", "Put a bundle on the Hugging Face hub."),
    "predict": Entry("predict", "The likeliest countries of photos and folders."),
    "serve": Entry("predict", "A bundle over HTTP: the page, the API, the game."),
    "models": Entry("start", "Models to train: size, input, work, licence, speed.", "torch"),
    "audit": Entry("evaluation", "Does the model know the rig or the file, not the country?", "torch"),
    "explain": Entry("explain", "Show where in a photo the model found its answer."),
    "atlas": Entry("evaluation", "The clues a model knows each country by, each tried.", "torch"),
}
DATA_COMMANDS = {
    "ingest": Entry("data", "A manifest of photos from folders, shards, tables, the hub, …"),
    "fetch": Entry("sources", "Photos with coordinates from Mapillary, resumable."),
    "geocode": Entry("data", "Country by coordinates; labels that disagree."),
    "measure": Entry("data", "Size, hashes, brightness, contrast, sharpness of each image."),
    "probe": Entry("sources", "Can the source of a photo be read from its file alone?"),
    "merge": Entry("sources", "Bring sources together: one table, one geometry, one encoding."),
    "score": Entry("score", "How like a street outdoors each photo is, by ImageNet.", "torch"),
    "clean": Entry("data", "Give bad and duplicate images a drop reason."),
    "split": Entry("data", "Put groups of related images into train, val and test."),
    "balance": Entry("data", "Cap and rank the training images of each country."),
    "prepare": Entry("data", "Ingest, measure, clean, split and balance in one go."),
    "stats": Entry("sources", "Count by country, split, source and drop reason."),
    "check": Entry("data", "Re-derive the manifest's invariants; fail when one is broken."),
}


class Group(TyperGroup):
    """A group whose commands are imported when called; the list in --help needs only the table."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.table = DATA_COMMANDS if self.name == "data" else COMMANDS
        for name, entry in self.table.items():
            self.add_command(TyperCommand(name, help=entry.help, rich_markup_mode=None))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if args and args[0] in self.table:
            return args[0], load(args[0], self.table[args[0]]), args[1:]
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


def _print_version(wanted: bool) -> None:
    if wanted:
        from whichland import __version__

        print(__version__)
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Tell the country of a street-level photo; train, judge and explain the model that does."""


def root() -> Any:
    """Build the whole command tree."""
    options: dict[str, Any] = {"add_completion": False, "no_args_is_help": True, "rich_markup_mode": None}
    app = typer.Typer(cls=Group, pretty_exceptions_enable=False, **options)
    app.callback()(_root)
    data = typer.Typer(cls=Group, help="From raw photos to a clean, leak-free table.", **options)
    data.callback()(lambda: None)
    app.add_typer(data, name="data")
    return typer.main.get_command(app)


def require_extra(extra: str, module: str) -> None:
    """Raise UserError naming the extra to install when a module of it is missing."""
    if find_spec(module) is None:
        raise UserError(f"this needs the extra {extra!r} ({module} is missing): pip install 'whichland[{extra}]'")


def main() -> None:
    """Run the command line; what the user can mend ends in one line on stderr and exit code 2."""
    keep_freed_memory()
    _open_closed_streams()
    try:
        try:
            root()(prog_name="whichland")
        finally:
            sys.stdout.flush()
    except UserError as error:
        _end(str(error), 2)
    except OSError as error:  # of the system, such as a full disk or stdout; what can be said better is a UserError
        _end(": ".join(filter(None, (error.filename and str(error.filename), error.strerror or str(error)))), 2)
    except KeyboardInterrupt:
        _end("interrupted", 130)


def _open_closed_streams() -> None:
    """Let a stream that the caller has closed lead nowhere: the next file that is opened must not become it."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115


def _end(message: str, code: int) -> NoReturn:
    """Say why the command ends, where stderr still takes it, and end."""
    with suppress(OSError):
        print(f"whichland: {message}", file=sys.stderr, flush=True)
    try:
        sys.stdout.flush()
    except OSError:  # it would be tried once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


if __name__ == "__main__":
    main()
