"""Check that pyproject.toml declares what src/ imports, and `make demo` installs what it needs; for `make lint`.

    .venv/bin/python scripts/dependencies.py

What another package happens to bring along is not declared by that: it may leave with that package's next version.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
CUDA = re.compile(r"nvidia-|cuda-|triton$")  # not there beside a torch for the processor


def declared(pyproject: str) -> set[str]:
    """Names of all packages that the core, its extras but not `dev` ask for."""
    project = tomllib.loads(pyproject)["project"]
    extras = [lines for extra, lines in project["optional-dependencies"].items() if extra != "dev"]
    return {_plain(re.split(r"[^\w.-]", line)[0]) for lines in (project["dependencies"], *extras) for line in lines}


def imported(source: str) -> Iterator[str]:
    """Top-level names of the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def undeclared(folder: Path, pyproject: str) -> list[str]:
    """A line for each import of a package that is not declared, with the file it is in."""
    known, owners = declared(pyproject), packages_distributions()
    return [
        f"{file.relative_to(folder)}: imports {name}, but pyproject.toml does not declare {packages[0]}"
        for file in sorted(folder.rglob("*.py"))
        for name in sorted(set(imported(file.read_text(encoding="utf-8"))))
        if name not in sys.stdlib_module_names and name != "whichland"
        for packages in [owners.get(name, [name])]
        if not known & {_plain(package) for package in packages}
    ]


def not_set_up(pyproject: str, listed: str) -> list[str]:
    """A line for each package that the core and training need on this machine, and that a list does not name."""
    project = tomllib.loads(pyproject)["project"]
    known, needed = set(listed.split()), set[tuple[str, str]]()
    ahead = [Requirement(line) for line in (*project["dependencies"], *project["optional-dependencies"]["train"])]
    while ahead:
        wanted = ahead.pop()
        for extra in {"", *wanted.extras}:
            if (name := (_plain(wanted.name), extra)) in needed or CUDA.match(name[0]):
                continue
            needed.add(name)
            of_it = [Requirement(line) for line in requires(wanted.name) or []]
            ahead += [r for r in of_it if not r.marker or r.marker.evaluate({"extra": extra})]
    lacking = sorted({name for name, _ in needed} - known)
    return [f"requirements-train.txt lacks {name}, which training needs: run scripts/lock.py" for name in lacking]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = undeclared(ROOT / "src", pyproject)
    sys.exit("\n".join(lines + not_set_up(pyproject, (ROOT / "requirements-train.txt").read_text())) or None)
