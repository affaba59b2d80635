"""Measuring, predicting and studies on Ray: the same files as without it, whatever is killed on the way.

They stand in one file, as starting Ray takes seconds.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from curated import photo, save
from deadly import always_deadly, deadly_at_first
from deadly_shard import deadly
from tinted import tinted
from tiny_bundle import make_bundle, make_photos
from whichland.bulk import run as bulk_run
from whichland.bulk.config import PredictConfig
from whichland.bulk.inputs import find_photos
from whichland.bulk.run import WORKER_DIED, Shard, predict_to, rows_of_shard, rows_on_ray
from whichland.curate.measure import measure
from whichland.errors import UserError
from whichland.manifest import Manifest, read, write
from whichland.studies.grid import read_grid
from whichland.studies.runs import run_cells
from whichland.workers import map_batches


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray on this machine with two workers, and nobody else's cluster."""
    ray = pytest.importorskip("ray", reason="needs the extra 'ray'")
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:  # the workers have the environment of Ray, which has this one's
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", paths)
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def manifest(paths: list[Path]) -> Manifest:
    names = [str(path) for path in paths]
    return Manifest(pl.DataFrame({"image_id": names, "uri": names, "source": "made"}))


def test_same_table_as_without_ray(cluster: None, tmp_path: Path) -> None:
    paths = [save(photo(seed, size=(300, 200)), tmp_path / f"{seed}.jpg") for seed in range(70)]
    paths[40].write_bytes(paths[40].read_bytes()[:900])
    files = [
        write(measure(manifest(paths), progress=False, **how), tmp_path / f"{name}.parquet")
        for name, how in {"ray": {"ray": "auto"}, "here": {"workers": 1}}.items()
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_worker_killed_once_costs_nothing(cluster: None, tmp_path: Path) -> None:
    batches = [(number, str(tmp_path / "died")) for number in range(20)]
    assert list(map_batches(deadly_at_first, batches, ray="auto")) == [number * 10 for number in range(20)]
    assert (tmp_path / "died").exists()


def test_a_deadly_batch_is_lost_alone(cluster: None) -> None:
    expected = [None if number == 3 else number * 10 for number in range(12)]
    assert list(map_batches(always_deadly, range(12), ray="auto", alone=True)) == expected
    assert list(map_batches(always_deadly, range(12), ray="auto")) == expected


def test_the_same_file_as_without_ray(cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    make_photos(tmp_path / "photos", 9)[4].write_bytes(b"not a photo")
    monkeypatch.chdir(tmp_path)
    photos = find_photos(["photos"])  # the workers stand elsewhere
    monkeypatch.setattr(bulk_run, "BATCHES", 2)
    config = PredictConfig(batch_size=2)
    for name, address in (("ray.csv", "auto"), ("here.csv", None)):
        done = predict_to(bundle, photos, tmp_path / name, config, ray=address)
        assert (done.photos, done.unreadable) == (9, 1)
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


def test_a_deadly_photo_is_lost_alone(cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [f"{number:04}.jpg" for number in range(10)]
    monkeypatch.setattr(bulk_run, "BATCHES", 2)
    monkeypatch.setattr(bulk_run, "rows_of_shard", deadly)
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


def test_cells_run_on_a_ray_cluster(cluster: None, tmp_path: Path) -> None:
    table = tinted(tmp_path, 12)
    (tmp_path / "grid.toml").write_text('[grid]\narch = ["no_such_model"]\nseed = [0, 1]\n', encoding="utf-8")
    cells = read_grid(tmp_path / "grid.toml", read(table)).cells
    said: list[str] = []
    failed = run_cells(cells, table, tmp_path / "out", split="test", ray="auto", say=said.append)
    assert len(failed) == 2
    assert all(reason.startswith("timm has no model") for reason in failed.values())


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("127.0.0.1:1", "no Ray cluster answers"),
        ("..:1", "no Ray cluster answers"),
        ("somewhere", "give auto"),
        ("ray://host:x", "give auto"),
    ],
)
def test_a_wrong_address_is_one_line(address: str, complaint: str) -> None:
    ray = pytest.importorskip("ray", reason="needs the extra 'ray'")
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(UserError, match=complaint):
        list(map_batches(always_deadly, range(2), ray=address))
