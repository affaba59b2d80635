"""The generated docs are those of the code, and every command and option says what it is for."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from whichland.config import settings
from whichland.manifest import SCHEMA

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "reference.py"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_up_to_date(reference: ModuleType) -> None:
    for name, text in reference.pages().items():
        page = ROOT / "docs" / "reference" / name
        assert page.is_file(), f"docs/reference/{name} is missing: run `make docs`"
        assert page.read_text(encoding="utf-8") == text, f"docs/reference/{name} is stale: run `make docs`"


def test_the_pages_do_not_depend_on_the_terminal() -> None:
    command = [sys.executable, str(SCRIPT), "--check"]
    narrow = {"COLUMNS": "30", "TERM": "dumb", "NO_COLOR": "1", "LANG": "C", "PYTHONUTF8": "1"}
    done = subprocess.run(command, env=os.environ | narrow, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_and_option_has_help(reference: ModuleType) -> None:
    seen = 0
    for words, command, context in reference.commands():
        assert command.callback.__doc__, f"whichland {words} has no docstring"
        assert command.help, f"whichland {words} has no help"
        for names, text in reference.parameters(command, context):
            bare = text.split("[")[0].strip()
            assert bare, f"whichland {words} {names} has no help"
            seen += 1
    assert seen > 50, "the walk must have found the commands"


def test_whatever_writes_csv_says_how_namibia_is_kept(reference: ModuleType) -> None:
    for words, command, context in reference.commands():
        said = " ".join(
            [reference._description(command), *(text for _, text in reference.parameters(command, context))]
        )
        if words in ("predict", "evaluate", "study"):
            assert "keep_default_na=False" in said, words


def test_every_setting_and_column_has_help(reference: ModuleType) -> None:
    for place in reference.CONFIGS:
        module, _, name = place.partition(":")
        config = getattr(importlib.import_module(module), name)
        assert config.__doc__
        assert not config.__doc__.startswith(f"{name}("), f"{name} has no docstring of its own"
        for setting in settings(config):
            assert setting.help, f"{name}.{setting.name} has no help"
    assert all(column.meaning for column in SCHEMA)


def test_every_configuration_class_is_in_the_docs(reference: ModuleType) -> None:
    """Each class named …Config is listed in scripts/reference.py, but for those that join others for a command."""
    listed = {place.rpartition(":")[2] for place in reference.CONFIGS}
    package = ROOT / "src" / "whichland"
    files = [path for path in package.rglob("*.py") if "cli" not in path.relative_to(package).parts]
    found = [re.findall(r"^class (\w+Config)\b\(?([\w, ]*)", path.read_text(encoding="utf-8"), re.M) for path in files]
    classes = {name: re.findall(r"\w+Config", parents) for pairs in found for name, parents in pairs}
    classes = {name: parents for name, parents in classes.items() if len(parents) < 2}  # several: they are listed
    bases = {base for name in listed & set(classes) for base in classes[name]}  # their settings stand with the heir's
    assert set(classes) - bases == listed
