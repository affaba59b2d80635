"""How messages write scores, numbers, settings, and commands, which run as printed in the shell that prints them."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

SCORES = {"top1": "top-1", "top5": "top-5", "macro_f1": "macro-F1"}
SOURCE = Path(__file__).resolve().parents[2]  # of a clone; no index has the package


def spelled(name: str) -> str:
    """The name of a score or column for people: "macro-F1" of macro_f1."""
    return SCORES.get(name, name.replace("_", " "))


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number of things: 1 photo, 1,200 photos."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def size_said(count: int) -> str:
    """A number of bytes, such as 1.2 GB."""
    scale, unit = next((pair for pair in ((1e9, "GB"), (1e6, "MB")) if count >= pair[0]), (1e3, "kB"))
    return f"{count / scale:.1f} {unit}"


def clock(seconds: float) -> str:
    """A time that passes: 2:05, or 1:02:05 with hours."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def setting_said(value: Any) -> str:
    """A setting as text for reading; of a path on this machine its name."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {setting_said(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(setting_said, value)) or "none"
    if value is None or isinstance(value, bool):
        return {None: "unset", True: "yes", False: "no"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    return Path(value).name if str(value).startswith("/") else str(value)


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
