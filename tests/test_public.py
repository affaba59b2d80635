"""The public face: its names, that they stay lazy, and that verbs are callable beside packages of their name."""

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
    code = (
        "import whichland, sys; print([m for m in ('torch', 'timm', 'polars', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("verb", ["train", "evaluate", "explain", "study", "serve"])
def test_a_verb_stays_callable_after_its_package_was_imported(verb: str) -> None:
    homes = {
        "train": "run",
        "evaluate": "report",
        "explain": "explanation",
        "study": "study",
        "serve": "server",
    }
    home = homes[verb]
    code = (
        f"import whichland.{verb}.{home}, whichland as wl\n"
        f"try: wl.{verb}()\nexcept TypeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"{verb}() missing" in done.stdout, done.stderr
