"""`whichland evaluate` and `whichland doctor`, as a user runs them."""

import json
import platform
from pathlib import Path

import pytest

from test_report import make_manifest
from tiny_bundle import make_bundle
from whichland import manifest as manifests
from whichland.cli.commands import root


def run(*arguments: object) -> None:
    root()([*map(str, arguments)], prog_name="whichland", standalone_mode=False)


def test_it_prints_scores_with_intervals_and_writes_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = manifests.write(make_manifest(tmp_path / "photos"), tmp_path / "world.parquet")
    bundle = make_bundle(tmp_path / "run" / "bundle")
    run("evaluate", bundle, table, "--json")
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / "run" / "report" / "metrics.json").read_text())
    assert set(found["scores"]) == {"top1", "top5", "macro_f1", "balanced_accuracy"}

    run("evaluate", bundle, table, "--out", tmp_path / "elsewhere")
    out = capsys.readouterr().out
    score = found["scores"]["top1"]
    line = next(line for line in out.splitlines() if line.startswith("top-1"))
    assert line.split()[1:5] == [*(f"{score['value']:.1%}", f"{score['low']:.1%}", "to", f"{score['high']:.1%}")]
    assert "48 photos in 24 groups, split test" in out
    assert "left out: 1 photo unreadable" in out
    assert "put to this split 2 times" in out
    written = {path.name for path in (tmp_path / "elsewhere").iterdir()}
    assert written == {"confusion.csv", "confusion.svg", "metrics.json", "predictions.parquet", "report.html"}
    assert out.splitlines()[-1] == f"report: {tmp_path / 'elsewhere' / 'report.html'}"


def test_it_says_when_the_bundle_was_trained_from_another_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = manifests.write(make_manifest(tmp_path / "photos"), tmp_path / "world.parquet")
    certificate = {"seed": 0, "groups": 9, "assignment_sha256": "0" * 64}
    bundle = make_bundle(tmp_path / "run" / "bundle", split_certificate=certificate)
    run("evaluate", bundle, table)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "trained on" in line]
    assert line.startswith("this manifest has no split certificate")
    folder = bundle.parent / "report"
    assert json.loads((folder / "metrics.json").read_text())["doubt"] == line
    assert line[1:] in (folder / "report.html").read_text()


def test_the_doctor_knows_python_torch_and_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    run("doctor", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["whichland"]["python"] == platform.python_version()
    assert found["whichland"]["torch"].startswith("2.")
    assert "usable" in found["machine"]["cores"]
    assert {"threads", "bf16"} <= set(found["torch"])
    run("doctor")
    assert "  torch  " in capsys.readouterr().out
