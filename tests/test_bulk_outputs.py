"""The forms of the answers: each holds the same, as the model gives it."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tiny_bundle import LABELS, make_bundle, make_photos
from whichland.bulk.config import PredictConfig
from whichland.bulk.inputs import find_photos
from whichland.bulk.map_page import box_around
from whichland.bulk.run import Outcome, predict_to
from whichland.geo.land import on_land
from whichland.model.calibration import fit
from whichland.model.label_points import located
from whichland.model.label_sources import countries
from whichland.model.model import load
from whichland.model.pins import pin_table, pins

ODD = 'an "odd", näme <b>.jpg'


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    kept = fit(random.normal(size=(200, len(LABELS))), random.integers(0, len(LABELS), 200), [None] * 200)
    return make_bundle(tmp_path_factory.mktemp("run") / "bundle", temperature=kept.temperature, calibration=kept)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    made = make_photos(folder, 5)
    made[0] = made[0].rename(folder / ODD)
    broken = folder / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no more")
    return [*made, broken]


@pytest.fixture(scope="module")
def probabilities(bundle: Path, photos: list[Path]) -> np.ndarray:
    return np.stack([answer.probabilities for answer in load(bundle).predict(photos[:5])])


def answer(bundle: Path, photos: list[Path], out: Path, **settings: object) -> Outcome:
    config = PredictConfig(**settings)  # type: ignore[arg-type]
    return predict_to(bundle, find_photos(map(str, photos)), out, config)


def test_the_table(bundle: Path, photos: list[Path], probabilities: np.ndarray, tmp_path: Path) -> None:
    out = tmp_path / "a.parquet"
    done = answer(bundle, photos, out, top=3, sets=90, pin=True)
    assert (done.photos, done.unreadable, done.exif) == (6, 1, None)
    table = pl.read_parquet(out)
    assert dict(table.schema) == {
        "path": pl.String,
        **{"country": pl.String, "probability": pl.Float64},
        **{"country_2": pl.String, "probability_2": pl.Float64},
        **{"country_3": pl.String, "probability_3": pl.Float64},
        "set_90": pl.List(pl.String),
        **{"pin_lat": pl.Float64, "pin_lon": pl.Float64, "pin_score": pl.Float64},
        **{"views": pl.Int64, "error": pl.String},
    }
    assert table["path"].to_list() == [str(path) for path in photos]
    best = (-probabilities).argsort(axis=1)
    for rank, ending in enumerate(("", "_2", "_3")):
        codes = [LABELS[at] for at in best[:, rank]]
        assert table[f"country{ending}"].to_list() == [*codes, None]
        sure = probabilities[np.arange(5), best[:, rank]]
        np.testing.assert_allclose(table[f"probability{ending}"][:5], sure, atol=1e-5)
    points, scores = pins(probabilities, pin_table(located(countries(LABELS)).points))
    np.testing.assert_allclose(table.select("pin_lat", "pin_lon")[:5].to_numpy(), points, atol=1e-3)
    np.testing.assert_allclose(table["pin_score"][:5], scores, atol=1)
    for row in table[:5].iter_rows(named=True):
        assert row["set_90"][0] == row["country"]
        assert set(row["set_90"]) <= set(LABELS)
    assert table[5].drop("path", "error").null_count().sum_horizontal().item() == table.width - 2
    assert "JPEG" in table["error"][5]
    assert str(photos[5]) not in table["error"][5]


def test_csv_and_json_lines_say_what_the_table_says(bundle: Path, photos: list[Path], tmp_path: Path) -> None:
    for name in ("a.parquet", "a.csv", "a.jsonl"):
        answer(bundle, photos, tmp_path / name, top=2, sets=80, pin=True)
    table = pl.read_parquet(tmp_path / "a.parquet").rows(named=True)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        cells = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text("utf-8").splitlines()]
    assert len(table) == len(cells) == len(lines) == 6
    for row, cell, line in zip(table[:5], cells, lines, strict=False):
        assert cell["path"] == line["path"] == row["path"]
        assert cell["country_2"] == line["top"][1]["country"] == row["country_2"]
        assert float(cell["probability"]) == line["probability"] == row["probability"]
        assert cell["set_80"].split() == line["set"] == row["set_80"]
        assert float(cell["pin_lon"]) == line["pin"]["lon"] == row["pin_lon"]
    assert lines[5] == {"path": str(photos[5]), "error": table[5]["error"]}
    assert cells[5]["country"] == ""


def test_geojson_has_a_point_on_land_for_every_answer(bundle: Path, photos: list[Path], tmp_path: Path) -> None:
    answer(bundle, photos, tmp_path / "a.geojson")
    found = json.loads((tmp_path / "a.geojson").read_text("utf-8"))
    assert found["type"] == "FeatureCollection"
    assert [feature["properties"]["path"] for feature in found["features"]] == [str(path) for path in photos]
    *answered, unreadable = found["features"]
    points = np.array([feature["geometry"]["coordinates"] for feature in answered])
    assert on_land(points[:, 1], points[:, 0]).all()
    assert {feature["properties"]["country"] for feature in answered} <= set(LABELS)
    assert unreadable["geometry"] is None
    assert "JPEG" in unreadable["properties"]["error"]


class _Page(HTMLParser):
    """What a page holds: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_one_file_with_every_pin_on_its_map(bundle: Path, photos: list[Path], tmp_path: Path) -> None:
    answer(bundle, photos, tmp_path / "a.html", sets=90)
    text = (tmp_path / "a.html").read_text("utf-8")
    page = _Page(text)
    assert "script" not in [tag for tag, _ in page.elements]
    assert re.findall(r"https?://|//[a-z]", re.sub(r'base64,[^"]*"', "", text)) == []
    assert ODD in page.text
    assert "could not be read" in page.text
    (view,) = [attributes["viewbox"] for tag, attributes in page.elements if tag == "svg"]
    width, height = map(float, str(view).split()[2:])
    pins = [attributes for tag, attributes in page.elements if tag == "circle"]
    assert pins
    for attributes in pins:
        assert 0 <= float(str(attributes["cx"])) <= width
        assert 0 <= float(str(attributes["cy"])) <= height
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(pictures) == 5
    assert all(str(picture["src"]).startswith("data:image/jpeg;base64,") for picture in pictures)
    assert len(text) < 400_000


@pytest.mark.parametrize(
    "points",
    [
        [(48.9, 2.4)],
        [(64.1, -21.9), (-45.0, 170.5)],
        [(-77.8, 166.7), (78.2, 15.6)],
        [(-17.7, 178.1), (-13.8, -171.8)],
        [],
    ],
)
def test_a_map_holds_all_its_points_and_is_wider_than_high(points: list[tuple[float, float]]) -> None:
    where = np.array(points, float).reshape(-1, 2)
    box = box_around(where)
    placed = box.place(where)
    assert (placed >= 0).all()
    assert (placed <= (box.width, box.height)).all()
    assert box.width / box.height > 0.9
