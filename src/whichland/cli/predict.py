"""whichland predict BUNDLE PHOTO… | FOLDER… | ARCHIVE… | LIST… [-o ANSWERS.parquet], serve BUNDLE, embed and search."""

import csv as csv_format
import json as json_format
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from whichland.bulk.config import EmbedConfig, PredictConfig
from whichland.bulk.inputs import Photos, find_photos
from whichland.cli.flags import flags
from whichland.cli.output import BUNDLE, Bundle, Json, give, say
from whichland.errors import UserError
from whichland.images.containers import ImageError
from whichland.printed import counted
from whichland.serving.settings import PREFIX, ServeConfig

if TYPE_CHECKING:
    from whichland.bulk.rows import Row, Rows


@flags(PredictConfig)
def predict(
    bundle: Bundle,
    photos: Annotated[
        list[str],
        Argument(
            help="Photos; folders, searched through for image files (hidden ones are passed over); globs in "
            "quotes; zip archives; Parquet shards of images; manifests; addresses on the web; text files that "
            "list paths and addresses, one a line, or - for such a list on standard input; rows "
            "`shard.parquet#12` and members `archive.zip#a.jpg`."
        ),
    ],
    config: PredictConfig,
    out: Annotated[
        Path | None,
        Option(
            *("-o", "--out"),
            help="Write the answers to this file: .parquet, .csv (for pandas with keep_default_na=False, as NA is "
            "Namibia), .jsonl, .geojson, or .html for a page with a map. The same command again resumes a batch that "
            "was stopped.",
        ),
    ] = None,
    csv: Annotated[
        bool, Option("--csv", help="Rows path,country,probability,country_2,…; for pandas as with -o.")
    ] = False,
    json: Annotated[
        bool, Option("--json", help='Lines {"path","country","probability","top":[…]}; with -o a summary alone.')
    ] = False,
    ray: Annotated[
        str | None,
        Option(metavar="ADDRESS", help="Spread the work over a Ray cluster: its address, or auto; needs -o."),
    ] = None,
) -> None:
    """The likeliest labels (countries or others) of photos, with probabilities: printed, or with -o written to a file.

    A photo that cannot be read is one line "path: reason" on stderr and the rest are answered; the exit code is then 2
    after all others are done, and 0 when every photo was readable.
    """
    if csv and (json or out):
        raise UserError(f"--csv and {'--json' if json else '-o'} exclude each other; choose one")
    if ray is not None and out is None:
        raise UserError("--ray needs -o: the workers' answers are gathered in a file")
    from whichland.model.bundle import read_settings

    if caution := read_settings(bundle).info.caution:  # what is no bundle is said before what is no photo
        say(caution)
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]  # names of files as they are
    if out is not None:
        unreadable = _write(bundle, find_photos(photos), out, config, ray, json)
    else:
        unreadable = _print(bundle, find_photos(photos), config, _csv if csv else _json if json else _text)
    raise Exit(2 if unreadable else 0)


def _write(bundle: Path, photos: Photos, out: Path, config: PredictConfig, ray: str | None, json: bool) -> int:
    """Write the answers to a file and say what it holds; return how many photos could not be read."""
    from whichland.bulk.run import predict_to

    try:
        done = predict_to(bundle, photos, out, config, ray=ray, complain=_complain)
    except KeyboardInterrupt:
        say(f"stopped; the same command resumes {out}.part")
        raise Exit(130) from None
    say(f"{out}: {counted(done.photos - done.unreadable, 'photo')} answered, {done.unreadable:,} unreadable")
    if done.exif:
        say(done.exif)
    if json:
        exif = {"exif": asdict(done.exif)} if done.exif else {}
        print(json_format.dumps({"out": str(out), "photos": done.photos, "unreadable": done.unreadable, **exif}))
    return done.unreadable


def _print(
    folder: Path, photos: Photos, config: PredictConfig, form: "Callable[[Rows], Callable[[Row], object]]"
) -> int:
    """Predict and print; return how many photos could not be read."""
    from whichland.bulk.rows import ExifCount, answers, rows_for
    from whichland.model.model import load
    from whichland.progress import Progress

    model = load(folder, engine=config.engine)
    rows = rows_for(model, config)  # before any photo is decoded
    exif, failed, show = ExifCount(), 0, form(rows)
    with Progress("predicting", len(photos), show=not sys.stdout.isatty()) as progress:
        for batch in answers(model, photos, config, addresses=photos.addresses):
            found = rows.of(batch)
            for (answer, _), row in zip(batch, found, strict=True):
                row["path"] = answer.path  # as the system has it
                if row["error"] is None:
                    show(row)
                else:
                    failed += 1
                    _complain(row)
            sys.stdout.flush()  # results appear as they are found, and a closed pipe is noticed here
            if config.check_exif:
                exif.add([row["agrees"] for row in found if row["error"] is None])
            progress.advance(len(batch))
    if config.check_exif:
        say(exif)
    return failed


def _complain(row: "Row") -> None:
    """One line on stderr for a photo that cannot be read."""
    say(f"{row['path']}: {row['error']}".replace("\n", "\\n"))


def _csv(rows: "Rows") -> "Callable[[Row], object]":
    from whichland.bulk.outputs import csv_row

    columns = rows.columns[: -len(("views", "error"))]
    writer = csv_format.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    return lambda row: writer.writerow(csv_row(row, columns))


def _json(rows: "Rows") -> "Callable[[Row], object]":
    from whichland.bulk.outputs import json_row

    return lambda row: print(json_format.dumps(json_row(row, rows)))


def _text(rows: "Rows") -> "Callable[[Row], object]":
    """A table a photo on a terminal; a line a photo elsewhere."""
    from whichland.bulk.rows import guesses

    def show(row: "Row") -> None:
        listed = ", ".join(f"{rows.space.described(code)} {share:.1%}" for code, share in guesses(row, rows))
        print("; ".join([f"{row['path']}: {listed}", *_further(row, rows)]))

    return (lambda row: _table(row, rows)) if sys.stdout.isatty() else show


def _further(row: "Row", rows: "Rows") -> list[str]:
    """What else was asked for, in words."""
    said = []
    if rows.adds_countries:
        country = rows.space.at("country").described(row["country"])
        said.append(f"added up, {country} {row['country_probability']:.1%}")
    if rows.config.among is not None:
        said.append(f"{row['outside']:.1%} fell outside {rows.config.among}")
    if rows.config.certainty is not None:
        name = row["certain"] and rows.space.at(row["certain_level"]).described(row["certain"])
        found = f"{name} {row['certain_probability']:.1%}" if name else "nothing"
        said.append(f"certain to {rows.config.certainty:g} %: {found}")
    if rows.set_column:
        named = row[rows.set_column]
        said.append(("one of " if len(named) > 1 else "") + ", ".join(named) + f" at {rows.config.sets:g} %")
    if row.get("unlike"):
        said.append(f"unlike what it was trained on, more so than {row['novelty']:.1%} of validation photos")
    if rows.config.pin:
        said.append(f"pin {row['pin_lat']:.2f}, {row['pin_lon']:.2f} (expected score {row['pin_score']:,.0f})")
    if rows.config.check_exif and row["exif_lat"] is not None:
        said.append(f"its EXIF says {row['exif_country'] or 'no country'}")
    return said


def _table(row: "Row", rows: "Rows") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from whichland.bulk.rows import guesses

    table = Table(box=None, show_header=False, padding=(0, 1))
    for code, probability in guesses(row, rows):
        bar = Text("█" * round(24 * probability) or "▏", style="cyan")
        name = rows.space.name(code)
        table.add_row(Text(name), Text(code if name != code else ""), f"{probability:.1%}".rjust(6), bar)
    console = Console()
    console.print(Text(row["path"], style="bold"), soft_wrap=True)
    console.print(table)
    console.print(Text("\n".join([*_further(row, rows), ""])), soft_wrap=True)


@flags(ServeConfig, variables=PREFIX)
def serve(
    bundle: Annotated[Path, Argument(help=BUNDLE, envvar=f"{PREFIX}BUNDLE", show_envvar=True)], config: ServeConfig
) -> None:
    """Serve a bundle over HTTP: a page for people, an API for programs, and the game.

    Every flag can also be given as a variable of the environment. The page is at /, the schema of the API at
    /openapi.json. SIGTERM and Ctrl-C let what is under way finish.
    """
    from whichland.model.bundle import read_settings

    read_settings(bundle)  # what is no bundle is said before anything slow is imported
    from whichland.serving.server import serve as run

    run(bundle, config)


@flags(EmbedConfig)
def embed(
    photos: Annotated[list[str], Argument(help="Photos, folders, archives, shards, lists, or a manifest.")],
    config: EmbedConfig,
    out: Annotated[Path, Option("-o", "--out", help="The Parquet file to write.")],
    ray: Annotated[str | None, Option(metavar="ADDRESS", help="Spread the work over a Ray cluster.")] = None,
) -> None:
    """Write what a model's head sees of photos, a vector each: to search, to cluster, or to train on.

    Of a manifest, country, place, licence and credit come along. The same command again resumes a run that
    was stopped. A photo that cannot be read has an error in place of a vector.
    """
    from whichland.bulk.embeddings import embed_to

    count, unreadable = embed_to(photos, out, config, ray=ray)
    say(f"{out}: {counted(count - unreadable, 'photo')} embedded, {unreadable:,} unreadable")


def search(
    index: Annotated[Path, Argument(help="A file that `whichland embed` made.")],
    photo: Annotated[str, Argument(help="A photo: a path, an address, a row of a shard or a member of an archive.")],
    count: Annotated[int, Option("-k", "--count", min=1, help="How many photos to name.")] = 5,
    approximate: Annotated[
        bool, Option("--approximate", help="By a graph, made beside the index the first time: for tens of thousands.")
    ] = False,
    json: Json = False,
) -> None:
    """Name the photos of an index that lie nearest to another one, with country, distance and credit.

    The distance is 1 minus the cosine: 0 for the same picture. All photos are compared, unless it is approximate.
    """
    from whichland.bulk.search import search as nearest_to

    try:
        found = nearest_to(index, photo, count, approximate=approximate)
    except ImageError as error:
        raise UserError(f"{photo}: {error}") from None

    def lines() -> list[str]:
        named = []
        for one in found:
            credit = " · ".join(filter(None, (one.row.get(name) for name in ("attribution", "creator", "license"))))
            named.append(f"{one.distance:.4f}  {one.row.get('country') or '–':<3} {one.row['path']}  {credit}".rstrip())
        return named

    give([asdict(one) for one in found], lines, json=json)
