"""A study from its grid to its page: OUT/{runs/…, study.parquet, study.csv, study.html, figures/*.svg}."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

import whichland
from whichland.errors import UserError
from whichland.evaluation.compare import POINTS, Comparison
from whichland.manifest import read
from whichland.studies import throughput
from whichland.studies.figures import clock, curves, figures
from whichland.studies.findings import Findings, find, table_of
from whichland.studies.grid import REPEATED, Grid, read_grid
from whichland.studies.runs import Say, result_of, run_cells
from whichland.templates import templates_beside
from whichland.whole_file import whole_file

PAIRS = 15  # listed; of more the letters say enough


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
    table = table_of(grid.cells, out, results, failed, speeds, jobs)
    found = find(table, grid.cells, out, results)
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
        partial.write_text(render(grid, found, reports, split=split), encoding="utf-8")
    return found


def render(grid: Grid, found: Findings, reports: Mapping[str, str], *, split: str) -> str:
    """Fill the template; `reports` are addresses of the cells' reports, from the page."""
    environment = templates_beside(__file__)
    environment.filters["percent"] = lambda share: f"{share:.1%}"
    environment.filters["millions"] = lambda count: f"{count / 1e6:.1f} M"
    done = found.table.filter(found.table["state"] == "done")
    first = done.row(0, named=True) if done.height else {}
    comparison = found.comparison
    drawn = {name: Markup(svg) for name, svg in figures(found.models).items()}
    return environment.get_template("study.html.j2").render(
        title=grid.title,
        version=whichland.__version__,
        split=split,
        cells=len(grid.cells),
        done=done.height,
        failed=[f"{row['cell']} failed: {row['reason']}" for row in found.table.iter_rows(named=True) if row["reason"]],
        models=found.models,
        photos=comparison.photos if comparison else first.get("test_photos"),
        groups=comparison.groups if comparison else first.get("test_groups"),
        countries=first.get("countries"),
        jobs=first.get("jobs", 1),
        seeded=any(len(point.cells) > 1 for model in found.models for point in model.points),
        said=sentences(found),
        figures={"training": None} | drawn,
        curves=[Markup(svg) for svg in curves(found.models).values()],
        exact=all(len(model.points) == 3 for model in found.models if model.curve),
        pairs=comparison.pairs if comparison and len(comparison.pairs) <= PAIRS else (),
        tests=len(comparison.pairs) if comparison else 0,
        batch=throughput.BATCH,
        turns=throughput.TURNS,
        **_cells(grid, found, reports),
    )


def sentences(found: Findings) -> list[str]:
    """What can and what cannot be said at this test size, in words."""
    comparison = found.comparison
    if comparison is None:
        return []
    best = found.models[0]
    apart = sum(pair.p_macro_f1_adjusted <= 0.05 for pair in comparison.pairs)
    tied = [m.name for m in found.models[1:] if set(m.ties.split()) & set(best.ties.split())]
    lines = [
        f"Of {len(comparison.pairs)} pairs of models, {apart} can be distinguished by macro-F1 on these photos "
        "(5 % family-wise, after Holm)."
    ]
    if tied:
        lines.append(f"The best, {best.name}, is not distinguished from {_listed(tied)}.")
    else:
        lines.append(f"The best, {best.name}, is better than every other.")
    return [*lines, needed(comparison)]


def needed(comparison: Comparison) -> str:
    """How many test photos would do, in words."""
    counts = sorted(pair.photos_needed for pair in comparison.pairs)
    between = f" ({counts[0]:,} to {counts[-1]:,}, by pair)" if len(counts) > 1 else ""
    return (
        f"A true difference of {POINTS * 100:.0f} points in top-1 would be found in 80 % of cases with about "
        f"{comparison.photos_needed:,} test photos{between}, for one pair alone; there are {comparison.photos:,}."
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]


def _cells(grid: Grid, found: Findings, reports: Mapping[str, str]) -> dict[str, Any]:
    repeated = [axis for axis in REPEATED if axis in grid.axes]
    rows = []
    for row in found.table.iter_rows(named=True):
        values = [row[axis] if row[axis] is not None else "–" for axis in repeated]
        if row["state"] == "done":
            values += [
                f"{row['macro_f1']:.1%}",
                f"{row['macro_f1_low']:.1%} to {row['macro_f1_high']:.1%}",
                f"{row['top1']:.1%}",
                f"{row['train_photos']:,}",
                clock(row["seconds"]).removesuffix(" a run") if row["seconds"] is not None else "–",
            ]
        else:
            values += [row["state"], *["–"] * 4]
        rows.append({"model": row["model"], "report": reports.get(row["cell"]), "values": values})
    heads = ["model", *repeated, "macro-F1", "95 % interval", "top-1", "training photos", "time"]
    return {"heads": heads, "rows": rows}
