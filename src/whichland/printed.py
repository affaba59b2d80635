"""How messages write scores, numbers, and commands: these run as printed in the shell that they are printed in."""

import os
import shutil
import sys
from pathlib import Path

SCORES = {"top1": "top-1", "top5": "top-5", "macro_f1": "macro-F1"}
SOURCE = Path(__file__).resolve().parents[2]  # of a clone; no index has the package


def spelled(name: str) -> str:
    """The name of a score or column for people: "macro-F1" of macro_f1."""
    return SCORES.get(name, name.replace("_", " "))


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number of things: 1 photo, 1,200 photos."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def program() -> str:
    """How this program is called here: by its name where the shell finds it, else by its path."""
    own = Path(sys.executable).with_name("whichland" + Path(sys.executable).suffix)
    known = shutil.which("whichland")
    if known is not None and Path(known).parent.resolve() == own.parent.resolve():
        return "whichland"
    return near(own) if own.exists() else f"{near(Path(sys.executable))} -m whichland"


def install(extra: str) -> str:
    """How to install an extra: from the clone that this runs from, else from the repository's address."""
    if not (SOURCE / "pyproject.toml").is_file():
        return f"pip install 'whichland[{extra}] @ git+ADDRESS', ADDRESS being its repository's"
    return f"{near(Path(sys.executable))} -m pip install -e '{near(SOURCE)}[{extra}]'"


def near(path: Path) -> str:
    """A path as it is from the current folder where it lies in it, else whole."""
    here = Path.cwd()
    return os.fspath(path.relative_to(here) if path.is_relative_to(here) else path)
