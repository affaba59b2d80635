"""whichland train | lr-find | cross-source | study"""

from pathlib import Path
from signal import SIG_IGN, SIGTERM, default_int_handler, signal
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from whichland.cli.flags import flags
from whichland.cli.output import Json, Split, SplitManifest, give, print_json, print_table, say
from whichland.errors import UserError
from whichland.printed import counted
from whichland.training.config import TrainConfig

if TYPE_CHECKING:
    from whichland.evaluation.cross_source_matrix import CrossSource
    from whichland.manifest import Manifest
    from whichland.studies.findings import Findings

TODAY = "convnext_small.dinov3_lvd1689m"  # what the recipe `gpu` takes


@flags(TrainConfig, recipe=True)
def train(
    manifest: SplitManifest,
    config: TrainConfig,
    out: Annotated[Path, Option(help="Run folder to make; must not hold another run.")],
    resume: Annotated[bool, Option("--resume", help="Resume the interrupted run in --out.")] = False,
) -> None:
    """Train a model on a manifest; out comes a bundle."""
    table: Manifest | Path = manifest
    from whichland.training.run_folder import check_folder, first_process

    if first_process():  # of several one says it
        from whichland.manifest import read

        check_folder(out, config, resume=resume)
        table = read(manifest)
    from accelerate import PartialState

    from whichland.training.process import Interrupted, ProcessLost, first_to_say
    from whichland.training.run import train as run

    def end(code: int, why: str) -> Exit:
        """Say why, in one of the job's processes."""
        signal(SIGTERM, SIG_IGN)  # torchrun stops the others while they say it
        if first_to_say():
            saved = (out / "checkpoint" / "last.pt").exists()
            where = f"checkpoint in {out}" if saved else "nothing is saved yet"
            again = " and --resume" if (out / "config.toml").exists() else ""
            say(f"{why} resume with the same command{again} ({where})")
        return Exit(code)

    if not resume and first_process():
        _name_newer(config)
    signal(SIGTERM, default_int_handler)  # before and after the steps, which have their own
    try:
        result = run(table, config, out, resume=resume)
    except (Interrupted, KeyboardInterrupt):
        raise end(130, "stopped;") from None
    except ProcessLost:
        raise end(1, "whichland: a process of this job has ended before its time;") from None
    except UserError:
        if first_to_say():
            raise
        raise Exit(2) from None
    if PartialState().is_main_process:
        print(result.bundle)


def _name_newer(config: TrainConfig) -> None:
    """Say which recipes take a model of today, where the default one would be fetched from the hub."""
    if (config.arch, config.weights) != (TrainConfig.arch, "hub"):
        return
    from whichland.model.families import at_hand

    if any(at_hand([TODAY])):
        recipes = "--recipe cpu, gpu or best takes one of today (docs/how-to/which-model.md says what is known of each)"
        say(f"{config.arch} is a small model of 2018; {recipes}")
    else:
        say(
            f"the hub does not answer, and its cache holds no model of today: fetch model.safetensors of timm/{TODAY} "
            "elsewhere and give --recipe gpu --weights FILE; going on with a small model of 2018"
        )


@flags(TrainConfig, recipe=True, every=False)
def lr_find(
    manifest: SplitManifest,
    config: TrainConfig,
    out: Annotated[Path, Option(dir_okay=False, help="The PNG to write.")] = Path("lr-find.png"),
    steps: Annotated[int, Option(min=20, help="Steps of the sweep, a batch each.")] = 100,
    lowest: Annotated[float, Option(help="The rate it begins with.")] = 1e-6,
    highest: Annotated[float, Option(help="The rate it ends with, unless it diverges before.")] = 1.0,
    json: Json = False,
) -> None:
    """Suggest a learning rate: train a copy for a few steps at rising rates and see where the loss falls.

    Give the settings of training as a recipe or a run's config.toml, and by --set. Prints the suggestion for --lr,
    or one line that says why there is none, and draws the losses. Works under torchrun as well.
    """
    from accelerate import PartialState

    from whichland.training.lr_finder import find_lr

    sweep = find_lr(manifest, config, steps=steps, lowest=lowest, highest=highest)
    if not PartialState().is_main_process:
        return
    sweep.save(out, lr_now=config.lr)
    if json:
        print_json(sweep.numbers() | {"picture": str(out)})
    elif sweep.lr is None:
        raise UserError(f"{sweep.reason}; picture: {out}")
    else:
        say(f"{sweep.reason}; picture: {out}")
        print(f"{sweep.lr:.2g}")


@flags(TrainConfig, recipe=True, every=False)
def cross_source(
    manifest: SplitManifest,
    config: TrainConfig,
    out: Annotated[Path, Option(file_okay=False, help="Folder for the runs, the matrix and its picture.")],
    json: Json = False,
) -> None:
    """Train on A and test on B for every pair of sources, and on all but one; the worst source is the headline.

    Give the settings of training as a recipe or a run's config.toml, and by --set. A pair is judged on the labels
    that both sources show. The same command resumes: a model whose bundle is there is not trained again.
    """
    from whichland.evaluation.cross_source import cross_source as run
    from whichland.evaluation.cross_source_matrix import numbers
    from whichland.training.process import Interrupted

    try:
        result = run(manifest, config, out)
    except Interrupted:
        say("stopped; the same command resumes")
        raise Exit(130) from None
    give(numbers(result), lambda: _show_sources(result, config.label), json=json, indent=None)


def _show_sources(result: "CrossSource", label: str) -> None:
    """Print a line a cell, and the headline."""
    shared = "countries" if label == "country" else "labels"
    columns = ("trained_on", "tested_on", "macro_f1", "95% interval", "top1", "at_home", shared, "photos")
    rows = []
    for cell in sorted(result.cells, key=lambda cell: (result.sources.index(cell.tested_on), cell.trained_on)):
        scores = (s.value, s.within()) if (s := cell.macro_f1) else (None, None)
        top1 = cell.top1.value if cell.top1 else None
        rows.append((cell.trained_on, cell.tested_on, *scores, top1, cell.at_home, len(cell.countries), cell.photos))
    print_table(f"Every model on every source, on the {shared} they share", columns, rows)
    for source, why in result.untrained.items():
        print(f"not trained on {source}: {why}")
    if worst := result.worst:
        print(f"worst source: {worst.tested_on}, macro-F1 {worst.macro_f1} of {worst.trained_on}, unseen")
    else:
        print(f"no two sources share a {label}")
    print(f"picture: {result.folder / 'cross_source.png'}")


def study(
    grid: Annotated[Path, Argument(metavar="GRID.toml", help="Lists of settings that are axes.")],
    manifest: SplitManifest,
    out: Annotated[Path, Option(help="Folder for runs, tables, figures and the page.")],
    split: Split = "test",
    jobs: Annotated[int, Option(help="Cells at once on this machine.")] = 1,
    ray: Annotated[
        str | None,
        Option(metavar="ADDRESS", help="Run the cells on a Ray cluster: auto, HOST:PORT or ray://HOST:PORT."),
    ] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="List the cells and run none.")] = False,
    json: Json = False,
) -> None:
    """Train and judge every cell of a grid; out come a table, figures with intervals and study.html.

    The table is study.parquet, and study.csv, which pandas reads right with keep_default_na=False: NA is Namibia.
    The same command resumes: cells that are done are not run again. A cell that fails is reported and the others
    are run; the exit code is then 1.
    """
    from whichland.studies.runs import check_jobs

    check_jobs(jobs, ray)
    if dry_run:
        _list_cells(grid, manifest, out, split, json)
        return
    from whichland.studies.study import study as run

    try:
        found, failed = run(grid, manifest, out, split=split, jobs=jobs, ray=ray, say=say)
    except KeyboardInterrupt:
        say("stopped; the same command resumes")
        raise Exit(130) from None
    give(found.table.to_dicts(), lambda: _show_study(found, out), json=json)
    if failed:
        say(f"{len(failed)} of {found.table.height} cells failed")
        raise Exit(1)


def _list_cells(grid: Path, manifest: Path, out: Path, split: str, json: bool) -> None:
    """Print every cell with its place on the axes, its folder, and whether it is done."""
    from whichland.manifest import read
    from whichland.studies.grid import read_grid
    from whichland.studies.runs import result_of, state

    planned = read_grid(grid, read(manifest))
    found = []
    for cell in planned.cells:
        folder = out / "runs" / cell.name
        found.append((cell, state(folder, result_of(folder, split))))
    title = counted(len(found), "cell") + (f", {planned.repeated} more stand twice" if planned.repeated else "")
    rows = [
        (
            *(str(v) if isinstance(v := cell.axes.get(axis), float) else v for axis in planned.axes),
            state,
            f"runs/{cell.name}",
        )
        for cell, state in found
    ]
    give(
        [{"cell": cell.name, "state": state, **cell.axes} for cell, state in found],
        lambda: print_table(title, (*planned.axes, "state", "folder"), rows),
        json=json,
    )


def _show_study(found: "Findings", out: Path) -> None:
    """Print the models, what can be said of them, and where everything lies."""
    from whichland.studies.study import sentences

    if found.models:
        rows = []
        for m in found.models:
            score, training = m.best.score, round(m.training.value) if m.training else None
            scores = score.value, score.within(".1f", 100)
            speeds = training, round(m.inference.value)
            rows.append((m.name, round(m.best.photos), *scores, m.ties, m.best.top1, *speeds))
        columns = ("model", "photos", "macro-F1", "95% interval", "tied", "top-1", "train photos/s", "infer photos/s")
        print_table("Models at their best amount of data", columns, rows)
        print("\n".join(["", *sentences(found)]))
    print(f"\npage: {out / 'study.html'}\ntable: {out / 'study.parquet'}")
