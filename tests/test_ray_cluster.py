"""Measuring on Ray: the same table to the byte, whatever is killed on the way."""

import os
import signal
from pathlib import Path

import pytest

from curated import photo, save
from local_ray import cluster as cluster
from test_measure import manifest
from whichland.curate.measure import measure
from whichland.errors import UserError
from whichland.manifest import write
from whichland.workers import map_batches


def deadly_at_first(batch: tuple[int, str]) -> int:
    number, marker = batch
    if number == 3 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * 10


def always_deadly(batch: int) -> int:
    if batch == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return batch * 10


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
