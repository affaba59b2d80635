"""Predicting on Ray: the same file as without it, and a photo that kills its worker is told alone."""

from pathlib import Path

import pytest

from deadly_shard import deadly
from local_ray import cluster as cluster
from tiny_bundle import make_bundle, make_photos
from whichland.bulk import ray as bulk_ray
from whichland.bulk.config import PredictConfig
from whichland.bulk.inputs import find_photos
from whichland.bulk.ray import WORKER_DIED, Shard, rows_of_shard, rows_on_ray
from whichland.bulk.run import predict_to


def test_the_same_file_as_without_ray(cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    make_photos(tmp_path / "photos", 9)[4].write_bytes(b"not a photo")
    monkeypatch.chdir(tmp_path)
    photos = find_photos(["photos"])  # the workers stand elsewhere
    monkeypatch.setattr(bulk_ray, "BATCHES", 2)
    config = PredictConfig(batch_size=2)
    for name, address in (("ray.csv", "auto"), ("here.csv", None)):
        done = predict_to(bundle, photos, tmp_path / name, config, ray=address)
        assert (done.photos, done.unreadable) == (9, 1)
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


def test_a_deadly_photo_is_lost_alone(cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [f"{number:04}.jpg" for number in range(10)]
    monkeypatch.setattr(bulk_ray, "BATCHES", 2)
    monkeypatch.setattr(bulk_ray, "rows_of_shard", deadly)
    config = PredictConfig(batch_size=2, engine="onnx")
    rows = [row for part in rows_on_ray(tmp_path, photos, config, address="auto") for row in part]
    assert [row["path"] for row in rows] == photos
    assert [row["path"] for row in rows if row["error"]] == ["0005.jpg"]
    assert rows[5]["error"] == WORKER_DIED


def test_a_shard_is_the_unit_of_work(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    photos = list(map(str, make_photos(tmp_path / "photos", 3)))
    rows = rows_of_shard(Shard(bundle, PredictConfig(top=1), photos, 2, str(tmp_path)))
    assert [row["path"] for row in rows] == photos
    assert ["thumbnail" in row for row in rows] == [True, True, False]
