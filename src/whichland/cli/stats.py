"""whichland data stats"""

import json as json_format
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichland.cli.manifests import In, Json
from whichland.cli.tables import print_table
from whichland.errors import UserError
from whichland.manifest import read

if TYPE_CHECKING:
    from whichland.curate.stats import Stats


def stats(
    manifest: In,
    chart: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Draw the photos by country and split (.png, .svg, .pdf).")
    ] = None,
    before: Annotated[
        Path | None, typer.Option(dir_okay=False, help="An earlier manifest; --chart draws its counts beside these.")
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option(
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
    table = read(manifest)
    found = counting.stats(table)
    if chart and before:
        counts = charts.in_use(read(before)), charts.in_use(table)
        print(f"chart: {charts.before_and_after(*counts, chart, what='Photos in use')}", file=sys.stderr)
    elif chart:
        print(f"chart: {charts.chart(found, chart)}", file=sys.stderr)
    if examples:
        print(f"examples: {contact_sheet.contact_sheets(table, examples)}", file=sys.stderr)
    for line in found.excesses:
        print(f"warning: {line}", file=sys.stderr)
    _print(found, json)


def _print(found: "Stats", json: bool) -> None:
    if json:
        print(json_format.dumps(found.as_dict(), ensure_ascii=False))
        return
    print(f"{found.rows:,} rows, {found.kept:,} kept")
    for title, table in found.tables().items():
        if table.height:
            print_table(f"By {title}", table.columns, table.rows())
    for kind, table in found.drop_rates.items():
        dropped = table.filter(table["dropped"] > 0)
        if dropped.height:
            print_table(f"Dropped, by {kind}", dropped.columns, dropped.rows())
