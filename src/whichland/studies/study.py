"""A study from its grid to its page: OUT/{runs/…, study.parquet, study.csv, study.html, figures/*.svg}."""

from collections.abc import Mapping
from pathlib import Path

from whichland.errors import UserError
from whichland.manifest import read
from whichland.studies import page, throughput
from whichland.studies.figures import curves, figures
from whichland.studies.findings import Findings, find, table_of
from whichland.studies.grid import Grid, read_grid
from whichland.studies.runs import Say, result_of, run_cells
from whichland.whole_file import whole_file


def study(
    grid: str | Path,
    manifest: str | Path,
    out: str | Path,
    *,
    split: str = "test",
    jobs: int = 1,
    ray: str | None = None,
    say: Say = print,
) -> tuple[Findings, dict[str, str]]:
    """Run the cells of a grid that are not done yet, and write the tables, the figures and the page.

    Returns what was found and why cells failed, by cell. A cell whose settings, photos and weights are those of
    one that is done under `out` is not run again; one that was interrupted goes on from its checkpoint.
    Raises UserError for what is wrong with the grid itself.
    """
    manifest, out = Path(manifest), Path(out)
    if out.is_file():
        raise UserError(f"{out} is a file; --out names a folder")
    planned = read_grid(grid, read(manifest))
    failed = run_cells(planned.cells, manifest, out, split=split, jobs=jobs, ray=ray, say=say)
    return write(planned, out, split=split, failed=failed, jobs=jobs), failed


def write(grid: Grid, out: Path, *, split: str, failed: Mapping[str, str], jobs: int) -> Findings:
    """Gather what the cells have left under `out`, and write it as tables, figures and page."""
    results = {cell.name: result_of(out / "runs" / cell.name, split) for cell in grid.cells}
    done = {name: out / "runs" / name for name, result in results.items() if result}
    speeds = throughput.measured({name: run / "bundle" for name, run in done.items()}, out) if done else {}
    table = table_of(grid.cells, out, split, failed, speeds, jobs)
    found = find(table, grid.cells, out, split)
    with whole_file(out / "study.parquet") as partial:
        table.write_parquet(partial)
    with whole_file(out / "study.csv") as partial:
        table.write_csv(partial)
    drawn = figures(found.models)
    drawn |= {f"curve-{number}": svg for number, svg in enumerate(curves(found.models).values(), 1)}
    (out / "figures").mkdir(exist_ok=True)
    for name, svg in drawn.items():
        with whole_file(out / "figures" / f"{name}.svg") as partial:
            partial.write_text(svg, encoding="utf-8")
    reports = {name: f"runs/{name}/{result['report']}/report.html" for name, result in results.items() if result}
    with whole_file(out / "study.html") as partial:
        partial.write_text(page.render(grid, found, reports, split=split), encoding="utf-8")
    return found
