"""`whichland cross-source`: train on each source, test on the others."""

import json as json_format
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichland.cli.flags import flags
from whichland.cli.main import require_extra
from whichland.cli.manifests import Json

require_extra("train", "torch")
from whichland.training.config import TrainConfig  # noqa: E402

if TYPE_CHECKING:
    from whichland.evaluation.cross_source import CrossSource


@flags(TrainConfig, recipe=True, every=False)
def cross_source(
    manifest: Annotated[Path, typer.Argument(help="Split manifest with photos of two sources or more.")],
    config: TrainConfig,
    out: Annotated[
        Path, typer.Option("--out", file_okay=False, help="Folder for the runs, the matrix and its picture.")
    ],
    json: Json = False,
) -> None:
    """Train on A and test on B for every pair of sources, and on all but one; the worst source is the headline.

    Give the settings of training as a recipe or a run's config.toml, and by --set. A pair is judged on the countries
    that both sources show. The same command resumes: a model whose bundle is there is not trained again.
    """
    from whichland.evaluation.cross_source import cross_source as run
    from whichland.evaluation.cross_source import numbers
    from whichland.training.stopping import Interrupted

    try:
        result = run(manifest, config, out)
    except Interrupted:
        print("stopped; the same command goes on", file=sys.stderr)
        raise typer.Exit(130) from None
    if json:
        print(json_format.dumps(numbers(result), ensure_ascii=False))
        return
    show(result)


def show(result: "CrossSource") -> None:
    """Print a line a cell, and the headline."""
    from whichland.cli.tables import print_table

    columns = ("trained_on", "tested_on", "macro_f1", "low", "high", "top1", "at_home", "countries", "photos")
    rows = [
        (
            cell.trained_on,
            cell.tested_on,
            *((s.value, s.low, s.high) if (s := cell.macro_f1) else (None, None, None)),
            cell.top1.value if cell.top1 else None,
            cell.at_home,
            len(cell.countries),
            cell.photos,
        )
        for cell in sorted(result.cells, key=lambda cell: (result.sources.index(cell.tested_on), cell.trained_on))
    ]
    print_table("Every model on every source, on the countries they share", columns, rows)
    for source, why in result.untrained.items():
        print(f"not trained on {source}: {why}")
    worst = result.worst
    if worst is None:
        print("no two sources share a country")
    else:
        print(f"worst source: {worst.tested_on}, macro-F1 {worst.macro_f1} of {worst.trained_on}, unseen")
    print(f"picture: {result.folder / 'cross_source.png'}")
