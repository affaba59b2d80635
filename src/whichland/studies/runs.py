"""Run the cells of a study, here or on a Ray cluster; one that fails is reported and the others are run."""

import json
import multiprocessing
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import asdict
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from signal import SIGINT, SIGTERM, getsignal, signal
from threading import Lock
from typing import Any

from whichland.curate.workers import cores, map_on_ray
from whichland.errors import UserError
from whichland.studies.cell import FAILED, OUTPUT, RESULT, STOPPED, TASK, run_alone
from whichland.studies.grid import Cell
from whichland.whole_file import whole_file

Say = Callable[[str], None]
DIED = "its process died and died again"
starting = Lock()
PRELOAD = ["whichland.studies.cell", "whichland.evaluation.page"]


def state(folder: Path, result: Mapping[str, Any] | None) -> str:
    """How far a cell is: done, failed (will be tried again), begun or new."""
    if result:
        return "done"
    if (folder / FAILED).exists():
        return "failed"
    return "begun" if (folder / "config.toml").exists() else "new"


def result_of(folder: Path, split: str) -> dict[str, Any] | None:
    """What came of a cell on this split; None when it has not been judged on it."""
    if not (folder / RESULT).is_file():
        return None
    found: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return found if found["split"] == split else None


def run_cells(
    cells: Sequence[Cell],
    manifest: Path,
    out: Path,
    *,
    split: str,
    jobs: int = 1,
    ray: str | None = None,
    say: Say = print,
) -> dict[str, str]:
    """Run what is not done yet under OUT/runs; return the reasons of those that failed, by name of the cell.

    With `ray` on that cluster (see `map_on_ray`), else `jobs` at once on this machine. Raises KeyboardInterrupt
    once the cells under way have written their checkpoints.
    """
    waiting = []
    for cell in cells:
        folder = out / "runs" / cell.name
        if not result_of(folder, split):
            folder.mkdir(parents=True, exist_ok=True)
            task = {"key": cell.key, "config": _anywhere(cell), "manifest": str(manifest.resolve()), "split": split}
            with whole_file(folder / TASK) as partial:
                partial.write_text(json.dumps(task, indent=2) + "\n", encoding="utf-8")
            waiting.append(cell)
    if len(waiting) < len(cells):
        say(f"{len(cells) - len(waiting)} of {len(cells)} cells are done already")
    folders = [str((out / "runs" / cell.name).resolve()) for cell in waiting]
    results = _on_ray(folders, ray) if ray else _here(folders, jobs)
    failed = {}
    with closing(results):
        for done, (at, reason) in enumerate(results, 1):
            cell = waiting[at]
            said = f"{done}/{len(waiting)}  {cell.said}: "
            if reason:
                failed[cell.name] = reason
                say(f"{said}failed: {reason}")
                continue
            result = result_of(Path(folders[at]), split)
            assert result is not None  # the cell ended well
            score = result["scores"]["macro_f1"]["value"]
            say(f"{said}macro-F1 {score:.3f}, {result['seconds'] or 0:.0f} s")
    return failed


def _anywhere(cell: Cell) -> dict[str, Any]:
    """A cell's settings with whole paths: it may run elsewhere than in this folder."""
    config = asdict(cell.config)
    if config["weights"] not in ("hub", "none"):
        config["weights"] = str(Path(config["weights"]).resolve())
    if config["cache"]:
        config["cache"] = str(Path(config["cache"]).resolve())
    return config


def _here(folders: Sequence[str], jobs: int) -> Generator[tuple[int, str | None], None, None]:
    """Yield (number, reason of failing or None) as cells end."""
    threads = max(1, cores() // jobs) if jobs > 1 else None
    running: list[BaseProcess] = []
    stopped = False

    def one(folder: str) -> str | None:
        return DIED if stopped else launch(folder, threads=threads, running=running)

    with _sigterm_as_interrupt(), ThreadPoolExecutor(jobs) as pool:
        numbers = {pool.submit(one, folder): at for at, folder in enumerate(folders)}
        try:
            for future in as_completed(numbers):
                yield numbers[future], future.result()
        except (KeyboardInterrupt, GeneratorExit):
            stopped = True
            pool.shutdown(wait=False, cancel_futures=True)
            for process in running:
                process.terminate()  # training writes its checkpoint
            raise


def launch(folder: str, *, threads: int | None = None, running: list[BaseProcess] | None = None) -> str | None:
    """Run one cell in a process of its own; return why it failed, None when it did not."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)  # each cell then starts without importing torch anew
    process = context.Process(target=run_alone, args=(folder, threads))
    with starting:
        process.start()
    if running is not None:
        running.append(process)
    wait([process.sentinel])
    with starting:  # a start asks after all processes, and only one may read how this one ended
        process.join()
    if running is not None:
        running.remove(process)
    code, failed = process.exitcode, Path(folder) / FAILED
    if code == 0:
        return None
    if code in (STOPPED, -SIGTERM, -SIGINT):
        return "it was stopped; the same command resumes it"
    if not failed.exists():  # killed from outside: it could not say why
        cause = f"its process was ended by signal {-code}" if code and code < 0 else f"it ended with {code}"
        failed.write_text(f"{cause}, see {OUTPUT}\n", encoding="utf-8")
    return failed.read_text(encoding="utf-8").strip()


def _on_ray(folders: Sequence[str], address: str) -> Generator[tuple[int, str | None], None, None]:
    """The same on a cluster, whose machines see the folders and photos under the same paths."""
    for at, reasons in enumerate(map_on_ray(_launch_one, [[f] for f in folders], address=address, retries=1, gpu=True)):
        yield at, DIED if reasons is None else reasons[0]


def _launch_one(folders: Sequence[str]) -> list[str | None]:
    return [launch(folder) for folder in folders]


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Within, SIGTERM is what Ctrl-C is, so that the cells under way are asked to stop."""

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = getsignal(SIGTERM)
    signal(SIGTERM, interrupt)
    try:
        yield
    finally:
        signal(SIGTERM, before)


def check_jobs(jobs: int, ray: str | None) -> None:
    """Raise UserError for a number of jobs that means nothing."""
    if jobs < 1:
        raise UserError(f"--jobs {jobs}: give 1 or more")
    if ray and jobs > 1:
        raise UserError("--jobs is for this machine; on Ray the cluster decides: give one of the two")
