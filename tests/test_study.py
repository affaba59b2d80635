"""whichland study from grid to page with tiny models: failures, resuming, tables, figures; and what draws them."""

import json
import os
import signal
import threading
import time
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from tinted import tinted
from whichland.charts import logarithmic, straight
from whichland.cli.commands import root
from whichland.manifest import Manifest, read, write
from whichland.statistics import Score
from whichland.studies import study as studies
from whichland.studies.figures import Spot, front, scatter_svg
from whichland.studies.findings import find
from whichland.studies.grid import read_grid
from whichland.studies.runs import FAILED, RESULT, TASK, launch, rate, result_of
from whichland.studies.study import sentences, study

GRID = """
title = "Tiny models"
[train]
weights = "none"
arch = "test_resnet"
size = 64
test_size = 64
batch_size = 4
epochs = 2
lr = 0.01
[[grid]]
photos = [2, 4, 6]
seed = [0, 1]
[[grid.model]]
name = "ResNet"
tier = "tiny"
[[grid]]
photos = [2]
[[grid.model]]
name = "Slow learner"
lr = 0.00001
epochs = 1
[[grid.model]]
name = "Broken"
arch = "no_such_model"
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tinted photos, 6 training photos a country, half of all for the test, in groups of two."""
    folder = tmp_path_factory.mktemp("photos")
    frame = read(tinted(folder, 54)).frame.with_row_index("row")
    part = pl.when(pl.col("row") % 6 < 3).then(pl.lit("test")).when(pl.col("row") % 18 < 12)
    frame = frame.with_columns(
        split=part.then(pl.lit("train")).otherwise(pl.lit("val")), group=pl.format("g{}", pl.col("row") // 2)
    )
    rank = pl.int_range(pl.len(), dtype=pl.Int64).over("country", "split")
    frame = frame.drop("row").with_columns(rank=pl.when(pl.col("split") == "train").then(rank))
    return write(Manifest(frame), folder / "m.parquet")


@pytest.fixture(scope="module")
def done(table: Path) -> tuple[Path, list[str]]:
    """A study that has been run once: its folder and what was said."""
    out, said = table.parent / "out", []
    (table.parent / "grid.toml").write_text(GRID, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studies, "TURN_S", 0.01)
        found, failed = study(table.parent / "grid.toml", table, out, jobs=2, say=said.append)
    assert len(failed) == 1
    assert [model.name for model in found.models] == ["ResNet", "Slow learner"]
    return out, said


def test_a_failed_cell_is_told_and_the_rest_go_on(done: tuple[Path, list[str]]) -> None:
    out, said = done
    rows = pl.read_parquet(out / "study.parquet")
    assert rows.height == 8
    assert rows["state"].to_list() == ["done"] * 7 + ["failed"]
    assert rows["reason"][-1].startswith("timm has no model 'no_such_model'")
    assert sum("failed: timm has no model" in line for line in said) == 1
    assert sum("macro-F1" in line for line in said) == 7


def test_the_table_is_tidy_and_holds_the_reports_numbers(done: tuple[Path, list[str]]) -> None:
    out, _ = done
    rows = pl.read_parquet(out / "study.parquet").filter(pl.col("state") == "done")
    assert {"photos", "seed", "model", "tier", "parameters", "seconds", "version", "jobs"} <= set(rows.columns)
    for row in rows.iter_rows(named=True):
        numbers = json.loads((out / row["run"] / "report" / "metrics.json").read_text(encoding="utf-8"))
        assert row["macro_f1"] == numbers["scores"]["macro_f1"]["value"]
        assert row["top1_low"] == numbers["scores"]["top1"]["low"]
        assert row["test_photos"] == numbers["photos"] == 27
        assert row["train_photos"] == 3 * row["photos"]
        assert row["inference_photos_s_low"] <= row["inference_photos_s"] <= row["inference_photos_s_high"]


def test_a_models_points_are_means_over_its_seeds(done: tuple[Path, list[str]], table: Path) -> None:
    out, _ = done
    rows = pl.read_parquet(out / "study.parquet")
    cells = read_grid(table.parent / "grid.toml", read(table)).cells
    found = find(rows, cells, out, {cell.name: result_of(out / "runs" / cell.name, "test") for cell in cells})
    resnet = next(model for model in found.models if model.name == "ResNet")
    assert [point.photos for point in resnet.points] == [2, 4, 6]
    for point in resnet.points:
        own = rows.filter((pl.col("model") == "ResNet") & (pl.col("photos") == point.wanted))
        assert len(point.cells) == 2
        assert point.score.value == pytest.approx(own["macro_f1"].mean())
        assert point.score.low <= own["macro_f1"].min() + 1e-9, "an interval over seeds holds each of two"
    assert resnet.curve is not None
    assert found.comparison is not None
    assert found.comparison.photos == 27
    assert "photos" in sentences(found)[-1]


def test_figures_and_page_stand_alone(done: tuple[Path, list[str]]) -> None:
    out, _ = done
    names = {path.stem for path in (out / "figures").glob("*.svg")}
    assert names == {"data", "best", "training", "inference", "curve-1"}
    for path in (out / "figures").glob("*.svg"):
        ElementTree.parse(path)
    page = (out / "study.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 5
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "Slow learner" in page
    assert "timm has no model" in page
    link = page.split('<a href="')[1].split('"')[0]
    assert (out / link).is_file()


def test_what_is_done_is_not_run_again(
    done: tuple[Path, list[str]], table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = done
    before = {path: path.stat().st_mtime_ns for path in out.glob(f"runs/*/{RESULT}")}
    arguments = ["study", str(table.parent / "grid.toml"), str(table), "--out", str(out)]
    code = root()(arguments, standalone_mode=False)
    assert {path: path.stat().st_mtime_ns for path in out.glob(f"runs/*/{RESULT}")} == before
    printed = capsys.readouterr()
    assert code == 1, "the broken cell was tried again"
    assert "done already: 7 of 8 cells" in printed.err
    assert "Slow learner" in printed.out
    root()([*arguments, "--dry-run", "--json"], standalone_mode=False)
    listed = json.loads(capsys.readouterr().out)
    assert [cell["state"] for cell in listed] == ["done"] * 7 + ["failed"]


def test_a_killed_cell_says_so(table: Path, tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text(GRID.replace("epochs = 2", "epochs = 2000"), encoding="utf-8")
    cell = read_grid(tmp_path / "grid.toml", read(table)).cells[0]
    running: list = []  # type: ignore[type-arg]
    folder = tmp_path / "run"
    folder.mkdir()
    task = {"key": cell.key, "config": asdict(cell.config), "manifest": str(table), "split": "test"}
    (folder / TASK).write_text(json.dumps(task), encoding="utf-8")
    reasons: list[str | None] = []
    thread = threading.Thread(target=lambda: reasons.append(launch(str(folder), running=running)))
    thread.start()
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not (running and (folder / "log.jsonl").is_file()):
        time.sleep(0.05)
    os.kill(running[0].pid, signal.SIGKILL)
    thread.join(60)
    assert reasons == ["its process was ended by signal 9, see output.txt"]
    assert (folder / FAILED).is_file()


def test_speed_is_that_of_the_median_step() -> None:
    def step(seconds: float) -> dict[str, object]:
        return {"kind": "step", "seconds": seconds}

    lines = [step(9.0), step(10.0), step(11.0), {"kind": "epoch", "seconds": 50.0}, step(90.0), step(92.0)]
    found = rate([*lines, *map(step, (93.0, 94.0, 95.0))], 8)
    assert found is not None
    assert found["value"] == pytest.approx(8.0)
    assert found["low"] <= 8.0 <= found["high"] < 9
    assert rate(lines[:2], 8) is None


def score(value: float) -> Score:
    return Score(value=value, low=value * 0.9, high=value * 1.1)


def test_the_front_is_what_nothing_beats_in_both() -> None:
    made = {"slow, best": (10, 0.9), "beaten": (9, 0.8), "equal": (10, 0.9), "fast": (50, 0.5), "middle": (20, 0.7)}
    spots = [Spot(name=name, across=score(a), up=score(u)) for name, (a, u) in made.items()]
    assert [spot.name for spot in front(spots)] == ["slow, best", "equal", "middle", "fast"]
    ElementTree.fromstring(scatter_svg("<&>", spots, across="photos a second", up="macro-F1"))


def test_axes_hold_their_values_and_have_ticks() -> None:
    for low, high in ((0.31, 0.87), (0.5, 0.5), (0.0, 1.0)):
        axis = straight(low, high, 0, 100)
        assert axis.low <= low
        assert high <= axis.high
        assert 2 <= len(axis.ticks) <= 7
    axis = logarithmic(3.0, 900.0, 0, 100)
    assert axis.at(30) == pytest.approx(axis.at(90) - axis.at(10) + axis.at(10 / 3), abs=1e-6)
    assert np.diff([axis.at(tick) for tick in axis.ticks]).min() > 0
