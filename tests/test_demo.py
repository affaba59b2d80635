"""The demo, small: it goes the whole way, resumes, and leaves the report and the heat maps where it says."""

from dataclasses import replace
from pathlib import Path

from whichland.studies.demo import SETTINGS, run

SMALL = replace(SETTINGS, arch="test_resnet", epochs=1, size=64, test_size=64, prior="trained")


def test_the_demo_goes_the_whole_way_and_reuses_what_is_there(tmp_path: Path) -> None:
    said: list[str] = []
    made = run(tmp_path, scenes=240, seed=1, config=SMALL, say=said.append)
    assert len(said) == 5
    assert made.report.html.stat().st_size > 20_000
    assert all(path.stat().st_size > 10_000 for path in made.overlays)
    assert 0 <= made.report.scores["top1"].low <= made.report.scores["top1"].value
    everything, *single = made.clues
    assert everything.clue == "any"
    assert {share.clue for share in single} >= {"centre_line", "vegetation", "roof"}
    assert 0 < everything.area < 1
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "bundle").iterdir()}
    again = run(tmp_path, scenes=240, seed=1, config=SMALL, say=said.append)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "bundle").iterdir()} == before
    assert again.report.scores == made.report.scores
    assert again.report.evaluations == 1
