"""The data commands as a user runs them: real processes, results on stdout, the rest on stderr."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import forked
from curated import photo, save
from whichland import manifest
from whichland.cli.main import main
from whichland.cli.output import print_table
from whichland.curate import measure as measuring
from whichland.curate.prepare import is_unfinished
from whichland.manifest import Manifest
from whichland.printed import program
from whichland.progress import Progress, track

KAGGLE = Path(__file__).parents[2] / "shared/data/compressed_dataset"


def run(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = forked.run(["-m", "whichland", "data", *words])
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    for country, first in (("France", 0), ("Namibia", 20), ("Japan", 40)):
        for seed in range(first, first + 14):
            save(photo(seed, size=(160, 120)), folder / country / f"{seed}.jpg")
    save(photo(0, size=(160, 120)), folder / "France" / "twice.jpg")
    (folder / "Japan" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    return folder


def test_step_by_step_equals_prepare(photos: Path, tmp_path: Path) -> None:
    table, whole = tmp_path / "steps.parquet", tmp_path / "whole.parquet"
    assert run("ingest", photos, "-o", table).stdout == ""
    said = run("measure", table, "-o", table, "-j", 1).stderr
    assert "measure: 44 rows, 1 unreadable" in said
    said = run("clean", table, "-o", table).stderr
    assert said.startswith("clean: 44 rows, 42 kept, ")
    counts, why = said.strip().splitlines()
    assert set(counts.split(", ")[2:]) == {"1 duplicate", "1 unreadable"}
    assert why.startswith("1 cannot be read: ")
    assert "broken.jpg" in why
    assert "42 groups: train" in run("split", table, "--seed", 3, "-o", table).stderr
    run("balance", table, "--cap", 5, "--seed", 3, "-o", table)
    run("prepare", photos, "-o", whole, "--seed", 3, "--cap", 5, "-j", 1)
    steps, prepared = manifest.read(table), manifest.read(whole)
    assert steps.frame.equals(prepared.frame)
    assert [line.step for line in steps.history] == ["ingest", "measure", "clean", "split", "balance"]
    assert [line.params for line in steps.history[1:]] == [line.params for line in prepared.history[1:]]
    assert "NA" in set(steps.kept["country"])
    assert run("check", whole, "--files").stdout == "ok: 44 rows, 10 checks\n"


def test_stats_and_check_speak_to_people_and_programs(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "world.parquet"
    prepared = run("prepare", photos, "-o", table, "--json")
    assert "\n1 cannot be read: " in prepared.stderr
    assert f"{photos / 'Japan' / 'broken.jpg'})\n" in prepared.stderr
    assert prepared.stderr.endswith(f"\n{table}: 3 countries; next: {program()} train {table} --out runs/mine\n")
    summary = json.loads(prepared.stdout)
    assert (summary["rows"], summary["kept"]) == (44, 42)
    assert summary["dropped"] == {"duplicate": 1, "unreadable": 1}
    said = run("stats", table, "--chart", tmp_path / "chart.png")
    assert "NA       Namibia    14" in said.stdout
    assert (tmp_path / "chart.png").stat().st_size > 5000
    assert json.loads(run("stats", table, "--json").stdout)["by_country"][0]["kept"] == 14
    (photos / "Japan" / "40.jpg").rename(photos / "Japan" / "moved.jpg")
    try:
        found = run("check", table, "--files", code=2)
        assert found.stdout.startswith("files: ")
        assert found.stderr.splitlines()[-1] == f"whichland: {table}: 1 problem found"
        told = json.loads(run("check", table, "--files", "--json", code=2).stdout)
        assert len(told["problems"]) == 1
    finally:
        (photos / "Japan" / "moved.jpg").rename(photos / "Japan" / "40.jpg")


def test_mistakes_are_one_line(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "a.parquet"
    assert "no such manifest" in run("clean", table, "-o", table, code=2).stderr
    made = f"`whichland data prepare {photos} -o {photos.name}.parquet`"
    assert made in run("clean", photos, "-o", table, code=2).stderr
    run("ingest", photos, "-o", table)
    said = run("split", table, "-o", table, code=2).stderr
    assert said.splitlines() == [
        "whichland: the manifest has no column drop_reason, phash: run `whichland data clean` first"
    ]
    assert "shares" in run("split", table, "-o", table, "--val", 0.9, "--test", 0.2, code=2).stderr
    run("clean", table, code=2)  # without -o
    save(photo(1, size=(160, 120)), tmp_path / "mixed" / "1.jpg")
    said = run("prepare", tmp_path / "mixed", "-o", tmp_path / "b.parquet", code=2).stderr
    assert "no photo has a country; put them in folders by country (" in said
    assert "or give a table with a column `country`, or `lat` and `lon`" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "b.parquet").exists()
    run("stats", table, "-o", "x", code=2)


def test_prepare_goes_on_where_it_was_stopped(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table, whole = tmp_path / "world.parquet", measuring.measure_batch
    words = ["whichland", "data", "prepare", str(photos), "-o", str(table), "-j", "1"]

    def stop_in_japan(uris: list[str]) -> list[measuring.Measures]:
        if any("Japan" in uri for uri in uris):
            raise KeyboardInterrupt
        return whole(uris)

    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(measuring, "BATCH", 4)
    monkeypatch.setattr(measuring, "measure_batch", stop_in_japan)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 130
    assert f"`whichland data measure {table} -o {table}` resumes" in capsys.readouterr().err
    done = 44 - manifest.read(table).frame["sha256"].null_count()
    assert 0 < done < 44
    there = manifest.read(table)
    assert is_unfinished(there, {"ingest": {"origin": str(photos), "exif": True, "keys": None}})
    for other in ({"exif": False}, {"keys": "k.csv"}, {"source": "mine"}, {"skip_unknown": True}):
        assert not is_unfinished(there, {"ingest": {"origin": str(photos), **other}})
    monkeypatch.setattr(measuring, "measure_batch", whole)
    with pytest.raises(SystemExit) as finished:
        main()
    assert finished.value.code == 0
    lines = [(line.step, line.params.get("measured")) for line in manifest.read(table).history]
    assert lines[:4] == [("ingest", None), ("measure", done), ("measure", 44 - done), ("clean", None)]


def test_features_tie_photos_and_any_column_is_balanced(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["whichland", "data", *map(str, words)])
        with pytest.raises(SystemExit):
            main()
        return capsys.readouterr().err

    table, vectors, chart = tmp_path / "world.parquet", tmp_path / "features.npy", tmp_path / "tones.svg"
    run("prepare", photos, "-o", table, "-j", 1)
    made = manifest.read(table)
    rows = made.frame["drop_reason"].is_null().arg_true()
    features = np.eye(len(made), dtype=np.float32)
    features[rows[1]] = features[rows[0]]
    np.save(vectors, features)
    asked = ("--near-duplicate-cosine", 0.99)
    assert "41 groups: train" in run("split", table, "-o", table, *asked, "--features", vectors)
    split = manifest.read(table)
    assert split.history[-1].params["certificate"]["rules"]["near_duplicate_cosine"] == 0.99
    assert "--features are for --near-duplicate-cosine" in run("split", table, "-o", table, "--features", vectors)
    assert "give the photos' features" in run("prepare", photos, "-o", tmp_path / "new.parquet", *asked)
    light = pl.when(pl.col("brightness") > 0.5).then(pl.lit("light")).otherwise(pl.lit("dark"))
    manifest.write(Manifest(split.frame.with_columns(tone=light), split.history), table)
    said = run("balance", table, "-o", table, "--label", "tone", "--cap", 3, "--chart", chart)
    assert "of train not used" in said
    used = manifest.read(table).frame.filter(pl.col("weight") > 0)
    assert dict(used["tone"].value_counts().iter_rows()) == {"light": 3, "dark": 3}
    assert "values of tone" in chart.read_text()
    assert "no column soil" in run("balance", table, "-o", table, "--label", "soil")


def test_tables_are_aligned_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("By x", ["name", "largest_group", "share"], [("a", 1200, 0.5), ("long one", None, 0.25)])
    assert capsys.readouterr().out.splitlines() == [
        "",
        "By x",
        "name      largest group  share",
        "a                 1,200  50.0%",
        "long one              –  25.0%",
    ]


def test_progress_says_lines_on_stderr_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whichland.progress.LINE_EVERY_S", 0.0)
    assert list(track([1, 2], description="counting")) == [1, 2]
    with Progress("silent", 3, show=False) as silent:
        silent.advance(3)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("counting: 1 of 2 photos (50%)")
    assert "silent" not in said.err
    with Progress("slow", 3, unit="steps") as slow:
        slow._start -= 40
        slow.advance(2)
    assert "slow: 2 of 3 steps (67%), 20 s each, 0:20 left" in capsys.readouterr().err


@pytest.mark.skipif(not KAGGLE.is_dir(), reason=f"needs the street photos in {KAGGLE}, which are not here")
def test_real_street_photos_pass_the_cleaning(tmp_path: Path) -> None:
    for country in ("Turkey", "Portugal"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / country).symlink_to(KAGGLE / country)
    summary = json.loads(run("prepare", tmp_path / "photos", "-o", tmp_path / "t.parquet", "--json").stdout)
    assert (summary["rows"], summary["kept"]) == (71, 71)


def test_prepare_continues_a_table_whose_folder_has_grown(tmp_path: Path) -> None:
    """No photo changes its split, only what is new or changed is measured, and what is gone is left out."""
    folder, table = tmp_path / "photos", tmp_path / "table.parquet"

    def name(number: int) -> str:  # one that says nothing of a sequence
        return hashlib.sha256(b"%d" % number).hexdigest()[:12] + "x.jpg"

    for number in range(120):
        country = ("France", "Japan", "Namibia", "Norway")[number % 4]
        save(photo(number, size=(64, 64)), folder / country / name(number))
    run("prepare", folder, "-o", table, "-j", 1, "--seed", 2)
    before = manifest.read(table)
    for number in range(120, 170):
        save(photo(number, size=(64, 64)), folder / ("France", "Chile")[number % 2] / name(number))
    changed, gone = folder / "France" / name(0), folder / "Norway" / name(3)
    save(photo(999, size=(64, 64)), changed)
    gone.unlink()
    said = run("prepare", folder, "-o", table, "-j", 1, "--seed", 2).stderr
    assert "continued: photos in the table 119, new 50, gone 1" in said
    after = manifest.read(table)
    assert after.last("measure")["measured"] == 51
    both = before.frame.join(after.frame, on="image_id", suffix="_after")
    assert both.height == 119
    assert (both["split"] == both["split_after"]).all()
    assert (both["group"] == both["group_after"]).all()
    assert both.filter(pl.col("sha256") != pl.col("sha256_after"))["uri"].to_list() == [str(changed)]
    assert after.frame["split"].null_count() == 0
    assert run("check", table, "--files").returncode == 0
    run("prepare", folder, "-o", table, "-j", 1, "--seed", 2)
    again = manifest.read(table)
    assert again.frame.equals(after.frame)
    assert again.last("measure")["measured"] == 0
    once = table.stat().st_size
    run("prepare", folder, "-o", table, "-j", 1, "--seed", 2)
    assert table.stat().st_size < once + 1000  # histories are not nested without end
