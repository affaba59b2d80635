"""A study from its grid to its page: OUT/{runs/…, study.parquet, study.csv, study.html, figures/*.svg}."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from markupsafe import Markup

import whichland
from whichland.errors import UserError
from whichland.evaluation.compare import POINTS, Comparison
from whichland.manifest import read
from whichland.model import bundle as bundles
from whichland.model.engines import best_device
from whichland.model.model import model_of
from whichland.printed import counted
from whichland.progress import track
from whichland.studies.figures import clock, curves, figures
from whichland.studies.findings import Findings, find, table_of
from whichland.studies.grid import REPEATED, Grid, read_grid
from whichland.studies.runs import Say, result_of, run_cells
from whichland.templates import templates_beside
from whichland.whole_file import whole_file

PAIRS = 15  # listed; of more the letters say enough
THROUGHPUT = "throughput.json"
TURNS = 7  # the range of seven medians-to-be holds their median in 98 % of cases
TURN_S = 0.4
BATCH = 16


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
    one that is done under `out` is not run again; one that was interrupted resumes from its checkpoint.
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
    done = {name: result for name, result in results.items() if result}
    speeds = throughput({name: out / "runs" / name / "bundle" for name in done}, out) if done else {}
    table = table_of(grid.cells, out, results, failed, speeds, jobs)
    found = find(table, grid.cells, out, results)
    with whole_file(out / "study.parquet") as partial:
        table.write_parquet(partial)
    with whole_file(out / "study.csv") as partial:
        table.write_csv(partial)
    (out / "figures").mkdir(exist_ok=True)
    drawn, fitted = figures(found.models), curves(found.models)
    files = {f"figures/{name}.svg": svg for name, svg in drawn.items()}
    files |= {f"figures/curve-{number}.svg": svg for number, svg in enumerate(fitted, 1)}
    reports = {name: f"runs/{name}/{result['report']}/report.html" for name, result in done.items()}
    files["study.html"] = _page(grid, found, reports, drawn, fitted, split=split)
    for name, text in files.items():
        with whole_file(out / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return found


def throughput(folders: Mapping[str, Path], out: Path) -> dict[str, dict[str, float]]:
    """Photos a second of each cell's bundle, from decoded crops to probabilities: value, low, high by the cell's name.

    Bundles that differ in their weights alone are one and measured once. Kept in OUT/throughput.json; a bundle of
    a new kind has all measured anew, because only what ran in turns can be compared.
    """
    kinds = {cell: _kind(folder) for cell, folder in folders.items()}
    file = out / THROUGHPUT
    known: dict[str, dict[str, float]] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if not set(kinds.values()) <= set(known):
        known = _in_turns({kind: folders[cell] for cell, kind in kinds.items()})
        with whole_file(file) as partial:
            partial.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    return {cell: known[kind] for cell, kind in kinds.items()}


def _kind(folder: Path) -> str:
    """What the speed of a bundle depends on."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    sizes = {name: config["pretrained_cfg"].get(name) for name in ("input_size", "test_input_size")}
    head = bundles.read_info(folder).head
    return json.dumps(
        (config["architecture"], config["model_args"], sizes, head, config["num_classes"]), sort_keys=True
    )


def _in_turns(folders: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """Measure in turns, so that a busy machine is busy for all alike: median, least and most, in photos a second."""
    loaded = {}
    for name, folder in folders.items():
        bundle = bundles.load(folder)
        bundle.model.to(best_device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
        height, width = bundle.preprocess.size
        crops = np.random.default_rng(0).integers(0, 256, (BATCH, height, width, 3), dtype=np.uint8)
        probabilities = model_of(bundle).probabilities
        probabilities(crops)  # the first call lays out memory
        loaded[name] = (probabilities, crops)
    rates: dict[str, list[float]] = {name: [] for name in loaded}
    for _ in track(range(TURNS), description="inference speed", unit="turns"):
        for name, (probabilities, crops) in loaded.items():
            begun, done = time.perf_counter(), 0
            while (spent := time.perf_counter() - begun) < TURN_S or not done:
                probabilities(crops)
                done += BATCH
            rates[name].append(done / spent)
    return {
        name: {"value": float(np.median(found)), "low": min(found), "high": max(found)} for name, found in rates.items()
    }


def _page(
    grid: Grid, found: Findings, reports: Mapping[str, str], drawn: Mapping[str, str], fitted: list[str], *, split: str
) -> str:
    """Fill the template; `reports` are addresses of the cells' reports, from the page."""
    environment = templates_beside(__file__)
    environment.filters["percent"] = lambda share: f"{share:.1%}"
    environment.filters["clock"] = lambda seconds: clock(seconds).removesuffix(" a run")
    rows = found.table.to_dicts()
    done = [row for row in rows if row["state"] == "done"]
    comparison, first = found.comparison, done[0] if done else {}
    return environment.get_template("study.html.j2").render(
        title=grid.title,
        version=whichland.__version__,
        split=split,
        cells=rows,
        done=len(done),
        models=found.models,
        photos=comparison.photos if comparison else first.get("test_photos"),
        groups=comparison.groups if comparison else first.get("test_groups"),
        countries=first.get("countries"),
        jobs=first.get("jobs", 1),
        seeded=any(len(point.cells) > 1 for model in found.models for point in model.points),
        said=sentences(found),
        figures={"training": None} | {name: Markup(svg) for name, svg in drawn.items()},
        curves=[Markup(svg) for svg in fitted],
        exact=all(len(model.points) == 3 for model in found.models if model.curve),
        pairs=comparison.pairs if comparison and len(comparison.pairs) <= PAIRS else (),
        tests=len(comparison.pairs) if comparison else 0,
        batch=BATCH,
        turns=TURNS,
        repeated=[axis for axis in REPEATED if axis in grid.axes],
        reports=reports,
    )


def sentences(found: Findings) -> list[str]:
    """What can and what cannot be said at this test size, in words."""
    comparison = found.comparison
    if comparison is None:
        return []
    best, *others = found.models
    apart = sum(pair.p_macro_f1_adjusted <= 0.05 for pair in comparison.pairs)
    tied = [model.name for model in others if set(model.ties.split()) & set(best.ties.split())]
    listed = " and ".join([", ".join(tied[:-1]), tied[-1]] if len(tied) > 1 else tied)
    return [
        f"Of {counted(len(comparison.pairs), 'pair')} of models {apart} can be distinguished by macro-F1 here "
        "(5 % family-wise, after Holm).",
        f"The best, {best.name}, is " + (f"not distinguished from {listed}." if tied else "better than every other."),
        _needed(comparison),
    ]


def _needed(comparison: Comparison) -> str:
    """How many test photos would do, in words."""
    counts = sorted(pair.photos_needed for pair in comparison.pairs)
    between = f" ({counts[0]:,} to {counts[-1]:,}, by pair)" if len(counts) > 1 else ""
    return (
        f"A true difference of {POINTS * 100:.0f} points in top-1 would be found in 80 % of cases with about "
        f"{comparison.photos_needed:,} test photos{between}, for one pair alone; there are {comparison.photos:,}."
    )
