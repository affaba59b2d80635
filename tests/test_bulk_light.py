"""Prediction from an exported bundle where torch, timm and the like cannot be imported."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tiny_bundle import LABELS, make_bundle, make_photos
from whichland.model.calibration import fit
from whichland.model.export import ExportConfig, export
from whichland.model.model import load

HEAVY = ("torch", "torchvision", "timm", "accelerate", "sklearn", "matplotlib", "safetensors", "onnx", "onnxscript")

# Runs the command line several times over, with the heavy packages out of reach.
SCRIPT = f"""
import sys
sys.modules.update(dict.fromkeys({HEAVY!r}))
from whichland.cli.commands import root
bundle, photos, folder = sys.argv[1:]
for name, flags in (
    ("a.parquet", ["--sets", "90", "--check-exif", "--pin"]),
    ("a.html", ["--panorama"]),
    ("a.geojson", []),
):
    code = root()(["predict", bundle, photos, "-o", f"{{folder}}/{{name}}", *flags], standalone_mode=False)
    assert not code, (name, code)
assert all(sys.modules[name] is None for name in {HEAVY!r})
"""

# The same without Polars, which only tables need: answers printed, then by the service, then a table asked for.
LIGHT = f"""
import asyncio, sys
from pathlib import Path
sys.modules.update(dict.fromkeys({(*HEAVY, "polars")!r}))
from whichland.cli.commands import root
bundle, photo, folder = sys.argv[1:]
assert not root()(["predict", bundle, photo], standalone_mode=False)
assert "shapely" not in sys.modules  # one answer would wait for it in vain
from whichland.serving.app import create_app
from whichland.serving.service import open_service
assert not root()(["predict", bundle, photo, "--json", "--check-exif", "--pin"], standalone_mode=False)
service = open_service(bundle)
create_app(service)
print(asyncio.run(service.answer(Path(photo).read_bytes())).label)
service.close()
assert all(sys.modules[name] is None for name in {(*HEAVY, "polars")!r})
sys.argv = ["whichland", "predict", bundle, photo, "-o", f"{{folder}}/a.csv"]
from whichland.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    kept = fit(random.normal(size=(200, len(LABELS))), random.integers(0, len(LABELS), 200), [None] * 200)
    made = make_bundle(tmp_path_factory.mktemp("run") / "bundle", temperature=kept.temperature, calibration=kept.facts)
    export(made, None, ExportConfig())
    return made


def test_everything_works_without_torch_and_gives_the_same_odds(bundle: Path, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 6)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, bundle, photos[0].parent, tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    table = pl.read_parquet(tmp_path / "a.parquet")
    wanted = np.stack([answer.probabilities for answer in load(bundle, engine="torch").predict(photos)])
    np.testing.assert_allclose(table["probability"], wanted.max(axis=1), atol=1e-4)
    assert table["country"].to_list() == [LABELS[at] for at in wanted.argmax(axis=1)]
    assert (tmp_path / "a.html").stat().st_size > 10_000
    assert (tmp_path / "a.geojson").read_text().count('"Point"') == 6


def test_polars_is_wanted_for_tables_alone(bundle: Path, tmp_path: Path) -> None:
    (photo,) = make_photos(tmp_path / "photos", 1)
    done = subprocess.run([sys.executable, "-c", LIGHT, bundle, photo, tmp_path], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    _, printed, served = done.stdout.splitlines()
    assert json.loads(printed)["country"] == served == load(bundle).predict(photo).label
    last = done.stderr.splitlines()[-1]
    assert last.startswith("whichland: this needs the package polars: ")
    assert "pip install" in last
    assert "[tables]" in last
