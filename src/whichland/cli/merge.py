"""whichland data merge"""

import json as json_format
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from whichland.cli.flags import flags
from whichland.cli.manifests import Json, Out
from whichland.cli.tables import print_table
from whichland.curate.geometry import HarmoniseConfig
from whichland.curate.merge import MergeConfig
from whichland.errors import UserError
from whichland.manifest import Manifest, read, write


@dataclass(frozen=True, kw_only=True)
class MergeCommand(HarmoniseConfig, MergeConfig):
    """The settings of merging, and of the pictures."""


Manifests = Annotated[list[Path], typer.Argument(metavar="MANIFEST…", help="The manifests to read, one or more.")]
Images = Annotated[
    Path | None,
    typer.Option(file_okay=False, help="Folder for pictures that are cut or encoded anew, as Parquet shards."),
]
Workers = Annotated[int | None, typer.Option("-j", "--workers", min=1, help="Processes. [default: one a core]")]


@flags(MergeCommand)
def merge(
    config: MergeCommand,
    manifests: Manifests,
    out: Out,
    images: Images = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Bring manifests together; with --images, panoramas become views, and all photos one size and encoding.

    Prints how many photos of each country each source has. Interrupted, the same command goes on. Next come
    `measure`, `clean` and `split`.
    """
    from whichland.curate.harmonise import harmonise
    from whichland.curate.merge import merge as run

    pictures = config.part(HarmoniseConfig)
    if images is None and pictures != HarmoniseConfig():
        raise UserError("pictures are to be cut or encoded anew: say where to write them, with --images FOLDER")
    merged = run([read(path) for path in manifests], config.part(MergeConfig))
    if images is not None:
        merged = harmonise(merged, pictures, images, workers=workers)
    write(merged, out)
    _tell(merged, out, json)


def _tell(merged: Manifest, out: Path, json: bool) -> None:
    """Say what was made, and the source × country table with its warnings."""
    from whichland.curate import merge as merging

    frame = merged.frame
    table = merging.source_by_country(frame)
    told = merging.source_told_by_country(table)
    views = frame["panorama"].drop_nulls().len() if "panorama" in frame.columns else 0
    failed = frame["unreadable"].drop_nulls().len() if "unreadable" in frame.columns else 0
    size = merged.history[-1].params.get("written_size")
    counts = {"rows": len(merged), "views": views, "unreadable": failed, "size": size}
    words = [f"{len(merged):,} rows"]
    words += [f"{views:,} views of {frame['panorama'].drop_nulls().n_unique():,} panoramas"] if views else []
    words += [f"{failed:,} unreadable or too small"] if failed else []
    words += [f"all others {size.replace('x', '×')}"] if size else []
    print(f"merge: {', '.join(words)}", file=sys.stderr)
    for line in merging.lone_countries(table):
        print(line, file=sys.stderr)
    if told:
        print(
            f"the source is guessed right from the country alone for {told[0]:.1%} of the photos "
            f"(by always naming the largest: {told[1]:.1%})",
            file=sys.stderr,
        )
    if json:
        share = dict(zip(("source_from_country", "largest_source"), told or (None, None), strict=True))
        result = {"step": "merge", "out": str(out), **counts, **share, "countries": table.to_dicts()}
        print(json_format.dumps(result, ensure_ascii=False))
    else:
        print_table("Photos by country and source", table.columns, table.rows())
