"""The command line: one table from command to function, imported only when the command runs.

`whichland --help` and `--version` need nothing but this file: neither typer nor anything heavy is imported at its top.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, NoReturn

from whichland import __version__
from whichland.allocator import keep_freed_memory
from whichland.errors import UserError

ABOUT = "Name the country of a street-level photo; train, judge and explain the model that does."
ABOUT_DATA = "From raw photos to a clean, leak-free table."


class Entry(NamedTuple):
    """Where a command lives, and its line in --help, which must not import it."""

    module: str  # of this package, in which the function has the command's name
    help: str
    needs: str = ""  # a module of the extra `train`


COMMANDS = {
    "demo": Entry("start", "The whole way on the synthetic world: photos to report.", "torch"),
    "quickstart": Entry("start", "From your photos to a model that answers, in one command.", "torch"),
    "doctor": Entry("start", "What is installed, what is missing, what the machine has."),
    "train": Entry("training", "Train a model on a manifest; out comes a bundle.", "torch"),
    "zero-shot": Entry("bundle", "A bundle from a CLIP or SigLIP model, without training.", "torch"),
    "lr-find": Entry("training", "Suggest a learning rate, with a picture.", "torch"),
    "evaluate": Entry("evaluation", "Judge a bundle on a split, with intervals and a report.", "torch"),
    "compare": Entry("evaluation", "Is one model better, and can the test show it?", "torch"),
    "calibrate": Entry("bundle", "Make a bundle's probabilities honest on validation photos.", "torch"),
    "study": Entry("training", "Train and judge a grid of runs; figures with intervals.", "torch"),
    "cross-source": Entry("training", "Train on one source, test on another, for all pairs.", "torch"),
    "export": Entry("bundle", "Write a bundle as ONNX, so that no torch is needed.", "onnxscript"),
    "push": Entry("bundle", "Put a bundle on the Hugging Face hub.", "torch"),
    "predict": Entry("predict", "The likeliest countries (or other labels) of photos."),
    "serve": Entry("predict", "A bundle over HTTP: the page, the API, the game."),
    "embed": Entry("predict", "Photos as vectors, in a Parquet file to search.", "torch"),
    "search": Entry("predict", "The photos that lie nearest to another one.", "torch"),
    "models": Entry("start", "Models to train: size, input, work, licence, speed.", "torch"),
    "audit": Entry("evaluation", "Does the model know the rig or the file, not the place?", "torch"),
    "explain": Entry("explain", "Show where in a photo the model found its answer."),
    "atlas": Entry("evaluation", "The clues a model knows each label by, each tried.", "torch"),
}
DATA_COMMANDS = {
    "ingest": Entry("data", "A manifest of photos from folders, shards, tables, the hub, …"),
    "fetch": Entry("sources", "Photos with coordinates from Mapillary, resumable."),
    "geocode": Entry("data", "Country by coordinates; labels that disagree."),
    "measure": Entry("data", "Size, hashes, brightness, contrast, sharpness of each image."),
    "probe": Entry("sources", "Can the source of a photo be read from its file alone?"),
    "merge": Entry("sources", "Bring sources together: one table, one geometry, one encoding."),
    "score": Entry("score", "How like a street outdoors each photo is, by ImageNet.", "torch"),
    "review": Entry("review", "Photos with doubtful labels, for a person to decide on."),
    "clean": Entry("data", "Give bad and duplicate images a drop reason."),
    "split": Entry("data", "Put groups of related images into train, val and test."),
    "balance": Entry("data", "Cap and rank the training images of each label."),
    "prepare": Entry("data", "Ingest, measure, clean, split and balance in one go."),
    "stats": Entry("sources", "Count by country, split, source and drop reason."),
    "check": Entry("data", "Re-derive the manifest's invariants; fail when one is broken."),
}


def listing(data: bool = False) -> str:
    """What --help says of all commands, or of those of `data`."""
    flags = {"--help": "Show this message and exit."}
    table = {name: entry.help for name, entry in (DATA_COMMANDS if data else COMMANDS).items()}
    if not data:
        flags, table = {"--version": "Print the version.", **flags}, {"data": ABOUT_DATA, **table}
    lines = [
        f"Usage: whichland {'data ' if data else ''}[OPTIONS] COMMAND [ARGS]...",
        "",
        f"  {ABOUT_DATA if data else ABOUT}",
    ]
    for title, rows in (("Options", flags), ("Commands", table)):
        width = max(map(len, rows))
        lines += ["", f"{title}:", *(f"  {name:<{width}}  {text}" for name, text in rows.items())]
    return "\n".join(lines)


QUICK: dict[tuple[str, ...], Callable[[], str]] = {
    ("--help",): listing,
    ("data", "--help"): lambda: listing(data=True),
    ("--version",): lambda: __version__,
}


EXTRAS = {"polars": "tables", "torch": "train"}  # what the light install is without, and the extra that brings it


def main() -> None:
    """Run the command line; what the user can mend ends in one line on stderr and exit code 2."""
    _open_closed_streams()
    try:
        try:
            if quick := QUICK.get(tuple(sys.argv[1:])):
                print(quick())
                return
            keep_freed_memory()
            from whichland.cli.commands import root

            root()(prog_name="whichland")
        finally:
            sys.stdout.flush()
    except UserError as error:
        _end(str(error), 2)
    except BrokenPipeError:  # who reads has seen enough
        _end(None, 1)
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        from whichland.printed import install

        _end(f"this needs the package {error.name}: {install(EXTRAS[error.name])}", 2)
    except Exception as error:  # of the system, such as a full disk or stdout; what can be said better is a UserError
        from whichland.whole_file import system_error

        if (of_system := system_error(error)) is None:
            raise
        file = of_system.filename and str(of_system.filename)
        _end(": ".join(filter(None, (file, of_system.strerror or str(of_system)))), 2)


def _open_closed_streams() -> None:
    """Let a stream that the caller has closed lead nowhere: the next file that is opened must not become it."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115


def _end(message: str | None, code: int) -> NoReturn:
    """Say why the command ends, where stderr still takes it, and end."""
    if message is not None:
        with suppress(OSError):
            print(f"whichland: {message}", file=sys.stderr, flush=True)
    try:
        sys.stdout.flush()
    except OSError:  # it would be tried once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


if __name__ == "__main__":
    main()
