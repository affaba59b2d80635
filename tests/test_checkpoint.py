"""When checkpoints are written, and that the curve begins where training begins."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from tinted import tinted
from whichland.errors import UserError
from whichland.training.checkpoint import Pace
from whichland.training.config import FEW, TrainConfig, settled
from whichland.training.run import prepare, train


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinted(tmp_path_factory.mktemp("photos"), 32)


def config(**changes: Any) -> TrainConfig:
    small: dict[str, Any] = {"arch": "test_resnet", "weights": "none", "size": 32, "test_size": 32, "batch_size": 8}
    return TrainConfig(**(small | {"precision": "fp32", "epochs": 2, "workers": 1} | changes))


def test_writing_takes_a_small_share_of_the_time_and_never_waits_longer_than_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    pace = Pace(minutes=5)
    assert pace.due(epoch_ends=True)  # the first epoch's end: what it costs is not known yet
    assert not pace.due(epoch_ends=False)
    pace.wrote(cost=0.5)
    due = {}
    for after in (1, 24, 26, 299, 301):
        now[0] = 100.0 + after
        due[after] = (pace.due(epoch_ends=True), pace.due(epoch_ends=False))
    assert due == {1: (False, False), 24: (False, False), 26: (True, False), 299: (True, False), 301: (True, True)}
    pace.wrote(cost=20.0)  # a slow disk: 2 % of the time would be every thousand seconds
    now[0] += 301
    assert pace.due(epoch_ends=True)


def test_short_epochs_write_few_checkpoints_and_the_last_is_written(manifest: Path, tmp_path: Path) -> None:
    fit = prepare(manifest, config(freeze="backbone", epochs=30), tmp_path / "run").fit
    written: list[tuple[int, int]] = []
    real = fit.pace.wrote

    def note(cost: float) -> None:
        written.append((fit.position.epoch, fit.position.step))
        real(max(cost, 0.1))

    fit.pace.wrote = note  # type: ignore[method-assign]
    fit.run()
    assert written[0] == (1, 0)
    assert written[-1] == (30, 0)
    assert len(written) < 15
    assert torch.load(fit.checkpoint.file, weights_only=True)["position"]["epoch"] == 30


def test_minutes_also_pass_within_an_epoch(manifest: Path, tmp_path: Path) -> None:
    fit = prepare(manifest, config(epochs=1, checkpoint_minutes=1e-9), tmp_path / "run").fit
    seen: list[int] = []
    real = fit.pace.wrote

    def note(cost: float) -> None:
        seen.append(torch.load(fit.checkpoint.file, weights_only=True)["position"]["step"])
        real(cost)

    fit.pace.wrote = note  # type: ignore[method-assign]
    fit.run()
    assert seen == [1, 2, 3, 0]
    with pytest.raises(UserError, match="checkpoint_minutes 0"):
        config(checkpoint_minutes=0.0)


def test_with_few_photos_the_head_alone_learns_unless_all_is_asked_for(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    start = timm.create_model("test_resnet").state_dict()
    save_file(start, tmp_path / "w.safetensors")
    for freeze in ("auto", "none"):
        train(manifest, config(weights=str(tmp_path / "w.safetensors"), freeze=freeze), tmp_path / freeze)
    assert capsys.readouterr().err.count("fewer than 150 training photos: the head alone learns") == 1
    kept = {freeze: load_file(tmp_path / freeze / "bundle" / "model.safetensors") for freeze in ("auto", "none")}
    body = [name for name in start if name.endswith("conv1.weight")]
    assert body
    assert all(torch.equal(kept["auto"][name], start[name]) for name in body)
    assert not any(torch.equal(kept["none"][name], start[name]) for name in body)
    assert 'freeze = "auto"' in (tmp_path / "auto" / "config.toml").read_text()
    assert json.loads((tmp_path / "auto" / "bundle" / "whichland.json").read_text())["train"]["freeze"] == "backbone"
    tuned = config(weights=str(tmp_path / "w.safetensors"))
    assert (settled(tuned, FEW).freeze, settled(replace(tuned, weights="none"), 1).freeze) == ("none", "none")


@pytest.mark.parametrize("freeze", ["none", "backbone"])
def test_the_fitted_head_is_judged_before_the_first_step(manifest: Path, tmp_path: Path, freeze: str) -> None:
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    given = config(weights=str(tmp_path / "w.safetensors"), freeze=freeze, patience=5)
    train(manifest, given, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    first, *rest = lines
    assert (first["kind"], first["epoch"]) == ("epoch", 0)
    assert set(first) == {"kind", "epoch", "seconds", "val_loss", "val_top1", "val_macro_f1"}
    assert [line["epoch"] for line in rest if line["kind"] == "epoch"] == [1, 2]
    assert first["seconds"] < rest[0]["seconds"]
    html = (tmp_path / "run" / "index.html").read_text()
    assert "<dt>epoch</dt>" in html
    assert "<dd>2 of 2</dd>" in html
    kept = torch.load(tmp_path / "run" / "checkpoint" / "last.pt", weights_only=True)["position"]["best"]
    scores = [line["val_macro_f1"] for line in lines if line["kind"] == "epoch"]
    assert kept["val_macro_f1"] == max(scores)
