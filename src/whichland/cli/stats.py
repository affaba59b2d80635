"""whichland data stats"""

import json as json_format
import sys
from pathlib import Path
from typing import Annotated

import typer

from whichland.cli.manifests import In, Json
from whichland.cli.tables import print_table
from whichland.manifest import read


def stats(
    manifest: In,
    chart: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Draw the photos by country and split (.png, .svg, .pdf)."),
    ] = None,
    json: Json = False,
) -> None:
    """Count by country, split, source and drop reason."""
    from whichland.curate import stats as counting

    found = counting.stats(read(manifest))
    if chart:
        print(f"chart: {counting.chart(found, chart)}", file=sys.stderr)
    if json:
        print(json_format.dumps(found.as_dict(), ensure_ascii=False))
        return
    print(f"{found.rows:,} rows, {found.kept:,} kept")
    for title, table in found.tables().items():
        if table.height:
            print_table(f"By {title}", table.columns, table.rows())
