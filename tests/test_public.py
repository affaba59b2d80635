"""The public names: which there are, that they stay lazy, and that no package shadows one."""

import inspect
import subprocess
import sys

import pytest

import whichland as wl


def test_the_public_names() -> None:
    assert set(wl.__all__) == {
        "__version__", "AtlasConfig", "AuditConfig", "BalanceConfig", "CalibrateConfig", "CleanConfig",
        "ExportConfig", "GeocodeConfig", "Manifest", "MergeConfig", "PredictConfig", "ScoreConfig",
        "ServeConfig", "SplitConfig", "TrainConfig", "UserError",
        "atlas", "audit", "balance", "border_km", "calibrate", "clean", "compare", "country_of", "cross_source",
        "evaluate", "explain", "export", "find_lr", "geocode", "ingest", "load", "measure", "merge", "open_bundle",
        "predict", "predict_to", "read", "score", "serve", "sets", "split", "study", "train", "write",
    }  # fmt: skip
    assert set(dir(wl)) == set(wl.__all__)
    assert all(callable(getattr(wl, name)) for name in wl.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        wl.nothing  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import whichland, sys; print([m for m in ('torch', 'timm', 'polars', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("name", [name for name in wl.__all__ if name != "__version__"])
def test_a_public_name_keeps_its_signature_whatever_was_imported(name: str) -> None:
    """No package shadows a verb: it is the same function or class, with the same signature, ever after."""
    code = (
        f"import inspect, pkgutil, importlib, whichland as wl\n"
        f"before = inspect.signature(wl.{name})\n"
        "for found in pkgutil.iter_modules(wl.__path__):\n"
        "    if found.ispkg: importlib.import_module('whichland.' + found.name)\n"
        f"print(callable(wl.{name}), inspect.signature(wl.{name}) == before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "True True", done.stderr


def test_the_main_verbs_say_what_they_take() -> None:
    assert list(inspect.signature(wl.train).parameters)[:3] == ["manifest", "config", "out"]
    assert next(iter(inspect.signature(wl.explain).parameters)) == "bundle"
