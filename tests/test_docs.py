"""The commands that the docs show exist, with these flags and values; the links between the pages hold."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from curated import photo, save
from whichland.sources.synthetic.world import parse

ROOT = Path(__file__).resolve().parent.parent
TUTORIAL = ROOT / "docs" / "tutorial" / "synthetic-world.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
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


def test_the_python_of_the_readme_is_a_script_that_ends_with_an_answer(tmp_path: Path) -> None:
    """As printed, but for a tiny network; it has no guard for `__main__`, and each photo is an own file."""
    [block] = PYTHON.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    tiny = 'arch="test_resnet", weights="none", size=64, epochs=1'
    (tmp_path / "script.py").write_text(block.replace('arch="mobilenetv2_100"', tiny), encoding="utf-8")
    assert tiny in (tmp_path / "script.py").read_text(encoding="utf-8")
    for at in range(150):  # more than one process measures alone
        save(photo(at, size=(96, 72)), tmp_path / "photos" / ("Japan", "Namibia", "France")[at % 3] / f"{at}.jpg")
    save(photo(200, size=(96, 72)), tmp_path / "holiday" / "a.jpg")
    ran = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    score, answer, answers = ran.stdout.splitlines()[-3:]
    assert re.fullmatch(r"\d+\.\d% .*", score)
    assert re.fullmatch(r"<Answer 'holiday/a.jpg': (Japan|Namibia|France) .*%.*>", answer)
    assert set(re.findall(r"'(..)'", answers)) <= {"JP", "NA", "FR"}


def test_all_commands_of_the_readme_but_those_with_placeholders_are_run() -> None:
    """scripts/run_docs.py runs them, which takes minutes; here, that it finds them."""
    spec = importlib.util.spec_from_file_location("run_docs", ROOT / "scripts" / "run_docs.py")
    assert spec is not None
    assert spec.loader is not None
    run_docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run_docs)
    ran = "".join(run_docs.blocks(ROOT / "README.md"))
    shown = {words[0] for words in lines_of(ROOT / "README.md")}
    assert {name for name in shown if f"whichland {name}" not in ran} == {"zero-shot"}
    assert "OWNER" not in ran
    assert "TOKEN" not in ran
    for page in run_docs.PAGES[1:]:
        assert sum(map(len, map(str.splitlines, run_docs.blocks(ROOT / page)))) >= len(lines_of(ROOT / page))


def test_a_wrong_flag_is_noticed(commands: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="--wings"):
        commands["train"].make_context("train", ["world.parquet", "--out", "runs/x", "--wings", "2"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target} is not there"
