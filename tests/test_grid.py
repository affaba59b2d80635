"""Grids: lists become axes, cells keep every setting, equal settings are one run, errors name their place."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from whichland.config import build
from whichland.errors import UserError
from whichland.manifest import Manifest
from whichland.model.families import SIXTEEN
from whichland.studies import grid as grids
from whichland.studies.grid import Grid, read_grid
from whichland.training.config import TrainConfig

RECIPES = Path(__file__).resolve().parent.parent / "recipes"


def manifest(**columns: object) -> Manifest:
    values = {"image_id": ["a", "b"], "country": ["FR", "JP"], "split": ["train", "test"], "rank": [0, None]}
    return Manifest(pl.DataFrame(values | columns))


def read(tmp_path: Path, text: str, table: Manifest | None = None) -> Grid:
    file = tmp_path / "grid.toml"
    file.write_text(text, encoding="utf-8")
    return read_grid(file, table or manifest())


TWO = """
[train]
weights = "none"
head = [32, 16]
[grid]
arch = ["test_resnet", "test_vit"]
photos = [4, 8, 16]
seed = [0, 1]
"""


def test_every_combination_is_a_cell_with_all_settings(tmp_path: Path) -> None:
    grid = read(tmp_path, TWO)
    assert len(grid.cells) == 12
    assert grid.axes == ("arch", "photos", "seed")
    cell = grid.cells[3]
    assert cell.config == TrainConfig(arch="test_resnet", weights="none", head=(32, 16), photos=8, seed=1)
    assert (cell.model, cell.axes) == ("test_resnet", {"arch": "test_resnet", "photos": 8, "seed": 1})
    assert len({cell.name for cell in grid.cells}) == 12


def test_tables_change_several_settings_and_name_a_model(tmp_path: Path) -> None:
    grid = read(
        tmp_path,
        """
        title = "Heads"
        [[grid]]
        lr = [0.001, 0.01]
        [[grid.model]]
        name = "small"
        tier = "tiny"
        arch = "test_resnet"
        size = 64
        [[grid]]
        [[grid.model]]
        arch = "resnet18.a1_in1k"
        """,
    )
    assert [cell.model for cell in grid.cells] == ["small, lr 0.001", "small, lr 0.01", "arch=resnet18.a1_in1k"]
    assert grid.cells[0].config.size == 64
    assert [cell.tier for cell in grid.cells] == ["tiny", "tiny", "tiny"], "the last is known by its arch"
    assert grid.cells[2].family == "ResNet"
    assert grid.title == "Heads"


def test_equal_settings_are_one_run(tmp_path: Path) -> None:
    grid = read(tmp_path, '[[grid]]\narch=["test_vit"]\nseed=[0, 1]\n[[grid]]\narch=["test_vit"]\nlr=[0.001]\n')
    assert (len(grid.cells), grid.repeated) == (2, 1), "lr 0.001 is the default, so the last is the first"


def test_a_run_is_another_where_a_default_data_or_weights_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '[grid]\narch=["test_vit"]\n[train]\nweights="w.safetensors"\n'
    monkeypatch.chdir(tmp_path)
    Path("w.safetensors").write_bytes(b"one")
    key = read(tmp_path, text).cells[0].key
    assert read(tmp_path, text).cells[0].key == key
    assert read(tmp_path, text + 'cache="elsewhere"\n').cells[0].key == key, "a cache changes no result"
    Path("w.safetensors").rename("moved.safetensors")
    assert read(tmp_path, text.replace("w.safe", "moved.safe")).cells[0].key == key
    Path("moved.safetensors").write_bytes(b"two")
    assert read(tmp_path, text.replace("w.safe", "moved.safe")).cells[0].key != key
    assert read(tmp_path, text, manifest(rank=[1, None])).cells[0].key != read(tmp_path, text).cells[0].key
    before = read(tmp_path, text).cells[0].key
    changed = lambda *args: replace(build(*args), ema=0.5)  # noqa: E731 - a default that has moved
    monkeypatch.setattr(grids, "build", changed)
    assert read(tmp_path, text).cells[0].key != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[grids]\n", "unknown table or value 'grids'"),
        ('[grid]\narch = "test_vit"\n', "grid: arch: an axis is a list"),
        ("[grid]\narch = []\n", "an axis needs a value"),
        ("[grid]\nrates = [1]\n", "grid: unknown setting 'rates'"),
        ("[grid]\nlr = [1, 0]\n", "lr 0.0: give a number above 0"),
        ('[[grid]]\n[[grid.m]]\nname="a"\nlr=1.0\n[[grid.m]]\nname="a"\nlr=2.0\n', "give the tables of an axis a name"),
    ],
)
def test_what_is_no_grid_is_said_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, text)


def test_photos_need_ranks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="whichland data balance"):
        read(tmp_path, TWO, Manifest(manifest().frame.drop("rank")))


def test_the_full_grid_is_that_of_the_write_up() -> None:
    cells = read_grid(RECIPES / "seed000.toml", manifest()).cells
    assert len(cells) == 48
    wanted = {(m.family, m.tier, m.arch, photos) for m in SIXTEEN for photos in (100, 200, 300)}
    assert {(cell.family, cell.tier, cell.config.arch, cell.config.photos) for cell in cells} == wanted
    assert {(c.config.size, c.config.epochs, c.config.freeze) for c in cells} == {(224, 101.0, "backbone:1,none")}


def test_settings_of_every_cell_may_be_in_tables_or_for_now_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grouped = '[train.model]\nweights = "none"\n[train.run]\nworkers = 1\n[grid]\nseed = [0, 1]\n'
    old = '[train]\nweights = "none"\nworkers = 1\n[grid]\nseed = [0, 1]\n'
    cells = read(tmp_path, grouped).cells
    assert capsys.readouterr().err == ""
    assert read(tmp_path, old).cells == cells
    assert "write [model] weights; [run] workers" in capsys.readouterr().err


def test_the_grid_for_two_cores_is_one() -> None:
    grid = read_grid(RECIPES / "seed000-cpu.toml", manifest())
    assert len(grid.cells) == 48
    assert {cell.config.photos for cell in grid.cells} == {25, 50, 100}
