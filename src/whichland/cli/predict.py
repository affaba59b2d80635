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
Show = Callable[[str, Guesses], None]


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
    failed = _run(bundle, paths, top, batch_size, "csv" if csv else "json" if json else "text")
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


def _run(folder: Path, paths: list[str], top: int, batch_size: int, form: str) -> int:
    """Predict and print; return how many photos could not be read."""
    from whichland.images.decode import ImageError
    from whichland.model import bundle as bundles
    from whichland.model.predict import best_device, predict

    bundle = bundles.load(folder)
    bundle.model.to(best_device())
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]  # names of files as they are
    top = min(top, len(bundle.labels))
    show = {"csv": _csv, "json": _json, "text": _text}[form](top)
    failed = 0
    for path, odds in predict(bundle, paths, batch_size=batch_size, progress=not sys.stdout.isatty()):
        if isinstance(odds, ImageError):
            failed += 1
            print(str(odds).replace("\n", "\\n"), file=sys.stderr, flush=True)
            continue
        best = (-odds).argsort(kind="stable")[:top]
        show(path, [(bundle.labels[at], float(odds[at])) for at in best])
        sys.stdout.flush()  # results appear as they are found, and a closed pipe is noticed here
    return failed


def _csv(top: int) -> Show:
    writer = csv_format.writer(sys.stdout, lineterminator="\n")
    numbered = [cell for n in range(2, top + 1) for cell in (f"country_{n}", f"probability_{n}")]
    writer.writerow(["path", "country", "probability", *numbered])

    def show(path: str, guesses: Guesses) -> None:
        writer.writerow([path, *(cell for code, odds in guesses for cell in (code, f"{odds:.6f}"))])

    return show


def _json(top: int) -> Show:
    def show(path: str, guesses: Guesses) -> None:
        ranked = [{"country": code, "probability": round(odds, 6)} for code, odds in guesses]
        print(json_format.dumps({"path": path, **ranked[0], "top": ranked}))

    return show


def _text(top: int) -> Show:
    """A table a photo on a terminal; a line a photo elsewhere."""
    from whichland.geo.countries import country_name

    if sys.stdout.isatty():
        return _table

    def show(path: str, guesses: Guesses) -> None:
        listed = ", ".join(f"{country_name(code)} ({code}) {odds:.1%}" for code, odds in guesses)
        print(f"{path}: {listed}")

    return show


def _table(path: str, guesses: Guesses) -> None:
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
    console.print()
