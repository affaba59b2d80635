"""The recipes: each says how it is run and gives settings and a model, and so does each cell of a grid."""

from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from whichland.cli.commands import root
from whichland.config import build, read_settings, read_toml
from whichland.errors import UserError
from whichland.manifest import Manifest, write
from whichland.model.backbone import create
from whichland.model.families import SIXTEEN
from whichland.model.head import classifier_name
from whichland.studies.grid import cell_settings
from whichland.training.config import TrainConfig

ROOT = Path(__file__).resolve().parent.parent
FILES = [f for f in sorted((ROOT / "recipes").glob("*.toml")) if "grid" not in read_toml(f)]  # not the studies


GRIDS = [f for f in sorted((ROOT / "recipes").glob("*.toml")) if f not in FILES]
CELLS = [f"{m.family}-{m.tier}-{photos}".lower() for m in SIXTEEN for photos in (100, 200, 300)]


def settings_of(file: Path) -> TrainConfig:
    return build(TrainConfig, read_settings(TrainConfig, file), file.name)


def test_the_default_recipe_is_what_training_does_without_one() -> None:
    assert settings_of(ROOT / "recipes" / "default.toml") == TrainConfig()


def test_every_cell_of_the_dash_cam_write_up_has_a_name() -> None:
    cells = [build(TrainConfig, cell_settings("seed000", name), name) for name in CELLS]
    wanted = [(member.arch, photos) for member in SIXTEEN for photos in (100, 200, 300)]
    assert [(cell.arch, cell.photos) for cell in cells] == wanted


def test_a_cell_that_does_not_exist_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="seed000:vit-smal-300: the grid has no such cell; near: vit-small-300"):
        cell_settings("seed000", "vit-smal-300")


def test_no_recipe_is_written_in_the_old_form(capsys: pytest.CaptureFixture[str]) -> None:
    for file in FILES:
        settings_of(file)
    for grid in GRIDS:
        with pytest.raises(UserError, match="no such cell"):
            cell_settings(str(grid), "none")
    assert capsys.readouterr().err == ""


def test_every_row_of_the_street_view_write_up_has_a_recipe() -> None:
    rows = [settings_of(ROOT / "recipes" / f"streetview-resnet50-{row}.toml") for row in range(1, 8)]
    assert [(row.head_after, row.head) for row in rows] == [
        ("logits", ()),
        ("logits", (300,)),
        ("features", (1024, 512)),
        ("features", (1024, 512)),
        ("features", (1024, 512, 256)),
        ("logits", (300,)),
        ("logits", (300,)),
    ]
    assert [(row.lr, row.lr_end, row.epochs) for row in rows] == [
        (1e-3, 1e-6, 3), (1e-4, 1e-6, 5), (1e-4, 1e-5, 4), (1e-4, 1e-5, 3), (1e-4, 1e-5, 2.5),
        (1e-4, 1e-6, 3), (1e-4, 1e-6, 2),
    ]  # fmt: skip
    assert [row.size for row in rows] == [(512, 1188)] * 5 + [(256, 594), (392, 910)]
    assert [row.freeze for row in rows] == ["front:2,none", *["front"] * 4, "auto", "auto"]
    assert [row.weights for row in rows] == ["hub"] * 5 + ["none"] * 2


@pytest.mark.parametrize("file", GRIDS, ids=lambda file: file.stem)
def test_a_grid_says_how_it_is_run(file: Path) -> None:
    assert f"whichland study recipes/{file.name}" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_gives_settings_and_a_model_and_says_how_it_is_run(file: Path) -> None:
    assert f"--recipe recipes/{file.name}" in file.read_text(encoding="utf-8")
    config = settings_of(file)
    assert head_on_the_meta_device(config.arch, config.size, config.head, config.head_after)[-1] == 5


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_gives_a_model(name: str) -> None:
    config = build(TrainConfig, cell_settings("seed000", name), name)
    assert head_on_the_meta_device(config.arch, config.size, config.head, config.head_after)[-1] == 5


@cache
def head_on_the_meta_device(arch: str, size: int | tuple[int, int], head: tuple[int, ...], after: str) -> list[int]:
    """Widths of the linear layers of the head for five countries."""
    with torch.device("meta"):
        model = create(arch, 5, weights="none", head=head, head_after=after, size=size).model  # type: ignore[arg-type]
    layers = model.get_submodule(classifier_name(model)).modules()
    widths = [layer.out_features for layer in layers if isinstance(layer, torch.nn.Linear)]
    assert widths == [*([1000] if after == "logits" else []), *head, 5]
    return widths


@pytest.mark.parametrize("name", ["seed000:vit-tiny-100", "streetview-resnet50-1"])
def test_a_recipe_runs_by_name_and_flags_beside_it_win(tmp_path: Path, name: str) -> None:
    generator = np.random.default_rng(0)
    rows = []
    for i in range(25):
        path = tmp_path / f"{i}.png"
        Image.fromarray(generator.integers(0, 256, (40, 90, 3), dtype=np.uint8)).save(path)
        code, split = ("AU", "BR", "DE", "JP", "US")[i % 5], "val" if i > 19 else "train"
        rows.append({"image_id": f"t/{i:02}", "uri": str(path), "country": code, "split": split, "rank": i // 5})
    frame = pl.DataFrame(rows).with_columns(source=pl.lit("t"), drop_reason=pl.lit(None, dtype=pl.String))
    manifest, out = write(Manifest(frame), tmp_path / "m.parquet"), tmp_path / "run"
    smaller = ["--arch", "test_resnet", "--weights", "none", "--size", "32x74", "--test-size", "32x74"]
    smaller += ["--batch-size", "5", "--epochs", "3"]
    recipe = ["--recipe", name, "--out", str(out)]
    root()(["train", str(manifest), *recipe, *smaller], prog_name="whichland", standalone_mode=False)
    run = settings_of(out / "config.toml")
    if ":" in name:
        given = build(TrainConfig, cell_settings(*name.split(":")), name)
    else:
        given = settings_of(ROOT / "recipes" / f"{name}.toml")
    assert (run.arch, run.weights, run.size, run.epochs) == ("test_resnet", "none", (32, 74), 3)
    assert (run.freeze, run.head, run.head_after, run.lr) == (given.freeze, given.head, given.head_after, given.lr)
    assert (out / "bundle" / "model.safetensors").is_file()
