"""Packs: arrays on disk that come back as they were, are made once, and are made anew when damaged or changed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from whichland.training import packs
from whichland.training.packs import Packs, Share, build
from whichland.whole_file import whole_file


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "CHUNK", 4)


class Source:
    """Arrays of differing shapes, and which of them were asked for."""

    def __init__(self, count: int) -> None:
        generator = np.random.default_rng(0)
        self.arrays = [generator.integers(0, 255, (3, 2 + i % 3), dtype=np.uint8) for i in range(count)]
        self.keys = [f"photo {i}" for i in range(count)]
        self.made: list[int] = []

    def make(self, numbers: range) -> Iterator[NDArray[np.uint8]]:
        for number in numbers:
            self.made.append(number)
            yield self.arrays[number]

    def build(self, folder: Path, share: Share = packs.ALONE) -> Packs:
        self.made.clear()
        return build(folder, self.keys, self.make, description="making", share=share)


def test_arrays_come_back_and_are_made_once(tmp_path: Path) -> None:
    source = Source(10)
    for expected in (list(range(10)), []):
        found = source.build(tmp_path)
        assert source.made == expected
        assert len(found) == 10
        for given, array in zip(source.arrays, found, strict=True):
            np.testing.assert_array_equal(array, given)
    np.testing.assert_array_equal(found.take([9, 0]), np.stack([source.arrays[9], source.arrays[0]]))
    found[0][0, 0] += 1  # the file keeps what it has
    np.testing.assert_array_equal(source.build(tmp_path)[0], source.arrays[0])


def test_a_changed_photo_makes_its_chunk_anew(tmp_path: Path) -> None:
    source = Source(10)
    source.build(tmp_path)
    source.keys[5], source.arrays[5] = "another", source.arrays[5] + 1
    found = source.build(tmp_path)
    assert source.made == [4, 5, 6, 7]
    np.testing.assert_array_equal(found[5], source.arrays[5])


@pytest.mark.parametrize("damage", ["flipped bit", "cut off", "no index", "broken index", "other index"])
def test_a_damaged_chunk_is_made_anew(tmp_path: Path, damage: str) -> None:
    source = Source(10)
    source.build(tmp_path)
    data = sorted(tmp_path.glob("*.bin"))[0]
    whole, index = data.read_bytes(), data.with_suffix(".json")
    if damage == "flipped bit":
        data.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    elif damage == "cut off":
        data.write_bytes(whole[:-3])
    elif damage == "no index":
        index.unlink()
    else:
        index.write_text("{" if damage == "broken index" else "[]")
    found = source.build(tmp_path)
    assert len(source.made) in (2, 4)  # one chunk; the last is short
    for given, array in zip(source.arrays, found, strict=True):
        np.testing.assert_array_equal(array, given)


def test_an_interrupted_build_goes_on_where_it_stopped(tmp_path: Path) -> None:
    source = Source(10)
    with pytest.raises(KeyboardInterrupt):
        source.build(tmp_path, Share(stopped=lambda: len(source.made) >= 8))
    source.build(tmp_path)
    assert source.made == [8, 9]


def test_a_failure_leaves_no_half_chunk(tmp_path: Path) -> None:
    def fail(numbers: range) -> Iterator[NDArray[np.uint8]]:
        yield np.zeros(3, np.uint8)
        raise RuntimeError("the second photo cannot be read")

    source = Source(4)
    with pytest.raises(RuntimeError, match="second photo"):
        build(tmp_path, source.keys, fail, description="making")
    assert list(tmp_path.iterdir()) == []
    assert len(source.build(tmp_path)) == 4


def test_processes_share_the_chunks(tmp_path: Path) -> None:
    first, second = Source(14), Source(14)
    with pytest.raises(FileNotFoundError):  # the other's chunks are not there yet
        first.build(tmp_path, Share(rank=0, world=2))
    found = second.build(tmp_path, Share(rank=1, world=2))
    assert (first.made, second.made) == ([0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13])
    for given, array in zip(first.arrays, found, strict=True):
        np.testing.assert_array_equal(array, given)


def test_what_a_killed_process_left_half_written_goes(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from whichland.whole_file import whole_file\n"
        "with whole_file(Path(sys.argv[1]) / 'chunk.bin') as partial:\n"
        "    partial.write_bytes(b'half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    with whole_file(tmp_path / "other.bin") as partial:
        partial.write_bytes(b"of a process that lives")
        assert len(list(tmp_path.glob(".*.part"))) == 2
        Source(3).build(tmp_path)
        assert list(tmp_path.glob(".*.part")) == [partial]
