"""Commands whose disk, archive, list or parent fails them: five further inputs of each kind that ended badly before."""

import io
import os
import resource
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from curated import photo, save
from origins import jpeg, put
from whichland.bulk.inputs import find_photos
from whichland.images.decode import ImageError, read_bytes
from whichland.manifest import write
from whichland.sources.ingest import ingest

COMMAND = [sys.executable, "-m", "whichland"]


# -- places that cannot be written, and files that cannot be read -------------------------------------------------


def a_long_name(folder: Path) -> list[str]:
    return ["data", "ingest", "p", "-o", "x" * 300 + ".parquet"]


def a_link_that_leads_nowhere(folder: Path) -> list[str]:
    (folder / "away").symlink_to("unmounted/disk")
    return ["data", "ingest", "not/there", "-o", "away/m.parquet"]


def a_pipe(folder: Path) -> list[str]:
    os.mkfifo(folder / "pipe.parquet")
    return ["data", "split", "pipe.parquet", "-o", "m.parquet"]


def half_a_table(folder: Path) -> list[str]:
    (folder / "half.parquet").write_bytes(b"PAR1" + bytes(300))
    return ["data", "balance", "half.parquet", "-o", "m.parquet"]


def a_disk_that_fills(folder: Path) -> list[str]:
    return ["data", "ingest", "p", "-o", "old.parquet"]


@pytest.mark.parametrize(
    "place", [a_long_name, a_link_that_leads_nowhere, a_pipe, half_a_table, a_disk_that_fills], ids=lambda f: f.__name__
)
def test_what_the_system_refuses_is_one_line(tmp_path: Path, place: Callable[[Path], list[str]]) -> None:
    put(tmp_path / "p", "FR/a.jpg", "NO/b.jpg")
    (tmp_path / "old.parquet").write_bytes(b"what was there")
    words = place(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())

    def full() -> None:
        if place is a_disk_that_fills:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    ended = subprocess.run(
        [*COMMAND, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, preexec_fn=full
    )
    said = [line for line in ended.stderr.splitlines() if not line.startswith("p: ")]  # what ingest found
    assert (ended.returncode, ended.stdout, len(said)) == (2, "", 1), ended.stderr
    assert words[-1] in said[0] or words[2] in said[0]
    assert (tmp_path / "old.parquet").read_bytes() == b"what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


# -- archives and lists -------------------------------------------------------------------------------------------


def encrypted(data: bytearray) -> bytearray:
    """Bit 0 of the flags in both headers (APPNOTE.TXT, 4.4.4)."""
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.rindex(mark) + at] |= 1
    return data


def of_another_checksum(data: bytearray) -> bytearray:
    data[data.rindex(b"PK\x01\x02") + 16] ^= 0xFF
    return data


def under_another_name(data: bytearray) -> bytearray:
    data[data.rindex(b"PK\x03\x04") + 30] ^= 1
    return data


@pytest.mark.parametrize("damage", [encrypted, of_another_checksum, under_another_name], ids=lambda f: f.__name__)
def test_one_member_that_cannot_be_read_leaves_the_others(
    tmp_path: Path, damage: Callable[[bytearray], bytearray]
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("FR/a.jpg", jpeg())
        archive.writestr("FR/b.jpg", jpeg())
    (tmp_path / "a.zip").write_bytes(damage(bytearray((tmp_path / "a.zip").read_bytes())))
    good, bad = find_photos([str(tmp_path / "a.zip")])
    assert read_bytes(good) == jpeg()
    with pytest.raises(ImageError, match=r"a\.zip#FR/b\.jpg: cannot be unpacked"):
        read_bytes(bad)


TWO_LISTS = "à.jpg\n".encode("utf-16") + "b.jpg\n".encode("utf-16")  # put together, each with its mark


@pytest.mark.parametrize(
    "data", ["à.jpg\r\n\r\n b.jpg \r\n".encode("utf-16"), "# mine\nà.jpg\rb.jpg".encode(), TWO_LISTS]
)
def test_lists_from_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    put(tmp_path, "à.jpg", "b.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert list(find_photos(["-"])) == ["à.jpg", "b.jpg"]


# -- processes that outlive what started them ---------------------------------------------------------------------


def below(process: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    try:
        children = [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []
    return [*children, *(further for child in children for further in below(child))]


def runs(process: int) -> bool:
    try:
        return "(zombie)" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize(
    ("words", "sign"),
    [
        ("data measure m.parquet -o n.parquet -j 2", signal.SIGKILL),
        ("data measure m.parquet -o n.parquet -j 2", signal.SIGTERM),
        ("data prepare p -o n.parquet -j 2", signal.SIGHUP),
        ("data merge m.parquet -o n.parquet --images i --projection p=equirectangular -j 2", signal.SIGKILL),
        ("data ingest synthetic:scenes=400,size=256x192 -o n.parquet", signal.SIGKILL),
    ],
)
def test_no_worker_outlives_a_command(tmp_path: Path, words: str, sign: int) -> None:
    first = save(photo(1, size=(2000, 1000)), tmp_path / "p" / "FR" / "0000.jpg")
    for number in range(1, 600):
        first.with_name(f"{number:04}.jpg").hardlink_to(first)
    quiet = {"cwd": tmp_path, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if "m.parquet" in words:
        write(ingest(str(tmp_path / "p")), tmp_path / "m.parquet")
    started = subprocess.Popen([*COMMAND, *words.split()], **quiet)
    try:
        deadline = time.monotonic() + 30
        while len(workers := below(started.pid)) < 3:  # two, and what starts or counts them
            assert started.poll() is None, "ended before its workers were seen"
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        started.send_signal(sign)
        started.wait(20)
    deadline = time.monotonic() + 10
    while any(map(runs, workers)):
        assert time.monotonic() < deadline, "workers are left"
        time.sleep(0.05)
