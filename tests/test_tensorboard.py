"""Event files for TensorBoard: written where it is installed, refused in one line where it is not."""

from pathlib import Path
from typing import Any

import pytest

from curated import measured
from whichland.curate.clean import clean
from whichland.curate.split import split
from whichland.errors import UserError
from whichland.training import run_log
from whichland.training.config import TrainConfig
from whichland.training.run import train

STEP = {"kind": "step", "loss": 1.5, "lr": 1e-3, "seconds": 3.0}


def test_without_the_package_training_says_which_extra_before_it_writes_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "find_spec", lambda name: None)
    photos = split(clean(measured(30)))
    with pytest.raises(UserError, match=r".* -m pip install -e '.*\[tensorboard\]'") as raised:
        train(photos, TrainConfig(tensorboard=True), tmp_path / "run")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_steps_and_epochs_stand_at_the_number_of_steps_done(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []

    class Writer:
        def add_scalar(self, tag: str, value: float, at: int) -> None:
            written.append((tag, value, at))

        def flush(self) -> None:
            pass

    events = object.__new__(run_log.EventFiles)
    events.steps, events.done, events.writer = 10, 0, Writer()  # type: ignore[assignment]
    events({**STEP, "epoch": 1, "step": 4})
    epoch: dict[str, Any] = {"kind": "epoch", "epoch": 2, "train_loss": 1.2, "val_macro_f1": 0.4}
    events(epoch)
    assert written == [
        ("step/loss", 1.5, 15),
        ("step/lr", 1e-3, 15),
        ("step/seconds", 3.0, 15),
        ("train/loss", 1.2, 15),  # the epoch ended there
        ("val/macro_f1", 0.4, 15),
    ]


@pytest.mark.parametrize("done", [5, 0])
def test_a_resumed_run_replaces_what_it_does_again(tmp_path: Path, done: int) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = run_log.EventFiles(tmp_path, steps=10, done=0)
    for step in range(8):
        first({**STEP, "epoch": 0, "step": step})
    first.close()
    again = run_log.EventFiles(tmp_path, steps=10, done=done)  # 0: stopped before its first checkpoint
    for step in range(done, 10):
        again({**STEP, "loss": 1.0, "epoch": 0, "step": step})
    again.close()
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    scalars = read.Scalars("step/loss")
    assert [scalar.step for scalar in scalars] == list(range(1, 11))
    assert [scalar.value for scalar in scalars] == [1.5] * done + [1.0] * (10 - done)
