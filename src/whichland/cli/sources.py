"""whichland data fetch | merge | probe | stats: where photos come from, and how their sources differ."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from whichland.cli.flags import flags
from whichland.cli.output import In, Json, Out, Workers, give, print_json, print_table, say
from whichland.curate.geometry import HarmoniseConfig
from whichland.curate.merge import MergeConfig
from whichland.errors import UserError
from whichland.evaluation.source_probe import ProbeConfig
from whichland.manifest import Manifest, read, write
from whichland.printed import counted
from whichland.sources.mapillary.config import HarvestConfig

if TYPE_CHECKING:
    from whichland.curate.stats import Stats


@flags(HarvestConfig)
def fetch(
    config: HarvestConfig,
    origin: Annotated[
        str,
        Argument(
            help="mapillary:bbox=W,S,E,N, mapillary:polygon=FILE.geojson, mapillary:country=NO,SE,quota=500, "
            "mapillary:ids=FILE or mapillary:sequence=ID,ID"
        ),
    ],
    out: Out,
    folder: Annotated[
        Path | None, Option(file_okay=False, help="Where the photos go. [default: -o's name and -photos]")
    ] = None,
    token_file: Annotated[
        Path | None, Option(help="File with the access token. [default: the environment's MAPILLARY_TOKEN]")
    ] = None,
    json: Json = False,
) -> None:
    """Fetch photos with their coordinates; killed or interrupted, the same command resumes.

    MAPILLARY_API in the environment names another address of the same API, such as a mirror.
    """
    from whichland.sources.mapillary.client import API
    from whichland.sources.mapillary.harvest import fetch as run

    folder = folder or out.with_name(f"{out.stem}-photos")
    try:
        token = token_file.read_text(encoding="utf-8") if token_file else os.environ.get("MAPILLARY_TOKEN", "")
    except (OSError, UnicodeDecodeError):
        raise UserError(f"--token-file {token_file}: cannot be read as text") from None
    try:
        harvest = run(origin, folder, config, token=token, api=os.environ.get("MAPILLARY_API", API))
    except KeyboardInterrupt:
        say(f"what was fetched is in {folder}: the same command resumes")
        raise
    write(harvest.manifest, out)
    found: dict[str, Any] = harvest.summary
    asked = f"{sum(found['requests'].values()):,} requests of {found['budget']:,} over all runs"
    say(f"fetch: {counted(found['stored'], 'photo')} stored, {found['failed']:,} could not be had; {asked}")
    for title, key in (("could not be had", "reasons"), ("left out", "left_out")):
        for reason, count in found[key].items():
            say(f"  {title}: {count:,} {reason}")
    if json:
        print_json({"out": str(out), **found})
    if harvest.unfinished:
        raise UserError(f"{harvest.unfinished}; the same command with a larger --budget resumes")


@dataclass(frozen=True, kw_only=True)
class MergeCommand(HarmoniseConfig, MergeConfig):
    """The settings of merging, and of the pictures."""


@flags(MergeCommand)
def merge(
    config: MergeCommand,
    manifests: Annotated[list[Path], Argument(metavar="MANIFEST…", help="The manifests to read, one or more.")],
    out: Out,
    images: Annotated[
        Path | None, Option(file_okay=False, help="Folder for pictures cut or encoded anew, as Parquet shards.")
    ] = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Bring manifests together; with --images, panoramas become views, and all photos one size and encoding.

    Prints how many photos of each country each source has. Interrupted, the same command resumes. Next come
    `measure`, `clean` and `split`.
    """
    from whichland.curate.merge import harmonise
    from whichland.curate.merge import merge as run

    pictures = config.part(HarmoniseConfig)
    if images is None and pictures != HarmoniseConfig():
        raise UserError("pictures are to be cut or encoded anew: say where to write them, with --images FOLDER")
    merged = run([read(path) for path in manifests], config.part(MergeConfig))
    if images is not None:
        merged = harmonise(merged, pictures, images, workers=workers)
    write(merged, out)
    _report_merge(merged, out, json)


def _report_merge(merged: Manifest, out: Path, json: bool) -> None:
    """Say what was made, and the source × country table with its warnings."""
    from whichland.curate import merge as merging

    frame = merged.frame
    table = merging.source_by_country(frame)
    guessed = merging.source_guessed_by_country(table)
    views = frame["panorama"].drop_nulls().len() if "panorama" in frame.columns else 0
    failed = frame["unreadable"].drop_nulls().len() if "unreadable" in frame.columns else 0
    size = merged.history[-1].params.get("written_size")
    words = [counted(len(merged), "row")]
    if views:
        words.append(f"{counted(views, 'view')} of {counted(frame['panorama'].drop_nulls().n_unique(), 'panorama')}")
    words += [f"{failed:,} unreadable or too small"] if failed else []
    words += [f"all others {size.replace('x', '×')}"] if size else []
    say(f"merge: {', '.join(words)}")
    for line in merging.lone_countries(table):
        say(line)
    if guessed:
        say(
            f"the source is guessed right from the country alone for {guessed[0]:.1%} of the photos "
            f"(by always naming the largest: {guessed[1]:.1%})"
        )
    counts = {"rows": len(merged), "views": views, "unreadable": failed, "size": size}
    share = dict(zip(("source_from_country", "largest_source"), guessed or (None, None), strict=True))
    values = {"step": "merge", "out": str(out), **counts, **share, "countries": table.to_dicts()}
    title = "Photos by country and source"
    give(values, lambda: print_table(title, table.columns, table.rows()), json=json, indent=None)


@flags(ProbeConfig)
def probe(config: ProbeConfig, manifest: In, json: Json = False) -> None:
    """Try to recognise a photo's source from its file alone; what can be recognised, a model can learn.

    `header` (size in pixels, encoder settings) is at chance once `merge --harmonise` has written all files. The
    compressed size depends on the picture as well, so it may stay above chance where the pictures differ.
    """
    from whichland.evaluation.source_probe import source_probe

    found = source_probe(read(manifest), config)
    if json:
        print_json(asdict(found))
        return
    counts = ", ".join(f"{name} {count:,}" for name, count in found.sources.items())
    say(f"{counts} photos in {counted(found.groups, 'group')}; {found.unreadable:,} unreadable")
    columns = ("facts", "balanced_accuracy", "low", "high", "chance", "accuracy", "majority")
    rows = [(*(getattr(r, name) for name in columns), ", ".join(r.telling)) for r in found.readings]
    print_table("How often the source is recognised", (*columns, "recognised_by"), rows)


def stats(
    manifest: In,
    chart: Annotated[
        Path | None, Option(dir_okay=False, help="Draw the photos by country and split (.png, .svg, .pdf).")
    ] = None,
    before: Annotated[
        Path | None, Option(dir_okay=False, help="An earlier manifest; --chart draws its counts beside these.")
    ] = None,
    examples: Annotated[
        Path | None,
        Option(
            file_okay=False,
            help="Folder for contact sheets: what each drop reason took and what it just kept, "
            "the nearest to the threshold first, and an index.html of them all.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Count by country, split, source and drop reason; show examples; warn where cleaning takes far more."""
    from whichland.curate import charts, contact_sheet
    from whichland.curate import stats as counting

    if before and not chart:
        raise UserError("--before says what --chart FILE is to draw; give both")
    table = read(manifest, None if chart or examples else ["image_id"])
    found = counting.stats(table)
    if chart and before:
        counts = charts.in_use(read(before)), charts.in_use(table)
        say(f"chart: {charts.before_and_after(*counts, chart, what='Photos in use')}")
    elif chart:
        say(f"chart: {charts.chart(found, chart)}")
    if examples:
        say(f"examples: {contact_sheet.contact_sheets(table, examples)}")
    for line in found.excesses:
        say(f"warning: {line}")
    give(found.as_dict(), lambda: _print_stats(found), json=json, indent=None)


def _print_stats(found: "Stats") -> None:
    print(f"{counted(found.rows, 'row')}, {found.kept:,} kept")
    tables = {f"By {title}": table for title, table in found.tables().items()}
    tables |= {f"Dropped, by {kind}": table.filter(table["dropped"] > 0) for kind, table in found.drop_rates.items()}
    for title, table in tables.items():
        if table.height:
            print_table(title, table.columns, table.rows())
