"""The command line's frame: quick, light, and one line for what the user can mend. Real processes."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import forked
from whichland import __version__
from whichland.cli.commands import require_extra
from whichland.cli.main import COMMANDS, DATA_COMMANDS, main
from whichland.errors import UserError

HEAVY = ("torch", "timm", "torchvision", "polars", "fastapi", "matplotlib", "sklearn", "PIL", "numpy")

AFTER = """
import sys
from whichland.cli.main import main
sys.argv = ["whichland", *{arguments!r}]
try:
    main()
except SystemExit as end:
    print("code", end.code or 0, file=sys.stderr)
print("loaded", *[name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    return forked.run(["-m", "whichland", *arguments], env=environment)


@pytest.mark.parametrize("arguments", [["--help"], ["data", "--help"], ["--version"], []], ids=" ".join)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = AFTER.format(arguments=arguments, heavy=(*HEAVY, "typer") if arguments else HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "loaded"


def test_help_lists_every_command() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    for name, entry in COMMANDS.items():
        assert f" {name} " in shown.stdout
        assert entry.help in " ".join(shown.stdout.split())
    assert " data " in shown.stdout
    inside = run("data", "--help").stdout
    for name, entry in DATA_COMMANDS.items():
        assert f" {name} " in inside
        assert entry.help in " ".join(inside.split())


def test_the_version() -> None:
    shown = run("--version")
    assert (shown.returncode, shown.stdout) == (0, f"{__version__}\n")


@pytest.mark.parametrize("arguments", [["fly"], ["data", "fly"], ["predict", "--fly"], ["predict"]], ids=" ".join)
def test_what_is_not_there_is_exit_code_2_without_a_traceback(arguments: list[str]) -> None:
    shown = run(*arguments)
    assert shown.returncode == 2
    assert shown.stdout == ""
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize(("given", "meant"), [("prepare", "data prepare"), ("data train", "train")])
def test_a_command_that_is_elsewhere_is_named(given: str, meant: str) -> None:
    done = run(*given.split(), "photos")
    assert (done.returncode, done.stderr) == (2, f"whichland: no such command here; it is `whichland {meant}`\n")


def test_a_user_error_is_one_line_and_exit_code_2() -> None:
    shown = run("predict", "no/such/bundle", "no/such/photo.jpg")
    assert shown.returncode == 2
    assert shown.stdout == ""
    assert len(shown.stderr.splitlines()) == 1
    assert shown.stderr.startswith("whichland: ")
    assert "no/such/" in shown.stderr


def in_shell(line: str) -> tuple[int, str]:
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [
        ("> /dev/full", 2, "No space left on device"),
        (">&-", 0, ""),
        ("2> /dev/full", 0, ""),
        ("> /dev/full 2> /dev/full", 2, ""),
        ("| true", 1, ""),
    ],
)
def test_closed_and_full_streams_end_without_a_traceback(streams: str, code: int, said: str) -> None:
    line = f"{sys.executable} -m whichland --version"
    found, errors = in_shell(f"{line} {streams}")
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    assert (found, said in errors) == (code, True)


@pytest.mark.parametrize("command", ["train", "data split", "data measure", "atlas B", "study G", "cross-source"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path, command: str) -> None:
    """Before anything is read, so that a manifest that is not there does not matter."""
    (tmp_path / "file").write_text("")
    shown = run(*command.split(), str(tmp_path / "none.parquet"), "--out", str(tmp_path / "file" / "out"))
    assert shown.returncode == 2, shown.stderr
    assert shown.stderr.startswith(f"whichland: {tmp_path}/file/out: ")
    assert "is a file" in shown.stderr
    assert len(shown.stderr.splitlines()) == 1


def test_ctrl_c_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("whichland.cli.commands.root", interrupted)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "whichland: interrupted\n"


def test_a_full_disk_under_safetensors_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def full() -> object:
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
        try:
            save_file({"a": np.zeros(5000)}, tmp_path / "a.safetensors")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        return None

    monkeypatch.setattr("whichland.cli.commands.root", full)
    with pytest.raises(SystemExit) as end:
        main()
    assert (end.value.code, capsys.readouterr().err) == (2, "whichland: File too large\n")


def test_a_missing_extra_is_named() -> None:
    with pytest.raises(UserError, match=r"the extra 'serve' .*pip install .*\[serve\]"):
        require_extra("serve", "a_module_that_no_one_has")
    require_extra("train", "json")
