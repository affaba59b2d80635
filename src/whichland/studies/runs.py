"""Run the cells of a study, each in a process of its own, here or on a Ray cluster; one that fails stops no other.

The folder of a cell is a run folder like any other, with cell.json (what to do), result.json (what came of it) or
failed.txt (why nothing did), and output.txt (all that it printed).
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import asdict
from itertools import pairwise
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from signal import SIGINT, SIGTERM, getsignal, signal
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from whichland.allocator import keep_freed_memory
from whichland.config import build
from whichland.errors import UserError
from whichland.manifest import read
from whichland.printed import counted
from whichland.statistics import interval
from whichland.training.config import TrainConfig
from whichland.whole_file import whole_file
from whichland.workers import cores, fresh, map_on_ray, without_main

if TYPE_CHECKING:
    from whichland.studies.grid import Cell

Say = Callable[[str], None]
TASK, RESULT, FAILED, OUTPUT = "cell.json", "result.json", "failed.txt", "output.txt"
STOPPED = 130  # exit code of a cell that was asked to stop and has written its checkpoint
DIED = "its process died and died again"
PRELOAD = [__name__, "whichland.training.run", "whichland.evaluation.evaluate", "whichland.evaluation.page"]
starting = Lock()


def state(folder: Path, result: Mapping[str, Any] | None) -> str:
    """How far a cell is: done, failed (will be tried again), begun or new."""
    if result:
        return "done"
    if (folder / FAILED).exists():
        return "failed"
    return "begun" if (folder / "config.toml").exists() else "new"


def result_of(folder: Path, split: str) -> dict[str, Any] | None:
    """What came of a cell on this split; None when it has not been judged on it."""
    found: dict[str, Any] = _read(folder / RESULT) if (folder / RESULT).is_file() else {}
    return found if found.get("split") == split else None


def run_cells(
    cells: Sequence["Cell"],
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
    folders = {cell.name: (out / "runs" / cell.name).resolve() for cell in cells}
    waiting = [cell for cell in cells if not result_of(folders[cell.name], split)]
    for cell in waiting:
        config = asdict(cell.config)  # with whole paths: it may run elsewhere than in this folder
        for name in ("weights", "cache"):
            if config[name] not in ("hub", "none", None):
                config[name] = str(Path(config[name]).resolve())
        task = {"key": cell.key, "config": config, "manifest": str(manifest.resolve()), "split": split}
        folders[cell.name].mkdir(parents=True, exist_ok=True)
        _write(folders[cell.name] / TASK, task)
    if len(waiting) < len(cells):
        say(f"done already: {len(cells) - len(waiting)} of {counted(len(cells), 'cell')}")
    places = [str(folders[cell.name]) for cell in waiting]
    failed = {}
    with closing(_on_ray(places, ray) if ray else _here(places, jobs)) as results:
        for done, (at, reason) in enumerate(results, 1):
            cell = waiting[at]
            said = f"{done}/{len(waiting)}  {cell.said}: "
            if reason:
                failed[cell.name] = reason
                say(f"{said}failed: {reason}")
                continue
            result = result_of(folders[cell.name], split)
            assert result is not None  # the cell ended well
            score = result["scores"]["macro_f1"]["value"]
            say(f"{said}macro-F1 {score:.3f}, {result['seconds'] or 0:.0f} s")
    return failed


def check_jobs(jobs: int, ray: str | None) -> None:
    """Raise UserError for a number of jobs that means nothing."""
    if jobs < 1:
        raise UserError(f"--jobs {jobs}: give 1 or more")
    if ray and jobs > 1:
        raise UserError("--jobs is for this machine; on Ray the cluster decides: give one of the two")


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


def _on_ray(folders: Sequence[str], address: str) -> Generator[tuple[int, str | None], None, None]:
    """The same on a cluster, whose machines see the folders and photos under the same paths."""
    for at, reason in enumerate(map_on_ray(_reason, folders, address=address, retries=1, gpu=True)):
        yield at, DIED if reason is None else reason or None


def _reason(folder: str) -> str:
    return launch(folder) or ""


def launch(folder: str, *, threads: int | None = None, running: list[BaseProcess] | None = None) -> str | None:
    """Run one cell in a process of its own; return why it failed, None when it did not."""
    running = [] if running is None else running
    context: Any = fresh(*PRELOAD)  # each cell then starts without importing torch anew
    process = context.Process(target=run_alone, args=(folder, threads))
    with starting, without_main():
        process.start()
    running.append(process)
    wait([process.sentinel])
    with starting:  # a start asks after all processes, and only one may read how this one ended
        process.join()
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


def run_alone(folder: str, threads: int | None = None) -> None:
    """Be the process of one cell: what it says goes to its folder, and so does, in one line, why it failed."""
    import torch  # which those who start the processes do without

    from whichland.training.process import Interrupted

    place = Path(folder)
    with (place / OUTPUT).open("ab") as output:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(output.fileno(), stream.fileno())
    (place / FAILED).unlink(missing_ok=True)
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    try:
        _train_and_judge(place)
    except (Interrupted, KeyboardInterrupt):
        sys.exit(STOPPED)
    except Exception as error:
        reason = " ".join(str(error).split()) or "no more is known"
        if not isinstance(error, UserError):
            traceback.print_exc()
            reason = f"{type(error).__name__}: {reason}"[:300]
        (place / FAILED).write_text(reason + "\n", encoding="utf-8")
        sys.exit(1)


def _train_and_judge(folder: Path) -> None:
    """Train what is not trained yet, judge it, and write the result."""
    from whichland.evaluation.evaluate import evaluate
    from whichland.training.run import train

    task = _read(folder / TASK)
    config = build(TrainConfig, task["config"], str(folder / TASK))
    table = read(task["manifest"])
    bundle = folder / "bundle"
    if not bundle.is_dir():
        train(table, config, folder, resume=(folder / "config.toml").exists())
    report = evaluate(bundle, table, task["split"])
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    info = report.bundle.info
    result = {
        "split": task["split"],
        "scores": {name: asdict(score) for name, score in report.scores.items()},
        "validation": _read(bundle / "metrics.json")["validation"],
        "test_photos": len(report.outcomes.truth),
        "test_groups": int(report.predictions.groups.max()) + 1,
        "report": report.folder.name,
        "countries": len(report.bundle.labels),
        "train_photos": info.photos,
        "parameters": sum(p.numel() for p in report.bundle.model.parameters()),
        "train_photos_s": rate(lines, min(config.batch_size, info.photos or 0)),
        "seconds": next((line["seconds"] for line in reversed(lines) if "seconds" in line), None),
        "version": info.version,
        "packages": info.packages,
    }
    _write(folder / RESULT, result)


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _write(file: Path, entries: Mapping[str, Any]) -> None:
    with whole_file(file) as partial:
        partial.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def rate(lines: Sequence[Mapping[str, Any]], batch: int) -> dict[str, float] | None:
    """Photos a second of the median training step, with the interval of that median over steps.

    Only steps that follow a step: neither validation nor what comes before an epoch's first step counts. None
    where there are too few.
    """
    steps = [b["seconds"] - a["seconds"] for a, b in pairwise(lines) if a["kind"] == b["kind"] == "step"]
    if len(steps) < 3:
        return None
    taken = np.maximum(np.array(steps), 1e-9)
    random = np.random.default_rng(0)
    medians = np.median(random.choice(taken, (400, len(taken))), axis=1)[:, None]
    low, high = (float(bound[0]) for bound in interval(medians))
    return {"value": batch / float(np.median(taken)), "low": batch / high, "high": batch / low}
