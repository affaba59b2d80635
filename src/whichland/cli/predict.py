"""whichland predict BUNDLE PHOTO… | FOLDER…"""

import csv as csv_format
import json as json_format
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from whichland.cli.main import require_extra
from whichland.errors import UserError

PHOTO_ENDINGS = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jfif",
        ".jpe",
        ".png",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".avif",
        ".mpo",
        ".ppm",
    )
)

Guesses = list[tuple[str, float]]  # country code and probability, likeliest first
Show = Callable[[str, Guesses, tuple[str, ...]], None]  # a path, its guesses, the countries of its set


def predict(
    bundle: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    photos: Annotated[
        list[str],
        typer.Argument(
            help="Photos; folders, searched through for image files (hidden ones are passed over); "
            "rows `shard.parquet#12` and members `archive.zip#a.jpg`."
        ),
    ],
    top: Annotated[int, typer.Option(min=1, help="How many countries to name.")] = 5,
    csv: Annotated[
        bool, typer.Option("--csv", help="Rows path,country,probability,country_2,probability_2,…")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help='Lines {"path","country","probability","top":[…]}.')
    ] = False,
    sets: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT",
            help="Also name the countries of which one is right with this probability; needs a bundle "
            "that `whichland calibrate` has seen, which fits 80, 90 and 95.",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Photos the model takes at once.")] = 32,
) -> None:
    """The likeliest countries of photos and folders, with their odds.

    A photo that cannot be read is one line "path: reason" on stderr and the rest go on; the exit code is then 2
    after all others are done, and 0 when every photo was readable.
    """
    if csv and json:
        raise UserError("--csv and --json exclude each other; choose one")
    paths = find_photos(photos)
    require_extra("train", "torch")
    failed = _run(bundle, paths, top, sets, batch_size, "csv" if csv else "json" if json else "text")
    raise typer.Exit(2 if failed else 0)


def find_photos(arguments: Iterable[str]) -> list[str]:
    """List the photos that the arguments name, in their order; folders are walked, their files sorted by path.

    Raises UserError for a path that does not exist and for a folder without photos.
    """
    found: list[str] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            inside = sorted(_walk(argument))
            if not inside:
                raise UserError(f"{argument}: no photos in this folder ({', '.join(sorted(PHOTO_ENDINGS))})")
            found += inside
        elif path.exists() or ("#" in argument and Path(argument.rpartition("#")[0]).is_file()):
            found.append(argument)
        else:
            raise UserError(f"{argument}: no such photo or folder")
    return found


def _walk(folder: str) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in PHOTO_ENDINGS:
                yield os.path.join(parent, name)  # noqa: PTH118 (a path is shown as it was given)


def _run(folder: Path, paths: list[str], top: int, percent: float | None, batch_size: int, form: str) -> int:
    """Predict and print; return how many photos could not be read."""
    from whichland.images.decode import ImageError
    from whichland.model import bundle as bundles
    from whichland.model.calibration import require_level, sets
    from whichland.model.predict import best_device, predict

    bundle = bundles.load(folder)
    bundle.model.to(best_device())
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]  # names of files as they are
    top = min(top, len(bundle.labels))
    level = None if percent is None else round(percent / 100, 6)
    if level is not None:
        require_level(bundle, level)  # before any photo is decoded
    show = {"csv": _csv, "json": _json, "text": _text}[form](top, percent)
    failed = 0
    for path, odds in predict(bundle, paths, batch_size=batch_size, progress=not sys.stdout.isatty()):
        if isinstance(odds, ImageError):
            failed += 1
            print(str(odds).replace("\n", "\\n"), file=sys.stderr, flush=True)
            continue
        best = (-odds).argsort(kind="stable")[:top]
        named = () if level is None else sets(bundle, odds, level)
        show(path, [(bundle.labels[at], float(odds[at])) for at in best], named)
        sys.stdout.flush()  # results appear as they are found, and a closed pipe is noticed here
    return failed


def _csv(top: int, percent: float | None) -> Show:
    writer = csv_format.writer(sys.stdout, lineterminator="\n")
    numbered = [cell for n in range(2, top + 1) for cell in (f"country_{n}", f"probability_{n}")]
    last = [] if percent is None else [f"set_{percent:g}"]
    writer.writerow(["path", "country", "probability", *numbered, *last])

    def show(path: str, guesses: Guesses, named: tuple[str, ...]) -> None:
        cells = (cell for code, odds in guesses for cell in (code, f"{odds:.6f}"))
        writer.writerow([path, *cells, *([" ".join(named)] if named else [])])

    return show


def _json(top: int, percent: float | None) -> Show:
    def show(path: str, guesses: Guesses, named: tuple[str, ...]) -> None:
        ranked = [{"country": code, "probability": round(odds, 6)} for code, odds in guesses]
        added = {"set": named, "set_percent": percent} if named else {}
        print(json_format.dumps({"path": path, **ranked[0], "top": ranked, **added}))

    return show


def _text(top: int, percent: float | None) -> Show:
    """A table a photo on a terminal; a line a photo elsewhere."""
    from whichland.geo.countries import country_name

    def show(path: str, guesses: Guesses, named: tuple[str, ...]) -> None:
        listed = ", ".join(f"{country_name(code)} ({code}) {odds:.1%}" for code, odds in guesses)
        print(f"{path}: {listed}" + (f"; {_in_words(named, percent)}" if named else ""))

    def show_table(path: str, guesses: Guesses, named: tuple[str, ...]) -> None:
        _table(path, guesses, _in_words(named, percent))

    return show_table if sys.stdout.isatty() else show


def _in_words(named: tuple[str, ...], percent: float | None) -> str:
    listed = ("one of " if len(named) > 1 else "") + ", ".join(named)
    return f"{listed} at {percent:g} %" if named else ""


def _table(path: str, guesses: Guesses, said: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from whichland.geo.countries import country_name

    table = Table(box=None, show_header=False, padding=(0, 1))
    for code, odds in guesses:
        bar = Text("█" * round(24 * odds) or "▏", style="cyan")
        table.add_row(Text(country_name(code)), code, f"{odds:.1%}".rjust(6), bar)
    console = Console()
    console.print(Text(path, style="bold"), soft_wrap=True)
    console.print(table)
    if said:
        console.print(Text(said), soft_wrap=True)
    console.print()
