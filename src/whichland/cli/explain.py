"""whichland explain BUNDLE PHOTO… | FOLDER… -o PICTURE | FOLDER"""

import json as json_format
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichland.cli.main import require_extra
from whichland.cli.predict import find_photos
from whichland.errors import UserError

if TYPE_CHECKING:
    from whichland.explain.explanation import Answer, Explanation


def explain(
    bundle: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    photos: Annotated[
        list[str],
        typer.Argument(help="Photos; folders; rows `shard.parquet#12` and members `archive.zip#a.jpg`."),
    ],
    out: Annotated[
        str, typer.Option("-o", "--out", help="Picture to write (.png, .jpg, .webp), or a folder for many.")
    ],
    target: Annotated[
        str | None,
        typer.Option(
            metavar="COUNTRY|A:B",
            help="What to explain: a country, or what speaks for A and not B; the top guess when not given.",
        ),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="The photo under its heat alone, without the odds.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help='Lines {"path","country","probability","top","target","picture"}.')
    ] = False,
) -> None:
    """Show where in a photo the model found its answer.

    A photo that cannot be read is one line "path: reason" on stderr and the rest go on; the exit code is then 2
    after all others are done, and 0 when every photo was readable.
    """
    paths = list(dict.fromkeys(find_photos(photos)))
    pictures = name_pictures(paths, out)
    require_extra("train", "torch")
    failed = _run(bundle, dict(zip(paths, pictures, strict=True)), target, plain, json)
    raise typer.Exit(2 if failed else 0)


def name_pictures(paths: list[str], out: str) -> list[Path]:
    """Say where each photo's picture goes: to `out` itself for one photo, else into the folder `out`.

    Raises UserError for several photos and one picture, an unknown format, and a picture that would overwrite
    a photo.
    """
    from whichland.explain.overlay import check_picture_path

    place = Path(out)
    if place.suffix and not place.is_dir() and not out.endswith("/"):
        check_picture_path(place)
        if len(paths) > 1:
            raise UserError(f"{out} is one picture, but there are {len(paths)} photos; give a folder")
        pictures = [place]
    else:
        taken: set[str] = set()
        pictures = [place / f"{_free(_stem(path), taken)}.explained.png" for path in paths]
    overwritten = {path.resolve() for path in pictures} & {Path(path).resolve() for path in paths}
    if overwritten:
        raise UserError(
            f"{min(overwritten)} is one of the photos and would be overwritten; choose another -o"
        )
    return pictures


def _stem(path: str) -> str:
    """Name a photo for its picture: a.jpg and archive.zip#x/a.jpg are a, shard.parquet#12 is shard-12."""
    container, _, inside = path.rpartition("#")
    return f"{Path(container).stem}-{inside}" if container and inside.isdigit() else Path(path).stem


def _free(name: str, taken: set[str]) -> str:
    """The name, or name-2, name-3, … when photos of several folders share it."""
    number, free = 1, name
    while free.casefold() in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free.casefold())
    return free


def _run(folder: Path, pictures: dict[str, Path], target: str | None, plain: bool, json: bool) -> int:
    """Explain, write and print photo by photo; return how many could not be read."""
    from whichland.explain.explanation import explain as explain_one
    from whichland.images.decode import ImageError
    from whichland.model import bundle as bundles
    from whichland.model.predict import best_device
    from whichland.progress import track

    bundle = bundles.load(folder)
    bundle.model.to(best_device())
    answer = find_target(target, bundle.labels) if target else None
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]  # names of files as they are
    failed = 0
    for path, picture in track(pictures.items(), len(pictures), "explaining"):
        try:
            explanation = explain_one(bundle, path, answer)
        except ImageError as error:
            failed += 1
            text = " ".join(str(error).split())
            print(text if text.startswith(path) else f"{path}: {text}", file=sys.stderr, flush=True)
            continue
        explanation.save(picture, plain=plain)
        print(_as_json(explanation, picture) if json else _as_text(explanation, picture), flush=True)
    return failed


def find_target(text: str, labels: tuple[str, ...]) -> "Answer":
    """Read `US`, `United States` or `HU:SK` into codes that the bundle knows. Raises UserError otherwise."""
    from whichland.geo.countries import find_country, nearest_names

    codes = []
    for name in text.split(":"):
        code = find_country(name)
        if code is None:
            near = nearest_names(name)
            raise UserError(f"--target: no country {name!r}" + (f"; near: {', '.join(near)}" if near else ""))
        if code not in labels:
            raise UserError(f"--target: this bundle does not know {code}; it knows {', '.join(labels)}")
        codes.append(code)
    if len(codes) > 2 or len(set(codes)) < len(codes):
        raise UserError(f"--target {text}: give one country, or two different ones as A:B")
    return (codes[0], codes[1]) if len(codes) == 2 else codes[0]


def _as_text(explanation: "Explanation", picture: Path) -> str:
    from whichland.geo.countries import country_name

    code, odds = explanation.guesses[0]
    return f"{explanation.path}: {country_name(code)} ({code}) {odds:.1%} -> {picture}"


def _as_json(explanation: "Explanation", picture: Path) -> str:
    ranked = [{"country": code, "probability": round(odds, 6)} for code, odds in explanation.guesses]
    values = {"path": explanation.path, **ranked[0], "top": ranked}
    return json_format.dumps(values | {"target": explanation.target, "picture": str(picture)})
