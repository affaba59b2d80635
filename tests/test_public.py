"""The public names: which there are, that they stay lazy, and that no package shadows one."""

import inspect
import subprocess
import sys

import pytest

import whichland as wl


def test_the_public_names() -> None:
    assert set(wl.__all__) == {
        "__version__", "Answer", "AtlasConfig", "AuditConfig", "BalanceConfig", "CalibrateConfig", "CleanConfig",
        "ExportConfig", "GeocodeConfig", "Manifest", "MergeConfig", "Model", "PredictConfig", "ScoreConfig",
        "ServeConfig", "SplitConfig", "TrainConfig", "UserError",
        "atlas", "audit", "balance", "border_km", "calibrate", "clean", "compare", "country_of", "cross_source",
        "evaluate", "explain", "export", "find_lr", "geocode", "ingest", "load", "measure", "merge",
        "predict", "predict_to", "read", "score", "serve", "split", "study", "train", "write",
    }  # fmt: skip
    assert set(dir(wl)) == set(wl.__all__)
    assert all(callable(getattr(wl, name)) for name in wl.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        wl.nothing  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import whichland, sys; print([m for m in ('torch', 'timm', 'polars', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_no_package_shadows_a_public_name() -> None:
    """Every name is the same function or class, with the same signature, after all packages were imported."""
    code = (
        "import importlib, inspect, pkgutil, whichland as wl\n"
        "verbs = [name for name in wl.__all__ if name.islower() and name != '__version__']\n"
        "before = {name: inspect.signature(getattr(wl, name)) for name in verbs}\n"
        "packages = [found.name for found in pkgutil.iter_modules(wl.__path__) if found.ispkg]\n"
        "for name in packages: importlib.import_module('whichland.' + name)\n"
        "print(len(verbs) > 20, {n: s for n, s in before.items() if inspect.signature(getattr(wl, n)) != s})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "True {}", done.stderr


def test_the_main_verbs_say_what_they_take() -> None:
    assert list(inspect.signature(wl.train).parameters)[:3] == ["manifest", "config", "out"]
    assert next(iter(inspect.signature(wl.explain).parameters)) == "bundle"
