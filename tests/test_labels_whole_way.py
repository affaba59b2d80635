"""Labels that are no countries go the whole way: trained, judged, answered, added up to countries, served."""

import subprocess
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import whichland as wl
from forked import run
from whichland.cli.evaluation import _report
from whichland.errors import UserError
from whichland.evaluation.evaluate import evaluate
from whichland.evaluation.report import Report
from whichland.manifest import Manifest
from whichland.serving.app import create_app
from whichland.serving.service import open_service
from whichland.training.config import TrainConfig
from whichland.training.run import train

SOILS = {
    ("FR", "red"): (200, 60, 60),
    ("FR", "grey"): (110, 110, 110),
    ("JP", "red"): (230, 120, 60),
    ("JP", "black"): (30, 30, 30),
}
REAL = Path(__file__).parents[2] / "shared" / "data" / "compressed_dataset"
CODES = {"France": "FR", "Germany": "DE", "Japan": "JP", "Thailand": "TH"}
PLACES = {"FR": (48.8, 2.3), "JP": (36.0, 138.0)}
CONFIG = TrainConfig(label="soil", arch="test_resnet", weights="none", size=64, epochs=1, batch_size=8, workers=1)


def world(folder: Path, photos: int = 48) -> Manifest:
    """Photos of four soils in two countries; a drive sees them all."""
    random, rows = np.random.default_rng(0), []
    for at in range(photos):
        (country, soil), colour = list(SOILS.items())[at % 4]
        path = folder / f"{at:02}.jpg"
        pixels = np.array(colour) + random.integers(-30, 30, (64, 64, 3))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
        lat, lon = PLACES[country]
        rows.append({"image_id": f"t/{at:02}", "uri": str(path), "source": "t", "country": country})
        rows[-1] |= {"soil": f"{country} {soil}", "lat": lat + at / 100, "lon": lon + at / 100, "group": f"g{at // 4}"}
        rows[-1]["split"] = ("train", "train", "val", "test")[at // 4 % 4]
    return Manifest(pl.DataFrame(rows))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return world(tmp_path_factory.mktemp("soils"))


@pytest.fixture(scope="module")
def report(table: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return evaluate(train(table, CONFIG, tmp_path_factory.mktemp("out") / "run").bundle, table)


def test_the_report_has_scores_at_every_level(report: Report) -> None:
    space = report.bundle.space
    assert (space.kind, space.codes) == ("soil", ("FR grey", "FR red", "JP black", "JP red"))
    assert space.levels == ("soil", "country", "region", "continent")
    found, truth = report.predictions, report.predictions.at("country").frame["country"]
    of_france_N = found.probabilities[:, :2].sum(axis=1)
    right = np.where(of_france_N >= 0.5, "FR", "JP") == truth.to_numpy()
    assert report.levels["country"]["top1"].value == pytest.approx(right.mean())
    for score in report.levels["continent"].values():
        assert (score.groups, score.within()) == (3, "no interval: 3 groups only")
    text = report.html.read_text()
    assert "Added up" in text
    assert "Label by label" in text


def test_the_report_says_how_often_what_is_certain_is_right(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photo by photo the levels that the answers of predict name."""
    certainty = int(np.median(100 * report.predictions.at("country").probabilities.max(axis=1)))
    monkeypatch.setattr("whichland.evaluation.report.CERTAINTY", certainty)
    space, frame = report.bundle.space, report.predictions.frame
    named, right = Counter[str](), Counter[str]()
    for answer, soil in zip(wl.load(report.bundle.folder).predict(frame["uri"].to_list()), frame["soil"], strict=True):
        if certain := answer.certain(certainty / 100):
            named[certain.level] += 1
            right[certain.level] += certain.code == space.named(soil, certain.level)
    assert named
    fresh = replace(report)  # nothing that was worked out at the usual certainty
    for level, (share, score) in fresh.certain.items():
        assert share.value * frame.height == pytest.approx(named[level])
        assert (score is None) == (named[level] == 0)
        assert score is None or score.value * named[level] == pytest.approx(right[level])


def test_the_command_line_calls_labels_what_they_are(report: Report) -> None:
    said = "\n".join(_report(report))
    assert f"largest {report.predictions.space.kind}" in said
    assert "countr" not in said


def test_models_of_such_labels_are_compared_and_of_others_are_not(
    report: Report, table: Manifest, tmp_path: Path
) -> None:
    other = train(table, replace(CONFIG, seed=1), tmp_path / "other").bundle
    without = Manifest(table.frame.drop("country"))
    found = wl.compare([report.bundle.folder, other], without)
    assert {model.name for model in found.models} == {"run", "other"}
    assert {model.labels for model in found.models} == {4}
    assert (found.photos, found.groups, found.left_out) == (12, 3, 0)
    assert found.pairs[0].top1.within("+.1f", 100) == "no interval: 3 groups only"
    countries = train(table, replace(CONFIG, label="country"), tmp_path / "countries").bundle
    with pytest.raises(UserError, match="distinguish different labels, country and soil"):
        wl.compare([other, countries], table)


def test_every_source_is_put_to_every_other_on_such_labels(table: Manifest, tmp_path: Path) -> None:
    source = pl.when(pl.col("group").str.slice(1).cast(pl.Int64) < 4).then(pl.lit("a")).otherwise(pl.lit("b"))
    frame = table.frame.drop("country").with_columns(source=source)
    found = wl.cross_source(Manifest(frame), CONFIG, tmp_path / "out")
    assert {(cell.trained_on, cell.tested_on) for cell in found.cells} == set(product("ab", "ab"))
    assert {cell.countries for cell in found.cells} == {("FR grey", "FR red", "JP black", "JP red")}
    assert found.worst is not None
    assert (tmp_path / "out" / "cross_source.png").is_file()


def test_answers_add_up_to_countries_and_have_pins_among_the_photos(report: Report, table: Manifest) -> None:
    answer = wl.load(report.bundle.folder).predict(table.frame["uri"][0])
    france = next(guess for guess in answer.at("country") if guess.code == "FR")
    assert france.name == "France"
    assert france.probability == pytest.approx(float(answer.probabilities[:2].sum()), abs=1e-6)
    assert answer.country == answer.at("country")[0].code
    assert answer.pin is not None
    assert min(abs(answer.pin.lat - lat) for lat, _ in PLACES.values()) < 1
    with pytest.raises(UserError, match="do not add up to 'state'"):
        answer.at("state")


def test_the_service_answers_with_them(report: Report, table: Manifest) -> None:
    service = open_service(report.bundle.folder)
    with TestClient(create_app(service)) as client:
        info = client.get("/api/info").json()
        assert (info["kind"], len(info["labels"])) == ("soil", 4)
        sent = {"files": ("a.jpg", Path(table.frame["uri"][0]).read_bytes())}
        found = client.post("/api/predict", files=sent).json()["results"][0]
        assert set(found["levels"]) == {"country", "region", "continent"}
        assert sum(found["levels"]["country"].values()) == pytest.approx(1, abs=1e-5)
        pinned = client.post("/api/play/3/1/guess", json={"lat": 50.0, "lon": 10.0})
        assert pinned.status_code == 200, pinned.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label": "country", "column": "soil"}, "is no country"),
        ({"label": "soil", "column": "one"}, "at least two labels"),
        ({"label": "soil", "column": "each"}, "one training photo alone"),
        ({"label": "soil", "column": "case"}, "have one name"),
        ({"label": "lat"}, "no column of text"),
        ({"label": "group"}, "no column of text"),
        ({"label": "state"}, "no column state"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused_before_any_work(
    table: Manifest, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    columns = {
        "soil": pl.col("soil"),
        "one": pl.lit("red"),
        "each": pl.col("image_id"),
        "case": pl.when(pl.col("country") == "FR").then(pl.lit("Red")).otherwise(pl.lit("red ")),
    }
    label = changes["label"]
    frame = table.frame.with_columns(columns[changes["column"]].alias(label)) if "column" in changes else table.frame
    config = TrainConfig(label=label, arch="test_resnet", weights="none", size=64, epochs=1)
    with pytest.raises(UserError, match=said):
        train(Manifest(frame), config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is not there")
def test_continents_of_real_photos_go_the_whole_way(tmp_path: Path) -> None:
    """A label of several countries lies in none: no level above it, no pins, and a report all the same."""
    continents = {"France": "Europe", "Germany": "Europe", "Japan": "Asia", "Thailand": "Asia"}
    rows = []
    for country, continent in continents.items():
        for at, path in enumerate(sorted((REAL / country).glob("*.jpg"))[:12]):
            split = ("train", "train", "val", "test")[at % 4]
            row = {"image_id": f"{country}/{at}", "uri": str(path), "source": "s", "group": f"{country}/{at}"}
            rows.append(row | {"country": CODES[country], "continent": continent, "split": split})
    config = replace(CONFIG, label="continent")
    report = evaluate(
        train(Manifest(pl.DataFrame(rows)), config, tmp_path / "run").bundle, Manifest(pl.DataFrame(rows))
    )
    assert report.bundle.space.codes == ("Asia", "Europe")
    assert report.bundle.space.levels == ("continent",)
    answer = wl.load(tmp_path / "run" / "bundle").predict(rows[0]["uri"])
    assert answer.label in ("Asia", "Europe")
    assert (answer.country, answer.pin) == (None, None)


def test_a_further_column_of_a_csv_is_learned_from_the_command_line(tmp_path: Path) -> None:
    rows = world(tmp_path).frame.with_columns(pl.col("uri").str.split("/").list.last().alias("file"))
    rows = rows.with_columns(
        pl.lit("mine").alias("weight"), pl.when(pl.col("group") == "g0").then(pl.lit("N/A")).alias("note")
    )
    rows.select("file", "country", "soil", "note", "weight").write_csv(tmp_path / "photos.csv")

    def whichland(*words: object) -> subprocess.CompletedProcess[str]:
        done = run(["-m", "whichland", *words])
        assert done.returncode == 0, done.stderr
        return done

    table, out = tmp_path / "photos.parquet", tmp_path / "run"
    said = whichland("data", "prepare", tmp_path / "photos.csv", "-j", 1, "-o", table).stderr
    assert "country from 'country'; kept as text: 'soil', 'note'; not kept" in said
    assert "'weight'" in said
    kept = wl.read(table).frame
    assert kept["soil"].to_list() == rows["soil"].to_list()
    assert kept["note"].null_count() == kept.height
    small = ("--arch", "test_resnet", "--weights", "none", "--epochs", 1, "--size", 64, "--workers", 1)
    whichland("train", table, "--label", "soil", *small, "--out", out)
    assert list(wl.load(out / "bundle").labels) == ["FR grey", "FR red", "JP black", "JP red"]
    assert "FR" in whichland("predict", out / "bundle", rows["uri"][0]).stdout
