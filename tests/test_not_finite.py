"""A bundle whose outputs are no numbers: every command says so in one line, and leaves nothing behind."""

from pathlib import Path

import polars as pl
import pytest
from safetensors.torch import load_file, save_file

import forked
from curated import measured
from tiny_bundle import LABELS, make_bundle, make_photos
from whichland.errors import UserError
from whichland.manifest import write
from whichland.model.export import export
from whichland.model.model import load

PHOTOS = 14


@pytest.fixture(scope="module", params=[float("nan"), float("inf")], ids=["NaN", "infinite"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, their table, and a bundle of which one bias is no finite number."""
    folder = tmp_path_factory.mktemp("place")
    weights = make_bundle(folder / "bundle") / "model.safetensors"
    tensors = load_file(weights)
    tensors["fc.bias"][3] = request.param
    save_file(tensors, weights, metadata={"format": "pt"})
    paths = make_photos(folder / "photos", PHOTOS)
    made = measured(PHOTOS, countries=LABELS, uri=[str(path) for path in paths], drop_reason=[None])
    split = pl.Series("split", ["val", "test"] * (PHOTOS // 2))
    write(made.with_step("split", made.frame.with_columns(split)), folder / "photos.parquet")
    return folder


@pytest.mark.parametrize(
    "words",
    [
        "predict bundle photos",
        "predict bundle photos --json",
        "predict bundle photos -o out.csv",
        "predict bundle photos -o out.jsonl",
        "predict bundle photos -o out.parquet",
        "predict bundle photos -o out.html",
        "explain bundle photos/photo_0000.jpg -o out",
        "explain bundle photos/photo_0000.jpg -o out --json",
        "evaluate bundle photos.parquet --out out",
        "evaluate bundle photos.parquet --json",
        "calibrate bundle photos.parquet",
        "calibrate bundle photos.parquet --json",
    ],
)
def test_the_command_ends_with_one_line(place: Path, words: str) -> None:
    done = forked.run(["-m", "whichland", *words.split()], cwd=place)
    assert done.returncode == 2, done.stderr
    assert "not finite numbers" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    written = {path.name for path in place.iterdir() if not path.name.endswith(".part")}  # of runs to be resumed
    assert written - {"out"} == {"bundle", "photos", "photos.parquet"}
    assert not [
        path for path in (place / "out").rglob("*") if path.suffix in (".json", ".html", ".png", ".jpg", ".csv")
    ]
    assert "calibration" not in (place / "bundle" / "whichland.json").read_text(encoding="utf-8")


def test_nothing_is_exported_of_it_and_the_python_says_so(place: Path) -> None:
    with pytest.raises(UserError, match="not finite numbers"):
        export(place / "bundle")
    with pytest.raises(UserError, match="not finite numbers"):
        load(place / "bundle").predict(str(place / "photos" / "photo_0000.jpg"))
