"""What the loop does with its settings: phases, rates, accumulation, clipping, early stopping, mixing."""

import json
import shutil
from itertools import pairwise
from pathlib import Path
from signal import SIGINT, raise_signal
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

from forked import torchrun
from tinted import tinted
from whichland.config import to_toml
from whichland.model import bundle
from whichland.training.config import TrainConfig
from whichland.training.process import Interrupted
from whichland.training.run import prepare, train

COLOURS = {"DE": (200, 60, 60), "FR": (60, 200, 60), "JP": (60, 60, 200)}
STEPS = 4  # an epoch


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty-two photos of three countries, each with its own tint: four batches of eight to train on."""
    folder = tmp_path_factory.mktemp("photos")
    return tinted(folder, 42, colours=COLOURS, size=(48, 80), split=lambda i: "val" if i > 32 else "train")


def config(**changes: Any) -> TrainConfig:
    small = {"arch": "test_resnet", "weights": "none", "size": 32, "test_size": 32, "batch_size": 8}
    return TrainConfig(**(small | {"precision": "fp32", "epochs": 2, "workers": 1} | changes))


def log(run: Path, name: str, kind: str = "step") -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if line["kind"] == kind]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "bundle" / "model.safetensors")


def test_each_phase_moves_what_it_frees(manifest: Path, tmp_path: Path) -> None:
    ready = prepare(manifest, config(freeze="backbone:1,front:1,none", epochs=3, ema=0), tmp_path / "run")
    seen = [{n: p.detach().clone() for n, p in ready.made.model.named_parameters()}]

    def remember(line: dict[str, Any]) -> None:
        if line["kind"] == "epoch":
            seen.append({n: p.detach().clone() for n, p in ready.made.model.named_parameters()})

    ready.fit.watchers.append(remember)
    ready.fit.run()
    moved = [{n.split(".")[0] for n in a if not torch.equal(a[n], b[n])} for a, b in pairwise(seen)]
    assert moved[:2] == [{"fc"}, {"fc", "layer4"}]
    assert {"conv1", "layer1", "fc"} <= moved[2]
    states = {len(ready.fit.optimizer.state[p]) for p in ready.made.model.parameters()}
    assert states == {3}  # step and two moments, also for what began last


@pytest.mark.parametrize("stop", [2, 6, 7])
def test_a_run_stopped_in_either_phase_ends_as_an_uninterrupted_one(manifest: Path, tmp_path: Path, stop: int) -> None:
    settings = config(freeze="backbone:1,none", mixup=0.4, ema=0.9)
    train(manifest, settings, tmp_path / "whole")
    ready = prepare(manifest, settings, tmp_path / "stopped")
    ready.fit.watchers.append(
        lambda line: (
            raise_signal(SIGINT) if len(log(tmp_path / "stopped", "step")) == stop and line["kind"] == "step" else None
        )
    )
    with pytest.raises(Interrupted):
        ready.fit.run()
    assert len(log(tmp_path / "stopped", "loss")) == stop + 1  # it ends after the next step
    train(manifest, settings, tmp_path / "stopped", resume=True)
    assert log(tmp_path / "stopped", "loss") == log(tmp_path / "whole", "loss")
    a, b = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_schedule_may_begin_anew_with_each_phase(manifest: Path, tmp_path: Path) -> None:
    train(manifest, config(freeze="backbone:1,none", restart=True), tmp_path / "anew")
    rates = log(tmp_path / "anew", "lr")
    assert rates[:STEPS] == rates[STEPS:]
    train(manifest, config(freeze="backbone:1,none"), tmp_path / "once")
    assert max(log(tmp_path / "once", "lr")[STEPS:]) < max(log(tmp_path / "once", "lr")[:STEPS])


def test_the_last_epoch_may_be_a_part_of_one(manifest: Path, tmp_path: Path) -> None:
    falling = {"schedule": "exponential", "warmup": 0.0, "lr": 1e-3, "lr_end": 1e-5}
    train(manifest, config(epochs=1.5, **falling), tmp_path / "run")
    rates = log(tmp_path / "run", "lr")
    assert len(rates) == 6
    np.testing.assert_allclose(rates, 1e-3 * 0.01 ** (np.arange(6) / 6))
    steps = log(tmp_path / "run", "loss")
    assert log(tmp_path / "run", "train_loss", "epoch") == [np.mean(steps[:4]), pytest.approx(np.mean(steps[4:]))]


def test_parts_of_a_step_add_up_to_the_step(manifest: Path, tmp_path: Path) -> None:
    settings = {"arch": "test_vit", "size": 160, "test_size": 160, "weighting": "loss", "balance": "class"}
    sizes: dict[int, list[int]] = {1: [], 3: []}
    for parts, seen in sizes.items():
        fit = prepare(manifest, config(epochs=1, accumulate=parts, **settings), tmp_path / str(parts)).fit

        def note(model: torch.nn.Module, inputs: tuple[torch.Tensor], _: Any, seen: list[int] = seen) -> None:
            if model.training:
                seen.append(len(inputs[0]))

        fit.model.register_forward_hook(note)
        fit.run()
    assert sizes == {1: [8] * STEPS, 3: [3, 3, 2] * STEPS}
    np.testing.assert_allclose(log(tmp_path / "3", "loss"), log(tmp_path / "1", "loss"), rtol=1e-4)


def test_gradients_are_clipped_to_the_norm_given(manifest: Path, tmp_path: Path) -> None:
    norms: dict[float, list[float]] = {0.0: [], 0.05: []}
    for clip, found in norms.items():
        fit = prepare(manifest, config(epochs=1, clip=clip), tmp_path / str(clip)).fit

        def note(optimizer: torch.optim.Optimizer, *_: Any, found: list[float] = found) -> None:
            grads = [p.grad.norm() for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
            found.append(float(torch.stack(grads).norm()))

        fit.optimizer.register_step_pre_hook(note)
        fit.run()
    assert min(norms[0.0]) > 0.1
    assert norms[0.05] == pytest.approx([0.05] * STEPS, rel=1e-3)


def test_training_stops_when_it_gets_no_better_and_keeps_the_best(manifest: Path, tmp_path: Path) -> None:
    settings = config(epochs=30, patience=2, lr=0.3, ema=0, body_lr=1.0, prior="trained")
    out = tmp_path / "run"
    run = train(manifest, settings, out)
    scores = log(out, "val_macro_f1", "epoch")
    best = scores.index(max(scores))
    assert len(scores) == best + 1 + 2 < 30
    assert run.scores["val_macro_f1"] == max(scores)
    kept = torch.load(out / "checkpoint" / "last.pt", weights_only=True)["best"]
    written = weights(out)
    assert all(torch.equal(kept[name], written[name]) for name in written)
    shutil.rmtree(out / "bundle")  # as if it had been killed while it wrote the bundle
    again = train(manifest, settings, out, resume=True)
    assert (again.scores, log(out, "val_macro_f1", "epoch")) == (run.scores, scores)


def test_a_run_killed_before_its_bundle_was_written_still_gets_its_scores(manifest: Path, tmp_path: Path) -> None:
    run = train(manifest, config(), tmp_path / "run")
    shutil.rmtree(run.bundle)
    again = train(manifest, config(), tmp_path / "run", resume=True)
    assert again.scores == pytest.approx(run.scores)
    assert bundle.read_json(again.bundle, "metrics.json")["validation"] == again.scores


def test_the_loss_is_held_against_soft_targets(manifest: Path, tmp_path: Path) -> None:
    settings = config(smoothing=0.3, smoothing_by="neighbour")
    fit = prepare(manifest, settings, tmp_path / "run").fit
    batch = next(fit.loader.epoch(0))
    seen: list[torch.Tensor] = []
    fit.model.eval().register_forward_hook(lambda _m, _i, out: seen.append(out.detach()))
    (part,) = fit.objective.parts(fit.model, batch)
    loss = float(fit.objective.loss(fit.objective.predict(fit.model, part), part).detach())
    soft = torch.tensor([[0.7, 0.3, 0], [0.3, 0.7, 0], [0, 0, 1]])  # DE and FR are neighbours
    assert loss == pytest.approx(float(cross_entropy(seen[0], soft[batch.targets])), rel=1e-5)


def test_deterministic_runs_ask_torch_for_it_and_leave_no_trace(manifest: Path, tmp_path: Path) -> None:
    ready = prepare(manifest, config(deterministic=True), tmp_path / "other")
    assert not torch.are_deterministic_algorithms_enabled()
    del ready
    import whichland.training.fit as module

    asked: list[bool] = []
    real = module.Fit._end_of_step

    def watch(self: Any, *values: Any) -> None:
        asked.append(torch.are_deterministic_algorithms_enabled())
        real(self, *values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.Fit, "_end_of_step", watch)
        train(manifest, config(deterministic=True, epochs=1), tmp_path / "run")
    assert asked == [True] * STEPS
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.slow
def test_two_processes_mix_and_change_phase_as_one(manifest: Path, tmp_path: Path) -> None:
    settings = config(freeze="front:1,none", cutmix=1.0, mixup=0.5, accumulate=2, clip=1.0, arch="test_vit", size=160)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(to_toml(settings))
    train(manifest, settings, tmp_path / "one")
    two = ["-m", "whichland", "train", str(manifest), "--recipe", str(recipe), "--out", str(tmp_path / "two")]
    done = torchrun(2, two)
    assert done.returncode == 0, done.stderr[-2000:]
    np.testing.assert_allclose(log(tmp_path / "two", "loss"), log(tmp_path / "one", "loss"), rtol=1e-3)


def test_photos_that_are_not_square_are_trained_on_and_judged_in_their_shape(manifest: Path, tmp_path: Path) -> None:
    run = train(manifest, config(epochs=1, size=(32, 80), test_size=None, freeze="front"), tmp_path / "run")
    cfg = json.loads((run.bundle / "config.json").read_text())["pretrained_cfg"]
    assert (cfg["input_size"], cfg["test_input_size"]) == ([3, 32, 80], [3, 64, 128])
    loaded = bundle.load(run.bundle)
    assert loaded.preprocess.size == (64, 128)
    plain = timm.create_model(f"local-dir:{run.bundle}", pretrained=True).eval()
    x = torch.randn(2, 3, 64, 128)
    assert torch.equal(plain(x), loaded.model(x))


def test_a_head_may_follow_the_pretrained_classifier(manifest: Path, tmp_path: Path) -> None:
    run = train(manifest, config(epochs=1, head=(16,), head_after="logits"), tmp_path / "run")
    found = [tuple(t.shape) for n, t in weights(tmp_path / "run").items() if n.startswith("fc.") and t.ndim == 2]
    assert [shape[0] for shape in found] == [1000, 16, 3]
    assert bundle.load(run.bundle).model(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    assert "whichland.load" in (run.bundle / "README.md").read_text()


def test_the_first_fit_of_the_head_leaves_the_pretrained_classifier_alone(manifest: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    pretrained = timm.create_model("test_resnet").state_dict()
    save_file(pretrained, tmp_path / "w.safetensors")
    given = config(epochs=1, weights=str(tmp_path / "w.safetensors"), head=(16,), head_after="logits", lr=1e-9, ema=0.0)
    train(manifest, given, tmp_path / "run")
    (classifier,) = [t for n, t in weights(tmp_path / "run").items() if t.shape[:1] == (1000,) and t.ndim == 2]
    assert torch.allclose(classifier, pretrained["fc.weight"], atol=1e-6)
