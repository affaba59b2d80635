"""A file appears whole or not at all, with the permissions of the umask; what cannot be written is one line."""

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from curated import measured
from whichland.errors import UserError
from whichland.manifest import write
from whichland.whole_file import check_writable, usual_permissions, whole_file

COMMAND = [sys.executable, "-m", "whichland"]


@pytest.fixture(params=[0o022, 0o027, 0o077, 0o002])
def mode(request: pytest.FixtureRequest) -> int:
    before = os.umask(request.param)
    yield 0o666 & ~request.param
    os.umask(before)


def test_files_obey_the_umask_whatever_the_writer_sets(mode: int, tmp_path: Path) -> None:
    for name, strict in (("a", True), ("b", False)):
        with whole_file(tmp_path / name) as partial:
            partial.write_text("x")
            if strict:
                partial.chmod(0o600)
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode
    (tmp_path / "a").chmod(0o600)
    usual_permissions(tmp_path / "a")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode
    assert stat.S_IMODE(write(measured(3), tmp_path / "m.parquet").stat().st_mode) == mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "m.parquet"]


def test_what_was_there_stays_when_the_disk_is_full(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("before")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))  # EFBIG: Python ignores SIGXFSZ
    try:
        with pytest.raises(UserError, match="a: cannot be written"), whole_file(file) as partial:
            partial.write_bytes(bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert file.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_place_that_cannot_be_written_is_known_before(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_writable(tmp_path)
    check_writable(tmp_path / "file")
    check_writable(tmp_path / "not/there/yet")
    for place in ("file/a", "file/a/b"):
        with pytest.raises(UserError, match="cannot be written"):
            check_writable(tmp_path / place)
        with pytest.raises(UserError, match="cannot be written"), whole_file(tmp_path / place):
            pytest.fail("no such folder")
    if os.geteuid():  # root may write anywhere
        (tmp_path / "theirs").mkdir(0o555)
        with pytest.raises(UserError, match="Permission denied"):
            check_writable(tmp_path / "theirs/a")


def run(arguments: list[str], **how: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True, timeout=120, check=False, **how)


def test_an_unwritable_out_ends_a_command_before_its_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = run(["data", "prepare", str(tmp_path / "not there"), "-o", str(tmp_path / "file/m.parquet")])
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [f"whichland: {tmp_path}/file/m.parquet: cannot be written "
                                         f"({tmp_path}/file is a file); give another place"]  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", [["data", "stats"], ["data", "check"], ["data", "stats", "--json"]])
def test_a_full_or_closed_stdout_is_one_line(command: list[str], tmp_path: Path) -> None:
    manifest = str(write(measured(3), tmp_path / "m.parquet"))
    with open("/dev/full", "w") as full:
        ended = run([*command, manifest], stdout=full)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), ended.stderr
    assert "No space left" in ended.stderr
    closed = run([*command, manifest], preexec_fn=lambda: os.close(1))
    assert "Traceback" not in closed.stderr
    assert "Exception" not in closed.stderr
    ours, theirs = os.pipe()
    os.close(ours)
    gone = run([*command, manifest], stdout=theirs)
    os.close(theirs)
    assert len(gone.stderr.splitlines()) <= 1, gone.stderr
