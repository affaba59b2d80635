"""Settings of training that cannot be meant are refused; sizes may be one side or two, in TOML and as a flag."""

from pathlib import Path

import pytest

from whichland.cli.flags import flags
from whichland.config import build, read_toml, to_toml
from whichland.errors import UserError
from whichland.training.config import TrainConfig, height_width


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"freeze": "fornt"}, "'fornt' is not one of auto, none, backbone, front"),
        ({"size": (224, 224, 3)}, "give one side in pixels, or height and width"),
        ({"size": 0}, "size 0: give 1 or more"),
        ({"test_size": (0, 10)}, "test_size"),
        ({"epochs": 0.0}, "epochs 0.0: give a number above 0"),
        ({"accumulate": 0}, "accumulate 0: give 1 or more"),
        ({"smoothing": 1.5}, "smoothing 1.5: give a share from 0 to 1"),
        ({"layer_decay": 1.2}, "layer_decay 1.2: give a share above 0, at most 1"),
        ({"mixup": -0.1}, "mixup -0.1: give 0 or more"),
        ({"lr": 1e-4, "lr_end": 1e-3}, "lr_end 0.001: give a rate no higher than lr"),
        ({"lr_end": 0.0}, "lr_end 0.0: give a number above 0"),
        ({"schedule": "exponential"}, "give lr_end"),
        ({"balance": "class", "weighting": "none"}, "balance class acts through weighting"),
        ({"workers": 0}, "workers 0: give 1 or more"),
        ({"photos": 0}, "photos 0: give 1 or more"),
        ({"brightness": -0.1}, "brightness -0.1: give a share"),
        ({"head": (512, 0)}, "head 512,0: give 1 or more"),
        ({"countries": ("FR", "FR")}, "countries FR,FR: name each once"),
        ({"seed": -1}, "seed -1: give 0 to 2,147,483,647"),
        ({"smoothing": 0.0, "smoothing_by": "distance"}, "smoothing_by distance says who gets the share"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        TrainConfig(**settings)  # type: ignore[arg-type]


def test_a_size_is_one_side_or_two_in_toml(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text("size = [662, 1536]\ntest_size = 256\n")
    config = build(TrainConfig, read_toml(file), "recipe")
    assert (config.size, config.test_size) == ((662, 1536), 256)
    assert height_width(config.size) == (662, 1536)
    assert height_width(256) == (256, 256)
    file.write_text(to_toml(config))
    assert build(TrainConfig, read_toml(file), "recipe") == config
    with pytest.raises(UserError, match=r"size: expected int, not 'large'"):
        build(TrainConfig, {"size": "large"}, "recipe")


def test_a_size_is_one_side_or_two_as_a_flag() -> None:
    seen: list[TrainConfig] = []

    @flags(TrainConfig)
    def command(config: TrainConfig) -> None:
        """Take settings."""
        seen.append(config)

    import typer

    app = typer.Typer(add_completion=False)
    app.command()(command)
    run = typer.main.get_command(app)
    run.main(["--size", "662x1536", "--test-size", "256"], standalone_mode=False)
    assert (seen[0].size, seen[0].test_size) == ((662, 1536), 256)
    for wrong in ("large", "662x", "1.5"):
        with pytest.raises(UserError, match="is no size such as 224 or 662x1536"):
            run.main(["--size", wrong], standalone_mode=False)


def test_settings_that_are_gone_are_read_where_they_were_off(tmp_path: Path) -> None:
    recipe = tmp_path / "old.toml"
    recipe.write_text("[run]\nshard = false\nown_photos = false\nseed = 3\n")
    assert build(TrainConfig, read_toml(recipe), str(recipe)).seed == 3
    recipe.write_text("[run]\nshard = true\n")
    with pytest.raises(UserError, match="unknown setting 'shard'"):
        build(TrainConfig, read_toml(recipe), str(recipe))
