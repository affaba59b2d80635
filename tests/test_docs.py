"""The commands that the docs show exist, with these flags and values; the links between the pages hold."""

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from whichland.sources.synthetic.world import parse

ROOT = Path(__file__).resolve().parent.parent
TUTORIAL = ROOT / "docs" / "tutorial" / "synthetic-world.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def lines_of(page: Path) -> list[list[str]]:
    """The calls of whichland in a page's shell blocks, each as its words."""
    found = []
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|[|;>]", line):
                words = shlex.split(part, comments=True)
                if words[:1] == ["whichland"]:
                    found.append(words[1:])
    return found


@pytest.fixture(scope="module")
def commands() -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    return {words: command for words, command, _ in reference.commands()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_in_the_docs_can_be_parsed(page: Path, commands: dict[str, Any]) -> None:
    for words in lines_of(page):
        if words in (["--help"], ["--version"]):
            continue
        name = " ".join(words[:2]) if words[0] == "data" else words[0]
        assert name in commands, f"{page.name}: there is no `whichland {name}`"
        arguments = words[len(name.split()) :]
        if "--help" not in arguments:
            commands[name].make_context(name, arguments)  # raises on unknown flags and wrong values
        for origin in (word for word in arguments if word.startswith("synthetic:")):
            parse(origin)


def test_the_tutorial_goes_the_whole_way() -> None:
    shown = {" ".join(words[:2]) if words[0] == "data" else words[0] for words in lines_of(TUTORIAL)}
    steps = ("ingest", "measure", "clean", "split", "balance", "stats", "check")
    assert shown >= {f"data {step}" for step in steps} | {"train", "evaluate", "predict", "explain"}


def test_a_wrong_flag_is_noticed(commands: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="--wings"):
        commands["train"].make_context("train", ["world.parquet", "--out", "runs/x", "--wings", "2"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target} is not there"
