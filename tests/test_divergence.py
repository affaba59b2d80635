"""Training whose loss is no number ends at once, in one line that says what to change."""

import json
from pathlib import Path

import pytest

from tinted import tinted
from whichland.errors import UserError
from whichland.training.config import TrainConfig
from whichland.training.run import train


def test_a_loss_that_is_no_number_ends_training_in_one_line(tmp_path: Path) -> None:
    settings = {"arch": "test_resnet", "weights": "none", "size": 64, "test_size": 64, "batch_size": 8}
    wild = TrainConfig(**settings, lr=1e30, epochs=9, precision="fp32")  # type: ignore[arg-type]
    with pytest.raises(
        UserError, match=r"epoch 1, step \d: the loss is nan .* a lower --lr .* --set optimisation\.clip=1"
    ) as raised:
        train(tinted(tmp_path), wild, tmp_path / "run")
    assert "\n" not in str(raised.value)
    *before, last = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert last["loss"] != last["loss"]
    assert len(before) < 3
    assert not (tmp_path / "run" / "bundle").exists()
    assert "Ended by an error" in (tmp_path / "run" / "index.html").read_text()


def test_weights_that_are_no_numbers_after_the_last_step_make_no_bundle(tmp_path: Path) -> None:
    settings = {"arch": "test_resnet", "weights": "none", "size": 64, "test_size": 64, "batch_size": 256}
    wild = TrainConfig(**settings, lr=1e30, epochs=1, precision="fp32")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"validation after epoch 1: the loss is nan"):
        train(tinted(tmp_path), wild, tmp_path / "run")  # one step, whose own loss is a number
    assert not (tmp_path / "run" / "bundle").exists()
