"""Every package that is imported is declared, and the check finds one that is not."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def dependencies() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dependencies", ROOT / "scripts" / "dependencies.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_imported_is_declared(dependencies: ModuleType) -> None:
    assert dependencies.undeclared(ROOT / "src", (ROOT / "pyproject.toml").read_text(encoding="utf-8")) == []


def test_an_import_that_nothing_declares_is_found_wherever_it_is(dependencies: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import json\nimport numpy as np\n\ndef f():\n    from sklearn.metrics import x\n")
    core = '[project]\ndependencies = ["numpy>=2"]\n[project.optional-dependencies]\n'
    wanted = ["a.py: imports sklearn, but pyproject.toml does not declare scikit-learn"]
    assert dependencies.undeclared(tmp_path, core + 'dev = ["scikit-learn"]\n') == wanted
    assert dependencies.undeclared(tmp_path, core + 'train = ["scikit_learn>=1.6"]\n') == []


def test_the_demo_sets_up_all_that_it_needs(dependencies: ModuleType) -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = (ROOT / "requirements-train.txt").read_text(encoding="utf-8")
    assert dependencies.not_set_up(pyproject, listed) == []
    [line] = dependencies.not_set_up(pyproject, listed.replace("mpmath\n", ""))  # of torch's sympy
    assert line.startswith("requirements-train.txt lacks mpmath")
