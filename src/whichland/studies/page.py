"""The page of a study, study.html: what can be said, the figures, the tables."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

import whichland
from whichland.evaluation.compare import POINTS, Comparison
from whichland.studies import throughput
from whichland.studies.figures import clock, curves, figures
from whichland.studies.findings import Findings
from whichland.studies.grid import REPEATED, Grid
from whichland.templates import templates_beside

PAIRS = 15  # listed; of more the letters say enough


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
        f"Of {len(comparison.pairs)} pairs of models, {apart} can be told apart by macro-F1 on these photos "
        "(5 % family-wise, after Holm)."
    ]
    if tied:
        lines.append(f"The best, {best.name}, is not told apart from {_listed(tied)}.")
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
