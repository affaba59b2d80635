"""A configuration class as flags of a command: every kind of field, recipes, and what wins over what."""

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer

from whichland.cli.commands import Command
from whichland.cli.flags import flags
from whichland.config import TOML_ONLY, Config
from whichland.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One field of every kind."""

    arch: Annotated[str, "which model"] = "resnet18"
    batch_size: Annotated[int, "photos a step"] = 32
    rate: Annotated[float, "step"] = 1e-3
    flip: Annotated[bool, "mirror"] = False
    head_first: Annotated[bool, "head alone"] = True
    freeze: Annotated[Literal["none", "front"], "what rests"] = "none"
    head: Annotated[tuple[int, ...], "widths"] = ()
    countries: Annotated[tuple[str, ...], "codes"] = ("US", "NA")
    size: Annotated[int | None, "pixels"] = None
    model_args: Annotated[dict[str, Any], "more"] = field(default_factory=dict)


seen: list[tuple[Recipe, str, bool]] = []


@flags(Recipe, recipe=True)
def command(
    manifest: Annotated[str, typer.Argument(help="The table.")],
    config: Recipe,
    again: Annotated[bool, typer.Option("--again", help="Once more.")] = False,
) -> None:
    """Do something."""
    seen.append((config, manifest, again))


def call(*arguments: str) -> Recipe:
    app = typer.Typer(add_completion=False)
    app.command()(command)
    seen.clear()
    typer.main.get_command(app).main(["table.parquet", *arguments], standalone_mode=False)
    ((config, manifest, _),) = seen
    assert manifest == "table.parquet"
    return config


def test_without_flags_the_class_decides() -> None:
    assert call() == Recipe()
    assert seen[0][2] is False


def test_every_kind_of_flag() -> None:
    assert call(
        *("--arch", "vit", "--batch-size", "8", "--rate", "1", "--flip", "--no-head-first"),
        *("--freeze", "front", "--head", "512, 256", "--countries", "US,NA", "--size", "96"),
        *("--model-args", "pad_type=same,depth=2,wide=true", "--again"),
    ) == Recipe(
        arch="vit",
        batch_size=8,
        rate=1.0,
        flip=True,
        head_first=False,
        freeze="front",
        head=(512, 256),
        countries=("US", "NA"),
        size=96,
        model_args={"pad_type": "same", "depth": 2, "wide": True},
    )
    assert seen[0][2] is True


def test_an_empty_list_is_not_the_default() -> None:
    assert call("--countries", "").countries == ()


def test_a_flag_wins_over_the_recipe_and_the_recipe_over_the_class(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('arch = "swin"\nbatch_size = 4\nhead = [7]\nhead_first = false\n', encoding="utf-8")
    made = call("--recipe", str(recipe), "--batch-size", "2")
    assert made == Recipe(arch="swin", batch_size=2, head=(7,), head_first=False)
    assert call("--recipe", str(recipe), "--head-first").head_first is True


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--head", "512,many"], "--head"), (["--freeze", "some"], "--freeze"), (["--recipe", "none.toml"], "none.toml")],
)
def test_a_wrong_value_is_one_line(arguments: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says) as raised:
        call(*arguments)
    assert "\n" not in str(raised.value)


def test_a_recipe_with_an_unknown_setting_names_file_and_setting(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text("epoch = 3\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"r\.toml.*'epoch'"):
        call("--recipe", str(recipe))


def test_help_shows_defaults_and_choices(capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(command)
    typer.main.get_command(app).main(["--help"], standalone_mode=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert "--batch-size <int> photos a step [default: 32]" in shown
    assert "--flip / --no-flip mirror [default: off]" in shown
    assert "--freeze none|front what rests [default: none]" in shown
    assert "[default: US,NA]" in shown
    assert "--model-args NAME=VALUE,… more" in shown
    assert "{}" not in shown
    assert "--config" not in shown


@dataclass(frozen=True, kw_only=True)
class Speed(Config):
    """A group."""

    group = "speed"

    rate: Annotated[float, "step"] = 1.0
    decay: Annotated[float | None, "by layer", TOML_ONLY] = None
    mirror: Annotated[bool, "left is right", TOML_ONLY] = False
    kinds: Annotated[tuple[str, ...], "which", TOML_ONLY] = ()


@dataclass(frozen=True, kw_only=True)
class Grouped(Speed):
    """A group, and a setting of none."""

    seed: Annotated[int, "which"] = 0


given: list[Grouped] = []


@flags(Grouped, variables="TEST_")
def all_flags(config: Grouped) -> None:
    """Do something."""
    given.append(config)


@flags(Grouped, recipe=True, every=False)
def no_flags(config: Grouped) -> None:
    """Do something."""
    given.append(config)


def run_grouped(function: Any, *arguments: str) -> Grouped:
    given.clear()
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(cls=Command)(function)
    typer.main.get_command(app).main(list(arguments), standalone_mode=False)
    return given[0]


def test_set_gives_any_setting_by_its_name_with_or_without_its_table() -> None:
    words = ("--rate", "2", "--set", "speed.decay=0.5", "--set", "mirror=true", "--set", "kinds=a,b")
    assert run_grouped(all_flags, *words) == Grouped(rate=2.0, decay=0.5, mirror=True, kinds=("a", "b"))
    assert run_grouped(no_flags, "--set", "seed=3", "--set", "rate=2") == Grouped(seed=3, rate=2.0)


def test_a_file_gives_settings_and_set_wins(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("seed = 4\n[speed]\ndecay = 0.5\nrate = 3.0\n")
    assert run_grouped(all_flags, "--settings", str(file), "--rate", "2") == Grouped(seed=4, decay=0.5, rate=2.0)
    assert run_grouped(no_flags, "--recipe", str(file), "--set", "rate=2") == Grouped(seed=4, decay=0.5, rate=2.0)


def test_a_setting_without_a_flag_is_still_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_DECAY", "0.25")
    monkeypatch.setenv("TEST_SEED", "7")
    assert run_grouped(all_flags) == Grouped(decay=0.25, seed=7)


@pytest.mark.parametrize(
    ("function", "arguments", "says"),
    [
        (all_flags, ["--decay", "0.5"], "--decay is no flag here: give --set speed.decay=VALUE"),
        (no_flags, ["--rate=2"], "--rate is no flag here: give --set speed.rate=VALUE"),
        (all_flags, ["--set", "decay"], "--set decay: write NAME=VALUE"),
        (all_flags, ["--set", "pace=1"], "--set pace=1: unknown setting; known are seed, speed.rate"),
        (all_flags, ["--set", "decay=much"], "flags: decay: expected float, not 'much'"),
    ],
)
def test_what_set_cannot_mean_is_one_line(function: Any, arguments: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        run_grouped(function, *arguments)


def test_help_has_a_heading_for_each_group(capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(IndexError):
        run_grouped(all_flags, "--help")
    shown = capsys.readouterr().out
    assert "\nSpeed:\n  --rate <float>" in shown
    assert shown.index("Options:") < shown.index("--seed") < shown.index("Speed:")
    assert "--decay" not in shown


def test_the_help_of_train_fits_two_screens() -> None:
    environment = {**os.environ, "COLUMNS": "100"}
    command = [sys.executable, "-m", "whichland", "train", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.splitlines()
    assert len(shown) <= 100
    assert max(map(len, shown)) <= 100
