"""How often a model was right: counted, kept in the bundle, and said beside its answers."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient

import whichland as wl
from curated import measured
from serving import create
from tiny_bundle import LABELS, make_bundle, make_photos
from whichland.cli.commands import root
from whichland.errors import UserError
from whichland.evaluation.evaluate import evaluate
from whichland.manifest import Manifest
from whichland.model.bundle import bundle_hash
from whichland.model.label_sources import countries
from whichland.model.record import FILE, read_record, record_of


def test_answers_are_counted_by_label_and_by_how_sure_they_were() -> None:
    probs_NK = np.array([[0.9, 0.1], [0.85, 0.15], [0.3, 0.7], [0.45, 0.55], [0.4, 0.6], [0.999, 0.001]])
    truth_N, group_N = np.array([0, 1, 1, 0, 1, 0]), np.arange(6)
    found = record_of(countries(["NO", "SE"]), "test", probs_NK, truth_N, group_N)
    assert {code: (one.right, one.of) for code, one in found.named.items()} == {"NO": (2, 3), "SE": (2, 3)}
    assert [(one.least, one.most, one.right) for one in found.sure] == [
        *((0.5, 0.6, 0), (0.6, 0.7, 1), (0.7, 0.8, 1), (0.8, 0.9, 0), (0.9, 0.95, 1), (0.99, 1.0, 1))
    ]
    assert found.top1 == pytest.approx(4 / 6)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.top1 < found.high


def judged_photos(folder: Path, splits: list[str]) -> Manifest:
    """A manifest of photos that are there, seven a split."""
    photos = make_photos(folder, len(LABELS) * len(splits))
    table = measured(len(photos), countries=LABELS, uri=[str(path) for path in photos])
    of_each = [split for split in splits for _ in LABELS]
    return table.with_step("split", table.frame.with_columns(split=pl.Series(of_each), group=pl.col("image_id")))


def test_an_evaluation_of_new_test_photos_is_kept_in_the_bundle(tmp_path: Path) -> None:
    table = judged_photos(tmp_path / "photos", ["test", "val"])
    bundle = make_bundle(tmp_path / "run" / "bundle", manifest_sha256=table.digest("country"))
    digest = bundle_hash(bundle)
    evaluate(bundle, table, "val")
    assert read_record(bundle) is None, "validation photos chose the model"
    report = evaluate(bundle, table)
    found = read_record(bundle)
    assert found is not None
    assert (found.split, found.photos) == ("test", 7)
    assert found.top1 == report.scores["top1"].value
    assert sum(one.of for one in found.named.values()) == sum(one.of for one in found.sure) == 7
    assert bundle_hash(bundle) == digest, "what a model answers has not changed"
    with TestClient(create(bundle)) as client:
        assert client.get("/api/info").json()["model"]["record"] == json.loads(found.model_dump_json())
    (bundle / FILE).write_text('{"split": 3}')
    with pytest.raises(UserError, match=r"record\.json: split: .* evaluate the bundle anew"):
        read_record(bundle)


def test_a_record_of_photos_that_may_have_been_trained_on_is_not_kept(tmp_path: Path) -> None:
    table = judged_photos(tmp_path / "photos", ["test"])
    bundle = make_bundle(tmp_path / "run" / "bundle", manifest_sha256="of another manifest")
    evaluate(bundle, table)
    assert read_record(bundle) is None


@pytest.mark.parametrize(("sources", "cautious"), [({"synthetic": 5}, True), ({"synthetic": 5, "mapillary": 1}, False)])
def test_every_face_says_of_a_model_of_drawn_streets_that_it_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sources: dict[str, int], cautious: bool
) -> None:
    bundle, (photo,) = make_bundle(tmp_path / "bundle", sources=sources), make_photos(tmp_path / "photos", 1)
    answer = wl.load(bundle).predict(str(photo))
    assert ("drawn streets alone" in (answer.caution or "")) is cautious
    assert ("drawn streets alone" in answer._repr_html_()) is cautious
    root()(["predict", str(bundle), str(photo)], prog_name="whichland", standalone_mode=False)
    assert ("drawn streets alone" in capsys.readouterr().err) is cautious
    with TestClient(create(bundle)) as client:
        facts = client.get("/api/info").json()["model"]
        sent = client.post("/api/predict", files={"files": photo.read_bytes()}).json()["results"][0]
    assert facts["drawn_only"] is cautious
    assert sent["caution"] == facts["caution"] == answer.caution
