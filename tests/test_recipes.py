"""The recipes: those made by scripts/recipes.py are its own, and every one gives settings and a model."""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from whichland.config import build, read_toml
from whichland.model.backbone import create
from whichland.model.families import SIXTEEN
from whichland.model.head import classifier_name
from whichland.train.config import TrainConfig

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "recipes").glob("*.toml"))


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("recipes", ROOT / "scripts" / "recipes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    recipes: Callable[[], dict[str, str]] = module.recipes
    return recipes()


def settings_of(file: Path) -> TrainConfig:
    return build(TrainConfig, read_toml(file), file.name)


def test_the_write_ups_recipes_are_those_of_the_script(made: dict[str, str]) -> None:
    written = {
        f.name: f.read_text(encoding="utf-8") for f in FILES if f.name.startswith(("dashcam", "street"))
    }
    assert written == made, "run scripts/recipes.py"


def test_every_cell_of_the_write_ups_has_a_recipe(made: dict[str, str]) -> None:
    cells = {(settings_of(f).arch, settings_of(f).photos) for f in FILES if f.name.startswith("dashcam")}
    assert cells == {(member.arch, photos) for member in SIXTEEN for photos in (100, 200, 300)}
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
    assert [row.freeze for row in rows] == ["front:2,none", *["front"] * 4, "none", "none"]
    assert [row.weights for row in rows] == ["hub"] * 5 + ["none"] * 2


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_gives_settings_and_a_model_and_says_how_it_is_run(file: Path) -> None:
    assert f"--recipe recipes/{file.name}" in file.read_text(encoding="utf-8")
    config = settings_of(file)
    assert head_on_the_meta_device(config.arch, config.size, config.head, config.head_after)[-1] == 5


@cache
def head_on_the_meta_device(
    arch: str, size: int | tuple[int, int], head: tuple[int, ...], after: str
) -> list[int]:
    """Widths of the linear layers of the head for five countries."""
    with torch.device("meta"):
        model = create(arch, 5, weights="none", head=head, head_after=after, size=size).model  # type: ignore[arg-type]
    layers = model.get_submodule(classifier_name(model)).modules()
    widths = [layer.out_features for layer in layers if isinstance(layer, torch.nn.Linear)]
    assert widths == [*([1000] if after == "logits" else []), *head, 5]
    return widths
