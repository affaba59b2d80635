"""`whichland quickstart`: from folders of photos to a bundle that answers without torch, and the line to serve it."""

from pathlib import Path

import pytest

import forked
from curated import photo, save
from whichland.model.model import load
from whichland.progress import Passes, Progress, whole

TINY = ("--arch", "test_resnet", "--weights", "none", "--size", 64, "--epochs", 1)


def test_one_command_goes_the_whole_way_and_again_changes_nothing(tmp_path: Path) -> None:
    for at in range(75):
        save(photo(at, size=(96, 72)), tmp_path / "photos" / ("Japan", "Namibia", "France")[at % 3] / f"{at}.jpg")
    words = ["-m", "whichland", "quickstart", tmp_path / "photos", "--out", tmp_path / "q", *TINY]
    done = forked.run(words)
    assert done.returncode == 0, done.stderr
    steps = [line for line in done.stderr.splitlines() if line[1:4] == "/4 "]
    assert [step[0] for step in steps] == ["1", "2", "3", "4"]
    bundle, table = tmp_path / "q" / "run" / "bundle", tmp_path / "q" / "photos.parquet"
    assert done.stdout.splitlines()[-1].endswith(f"whichland serve {bundle} --play {table}")
    assert "macro-F1" in done.stdout
    assert load(bundle).engine == "onnx"
    assert load(bundle).predict(tmp_path / "photos" / "Japan" / "0.jpg").country in {"JP", "NA", "FR"}
    before = {path: path.stat().st_mtime_ns for path in bundle.iterdir()}
    again = forked.run(words)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert {path: path.stat().st_mtime_ns for path in bundle.iterdir()} == before


def test_one_bar_shows_all_parts_and_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("whichland.progress.LINE_EVERY_S", 0.0)
    with whole({"reading": Passes(1, 10), "epoch": Passes(2, 45)}) as bar:
        with Progress("reading", 4, unit="files") as reading:
            reading.advance(4)
        with Progress("not foreseen", 4) as other:
            other.advance(4)
        bar.foresee({"epoch": Passes(2, 20)})  # 10 of 50 are done
        for epoch in (1, 2):
            with Progress(f"epoch {epoch}/2", 2) as steps:
                steps.advance()
                steps.advance()
    lines = capsys.readouterr().err.splitlines()
    told = [line.partition(", about ")[0] for line in lines]
    assert told == [
        "reading, 10% of all",
        "epoch 1/2, 20% of all",
        "epoch 1/2, 40% of all",
        "epoch 1/2, 60% of all",
        "epoch 2/2, 60% of all",
        "epoch 2/2, 80% of all",
        "epoch 2/2, 100% of all",
    ]
