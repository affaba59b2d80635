"""The learning-rate finder: what it suggests, and that it leaves no trace."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import whichland as wl
from forked import torchrun
from tinted import tinted
from whichland.errors import UserError
from whichland.training.config import TrainConfig
from whichland.training.fit import Fit
from whichland.training.lr_finder import find_lr, suggest, sweep_rates
from whichland.training.run import prepare, train

SMALL = ("arch=test_resnet", "weights=none", "size=64", "test_size=64", "batch_size=8", "precision=fp32")
SET = [word for setting in SMALL for word in ("--set", setting)]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinted(tmp_path_factory.mktemp("photos"))


def config(**changes: object) -> TrainConfig:
    quick: dict[str, object] = {"arch": "test_resnet", "weights": "none", "size": 64, "test_size": 64}
    return TrainConfig(**(quick | {"batch_size": 8, "epochs": 2, "precision": "fp32"} | changes))  # type: ignore[arg-type]


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "step"]


def curve(rates: np.ndarray, noise: float = 0.01) -> np.ndarray:
    """A loss that falls from 3 to 1, by half at 1e-3, and rises steeply beyond 1e-1."""
    logs = np.log10(rates)
    fall = 3 - 2 / (1 + np.exp(-5 * (logs + 3)))
    rise = 4 * np.clip(logs + 1, 0, None) ** 2
    return fall + rise + np.random.default_rng(0).normal(0, noise, len(rates))


def test_the_suggestion_lies_in_the_middle_of_the_fall_and_the_steepest_where_it_is_steepest() -> None:
    rates = np.geomspace(1e-6, 1, 120)
    sweep = suggest(rates, curve(rates), complete=True)
    assert sweep.lr is not None
    assert sweep.steepest is not None
    assert sweep.lr == pytest.approx(1e-3, rel=0.15)
    assert sweep.steepest == pytest.approx(1e-3, rel=0.3)
    assert sweep.reason.startswith("valley: ")
    assert not sweep.diverged


def test_a_leap_at_the_end_does_not_move_the_suggestion() -> None:
    rates = np.geomspace(1e-6, 1, 120)
    leaping = curve(rates)
    leaping[-1] = 1e6
    plain, leapt = suggest(rates, curve(rates), complete=False), suggest(rates, leaping, complete=False)
    assert leapt.lr == pytest.approx(plain.lr, rel=0.05)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.random.default_rng(1).normal(1, 0.1, 100), "does not fall by more than it scatters"),
        (np.linspace(1, 2, 100), "does not fall by more than it scatters"),
        (np.array([1.0, 1.0, 1.0, np.nan]), "diverges at once: start the sweep below 1.0e-06"),
        (np.array([np.nan]), "diverges at once: start the sweep below 1.0e-06"),
    ],
)
def test_where_no_rate_can_be_suggested_one_line_says_why(given: np.ndarray, words: str, tmp_path: Path) -> None:
    sweep = suggest(np.geomspace(1e-6, 1, 100)[: len(given)], given, complete=len(given) == 100)
    assert sweep.lr is None
    assert sweep.steepest is None
    assert words in sweep.reason
    assert "\n" not in sweep.reason
    assert json.loads(json.dumps(sweep.numbers(), allow_nan=False))["lr"] is None
    sweep.save(tmp_path / "none.png", lr_now=1e-3)
    assert (tmp_path / "none.png").stat().st_size > 5000


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_losses_are_the_answer_is_a_rate_of_the_sweep_or_a_reason(seed: int) -> None:
    generator = np.random.default_rng(seed)
    count = int(generator.integers(1, 120))
    walk = 3 + np.cumsum(generator.normal(0, 0.2, count))
    walk[generator.random(count) < 0.01] = 1e9
    rates = np.geomspace(1e-6, 1, 120)[:count]
    sweep = suggest(rates, walk, complete=count == 120)
    assert sweep.reason
    if sweep.lr is not None:
        assert rates[0] <= sweep.lr <= rates[-1]
        assert sweep.steepest in rates


def test_a_loss_that_falls_to_the_end_says_that_the_sweep_is_short() -> None:
    rates = np.geomspace(1e-6, 1e-3, 60)
    sweep = suggest(rates, curve(rates), complete=True)
    assert sweep.lr is not None
    assert "still falls at 1.0e-03" in sweep.reason


@pytest.mark.parametrize("freeze", ["none", "front:1,none"])
def test_a_fit_after_a_sweep_is_the_fit_without(manifest: Path, tmp_path: Path, freeze: str) -> None:
    settings = config(freeze=freeze, head=(8,), ema=0.9)
    train(manifest, settings, tmp_path / "plain")
    ready = prepare(manifest, settings, tmp_path / "swept")
    random.seed(5)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    sweep = sweep_rates(ready.fit, steps=20)
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    assert len(set(sweep.losses.tolist())) > 10  # it did train something
    ready.fit.run()
    assert losses(tmp_path / "swept") == losses(tmp_path / "plain")


@pytest.mark.parametrize(("precision", "freeze"), [("bf16", "none"), ("fp32", "front")])
def test_a_sweep_between_and_after_epochs_changes_nothing(
    manifest: Path, tmp_path: Path, precision: str, freeze: str
) -> None:
    size = 32 if precision == "bf16" else 64  # which most CPUs compute slowly
    settings = config(precision=precision, freeze=freeze, ema=0.9, size=size, test_size=size)
    train(manifest, settings, tmp_path / "plain")
    fit = prepare(manifest, settings, tmp_path / "swept").fit
    swept: list[float] = []

    def sweep_once(line: dict[str, object]) -> None:
        if line["kind"] == "epoch" and line["epoch"] == 1:
            assert (fit.objective.frozen is not None) == (freeze == "front")  # stored activations in place of photos
            swept.extend(sweep_rates(fit, steps=20).losses)

    fit.watchers.append(sweep_once)
    fit.run()
    assert losses(tmp_path / "swept") == losses(tmp_path / "plain")
    assert len(swept) >= 6
    before = {name: tensor.clone() for name, tensor in fit.model.state_dict().items()}
    moments = json.dumps(_plain(fit), sort_keys=True)
    after = sweep_rates(fit, steps=20)
    assert all(torch.equal(before[name], tensor) for name, tensor in fit.model.state_dict().items())
    assert json.dumps(_plain(fit), sort_keys=True) == moments
    assert after.losses.tolist() == sweep_rates(fit, steps=20).losses.tolist()
    assert after.losses.max() > after.losses[0] * 1.2  # the copy moved, and not the model


def _plain(fit: Fit) -> dict[str, object]:
    """The optimizer's state as text."""
    state = fit.optimizer.state_dict()
    sums = {
        str(number): {name: float(value.sum()) for name, value in each.items()}
        for number, each in state["state"].items()
    }
    return {"state": sums, "groups": [{**group, "params": 0} for group in state["param_groups"]]}


def test_the_command_prints_a_rate_that_train_takes(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from whichland.cli.commands import root

    monkeypatch.chdir(tmp_path)
    flags = [*SET, "--out", "a/lr.png", "--steps", "40"]
    root()(["lr-find", str(manifest), *flags], prog_name="whichland", standalone_mode=False)
    said = capsys.readouterr()
    assert 1e-5 < float(said.out) < 1
    assert "valley: the middle of the fall" in said.err
    root()(["lr-find", str(manifest), *flags, "--json"], prog_name="whichland", standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert f"{told['lr']:.2g}\n" == said.out
    assert len(told["rates"]) == len(told["losses"]) == len(told["smoothed"])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]  # nothing else is left behind


def test_two_processes_sweep_as_one(manifest: Path, tmp_path: Path) -> None:
    fit = prepare(manifest, config(), None).fit
    one = sweep_rates(fit, steps=20)
    flags = [*SET, "--steps", "20", "--json"]
    two = ["-m", "whichland", "lr-find", manifest, *flags, "--out", tmp_path / "lr.png"]
    done = torchrun(2, two)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    np.testing.assert_allclose(told["losses"][:15], one.losses[:15], rtol=2e-2)


def test_what_batches_differ_by_is_not_in_the_losses(manifest: Path) -> None:
    fit = prepare(manifest, config(batch_size=4, head=(8,), dropout=0.5), None).fit
    sweep = sweep_rates(fit, steps=20, lowest=1e-12, highest=1e-11)
    assert np.ptp(sweep.losses) < 1e-4
    assert sweep.lr is None


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"lowest": 1.0, "highest": 0.1}, "from a lower rate to a higher one"),
        ({"highest": float("inf")}, "from a lower rate to a higher one, not from 1e-06 to inf"),
        ({"lowest": float("nan")}, "from a lower rate to a higher one"),
        ({"steps": 5}, "too few"),
    ],
)
def test_senseless_sweeps_are_refused_before_anything_is_read(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        find_lr("no such manifest", config(), **asked)


def test_from_python_a_manifest_and_settings_are_enough(manifest: Path, tmp_path: Path) -> None:
    import matplotlib

    shown_by = matplotlib.get_backend()
    sweep = wl.find_lr(manifest, config(), steps=40)
    swept = sweep_rates(prepare(manifest, config(), None).fit, steps=40)
    assert sweep.losses.tolist() == swept.losses.tolist()
    sweep.save(str(tmp_path / "a" / "lr.png"))
    assert (tmp_path / "a" / "lr.png").stat().st_size > 5000
    assert matplotlib.get_backend() == shown_by  # a notebook goes on showing pictures in its own way
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="choose another --out"):
        sweep.save(tmp_path / "file" / "lr.png")


def test_a_model_that_gives_no_numbers_is_not_taken_for_a_rate_that_is_too_high(manifest: Path) -> None:
    fit = prepare(manifest, config(), None).fit
    torch.nn.init.constant_(fit.model.get_submodule("fc").weight, float("nan"))
    with pytest.raises(UserError, match=r"no number before any step .* look at --weights"):
        sweep_rates(fit, steps=20)
