"""whichland study GRID.toml MANIFEST"""

import json as json_format
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichland.cli.main import require_extra
from whichland.cli.tables import print_table

if TYPE_CHECKING:
    from whichland.studies.findings import Findings


def study(
    grid: Annotated[Path, typer.Argument(metavar="GRID.toml", help="Lists of settings that are axes.")],
    manifest: Annotated[Path, typer.Argument(help="The table of photos, with splits.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for runs, tables, figures and the page.")],
    split: Annotated[str, typer.Option(help="Which part to judge on.")] = "test",
    jobs: Annotated[int, typer.Option(help="Cells at once on this machine.")] = 1,
    ray: Annotated[
        str | None,
        typer.Option(help="Run the cells on a Ray cluster: auto, HOST:PORT or ray://HOST:PORT.", metavar="ADDRESS"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the cells and run none.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the table of cells as JSON.")] = False,
) -> None:
    """Train and judge every cell of a grid; out come a table, figures with intervals and study.html.

    The same command again goes on where it was: cells that are done are not run again. A cell that fails is told
    and the rest go on; the exit code is then 1.
    """
    require_extra("train", "torch")
    from whichland.studies.runs import check_jobs

    check_jobs(jobs, ray)
    if dry_run:
        list_cells(grid, manifest, out, split, json)
        return
    from whichland.studies.study import study as run

    try:
        found, failed = run(grid, manifest, out, split=split, jobs=jobs, ray=ray, say=_say)
    except KeyboardInterrupt:
        _say("stopped; the same command goes on")
        raise typer.Exit(130) from None
    if json:
        print(json_format.dumps(found.table.to_dicts(), indent=2, ensure_ascii=False))
    else:
        show(found, out)
    if failed:
        _say(f"{len(failed)} of {found.table.height} cells failed")
        raise typer.Exit(1)


def list_cells(grid: Path, manifest: Path, out: Path, split: str, json: bool) -> None:
    """Print every cell with its place on the axes, its folder, and whether it is done."""
    from whichland.manifest import read
    from whichland.studies.grid import read_grid
    from whichland.studies.runs import state

    planned = read_grid(grid, read(manifest))
    states = [state(out / "runs" / cell.name, split) for cell in planned.cells]
    if json:
        cells = [{"cell": c.name, "state": s, **c.axes} for c, s in zip(planned.cells, states, strict=True)]
        print(json_format.dumps(cells, indent=2, ensure_ascii=False))
        return
    print_table(
        f"{len(planned.cells)} cells" + (f", {planned.repeated} more stand twice" if planned.repeated else ""),
        (*planned.axes, "state", "folder"),
        [
            (*(_shown(cell.axes.get(axis)) for axis in planned.axes), state, f"runs/{cell.name}")
            for cell, state in zip(planned.cells, states, strict=True)
        ],
    )


def show(found: "Findings", out: Path) -> None:
    """Print the models, what can be said of them, and where everything lies."""
    from whichland.studies.page import sentences

    if found.models:
        print_table(
            "Models at their best amount of data",
            ("model", "photos", "macro-F1", "95% interval", "tied", "top-1", "train photos/s", "infer photos/s"),
            [
                (
                    *(m.name, round(m.best.photos), m.best.score.value),
                    *(f"{m.best.score.low * 100:.1f} to {m.best.score.high * 100:.1f}", m.ties, m.best.top1),
                    *(round(m.training.value) if m.training else None, round(m.inference.value)),
                )
                for m in found.models
            ],
        )
        print("\n".join(["", *sentences(found)]))
    print(f"\npage: {out / 'study.html'}\ntable: {out / 'study.parquet'}")


def _shown(value: object) -> object:
    return str(value) if isinstance(value, float) else value


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
