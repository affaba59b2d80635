"""whichland data fetch"""

import json as json_format
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from whichland.cli.flags import flags
from whichland.cli.manifests import Json, Out
from whichland.errors import UserError
from whichland.sources.mapillary.config import HarvestConfig

Origin = Annotated[
    str,
    typer.Argument(
        help="mapillary:bbox=W,S,E,N, mapillary:polygon=FILE.geojson, mapillary:country=NO,SE,quota=500, "
        "mapillary:ids=FILE or mapillary:sequence=ID,ID"
    ),
]
Folder = Annotated[
    Path | None, typer.Option("--folder", file_okay=False, help="Where the photos go. [default: -o's name and -photos]")
]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", help="File with the access token. [default: the environment's MAPILLARY_TOKEN]"),
]


@flags(HarvestConfig)
def fetch(
    config: HarvestConfig,
    origin: Origin,
    out: Out,
    folder: Folder = None,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Fetch photos with their coordinates; killed or interrupted, the same command goes on.

    MAPILLARY_API in the environment names another address of the same API, such as a mirror.
    """
    from whichland.manifest import write
    from whichland.sources.mapillary.client import API
    from whichland.sources.mapillary.harvest import fetch as run

    folder = folder or out.with_name(f"{out.stem}-photos")
    try:
        harvest = run(origin, folder, config, token=_token(token_file), api=os.environ.get("MAPILLARY_API", API))
    except KeyboardInterrupt:
        print(f"what was fetched is in {folder}: the same command goes on", file=sys.stderr)
        raise
    write(harvest.manifest, out)
    print(_in_words(harvest.summary), file=sys.stderr)
    if json:
        print(json_format.dumps({"out": str(out), **harvest.summary}, ensure_ascii=False))
    if harvest.unfinished:
        raise UserError(f"{harvest.unfinished}; the same command with a larger --budget goes on")


def _token(file: Path | None) -> str:
    if file is None:
        return os.environ.get("MAPILLARY_TOKEN", "")
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise UserError(f"--token-file {file}: cannot be read as text") from None


def _in_words(summary: dict[str, int | dict[str, int]]) -> str:
    requests = summary["requests"]
    assert isinstance(requests, dict)
    text = (
        f"fetch: {summary['stored']:,} photos stored, {summary['failed']:,} could not be had; "
        f"{sum(requests.values()):,} requests of {summary['budget']:,} over all runs"
    )
    for title, key in (("could not be had", "reasons"), ("left out", "left_out")):
        counts = summary[key]
        assert isinstance(counts, dict)
        text += "".join(f"\n  {title}: {count:,} {reason}" for reason, count in counts.items())
    return text
