"""Training from stored activations: the losses of training from photos, for every freezing policy."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from forked import torchrun
from whichland.bulk.config import EmbedConfig
from whichland.bulk.embeddings import embed_to
from whichland.errors import UserError
from whichland.manifest import Manifest, write
from whichland.training import linear_probe
from whichland.training.config import TrainConfig
from whichland.training.frozen_cache import Form, times_before
from whichland.training.process import Interrupted
from whichland.training.run import prepare, train

PLAIN = {"min_area": 1.0, "max_stretch": 1.0, "brightness": 0.0, "contrast": 0.0}  # every view is the same
QUICK = {
    "arch": "test_resnet",
    "weights": "none",
    "size": 64,
    "test_size": 80,
    "batch_size": 8,
    "precision": "fp32",
    "epochs": 2,
}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noisy_photos(tmp_path_factory.mktemp("photos"), 90)


def noisy_photos(folder: Path, side: int) -> Path:
    """A manifest of forty noisy photos of two countries, each with its own tint."""
    generator = np.random.default_rng(0)
    rows = []
    for i in range(40):
        code, tint = [("FR", (180, 80, 80)), ("JP", (80, 180, 80))][i % 2]
        pixels = np.clip(np.array(tint) + generator.integers(-60, 60, (side, side, 3)), 0, 255).astype(np.uint8)
        path = folder / f"{i:02d}.jpg"
        Image.fromarray(pixels).save(path, quality=90)
        split = "val" if i % 8 >= 6 else "train"
        rows.append({"image_id": f"t/{i:02d}", "uri": str(path), "source": "t", "country": code, "split": split})
    frame = pl.DataFrame(rows).with_columns(drop_reason=pl.lit(None, dtype=pl.String))
    return write(Manifest(frame), folder / "m.parquet")


def config(**changes: object) -> TrainConfig:
    return TrainConfig(**(QUICK | changes))  # type: ignore[arg-type]


def lines(run: Path, kind: str = "step") -> list[dict[str, float]]:
    found = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in found if line["kind"] == kind]


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in lines(run)]


@pytest.mark.parametrize("arch", ["test_resnet", "test_vit"])
@pytest.mark.parametrize("policy", ["front", "backbone", "front:1,none", "backbone:1,front"])
def test_activations_train_as_photos_do(manifest: Path, tmp_path: Path, arch: str, policy: str) -> None:
    size = {"test_size": 64} if arch == "test_vit" else {}
    for name, views in (("photos", 0), ("activations", 2)):
        train(manifest, config(arch=arch, freeze=policy, views=views, **PLAIN, **size), tmp_path / name)
    expected, found = losses(tmp_path / "photos"), losses(tmp_path / "activations")
    np.testing.assert_allclose(found, expected, rtol=2e-3)  # float16 on the disk
    for score in ("val_loss", "val_top1"):
        judged = [[line[score] for line in lines(tmp_path / name, "epoch")] for name in ("photos", "activations")]
        np.testing.assert_allclose(judged[1], judged[0], rtol=5e-3)


def test_stored_features_train_as_the_photos_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noise").mkdir()
    manifest = noisy_photos(tmp_path / "noise", 128)  # halved, torch's resampling and Pillow's are the same to the bit
    weights, stored = tmp_path / "w.safetensors", tmp_path / "f.parquet"
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet").state_dict(), weights)
    embed_to([str(manifest)], stored, EmbedConfig(arch="test_resnet", weights=str(weights), size=64))
    settings = {"weights": str(weights), "test_size": 64, "freeze": "backbone", "views": 1, **PLAIN}
    train(manifest, config(**settings), tmp_path / "photos")
    assert "cache of" in capsys.readouterr().err
    monkeypatch.setattr(linear_probe, "outputs_of", None)  # the photos are not seen for the head's first fit either
    train(manifest, config(**settings, features=str(stored)), tmp_path / "features")
    assert "cache of" not in capsys.readouterr().err
    np.testing.assert_allclose(losses(tmp_path / "features"), losses(tmp_path / "photos"), rtol=1e-2)
    bundles = [load_file(tmp_path / name / "bundle" / "model.safetensors") for name in ("features", "photos")]
    assert all(torch.equal(bundles[0][name], bundles[1][name]) for name in bundles[0] if not name.startswith("fc."))
    torch.testing.assert_close(bundles[0]["fc.weight"], bundles[1]["fc.weight"], rtol=0.05, atol=0.01)

    with pytest.raises(UserError, match=r"other features than these weights give at 96x96 px \(off by \d+%\)"):
        train(manifest, config(**(settings | {"test_size": 96}), features=str(stored)), tmp_path / "larger")
    with pytest.raises(UserError, match="features stand for a frozen backbone"):
        config(freeze="front", features=str(stored))


def test_the_disk_it_takes_is_said_and_given_back(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(manifest, config(freeze="front", epochs=1), tmp_path / "run")
    said = [line for line in capsys.readouterr().err.splitlines() if "cache of" in line]
    assert len(said) == 1
    assert "1 view of each photo" in said[0]  # no more views than epochs
    expected = (30 * 192 * 4 * 4 + 10 * 192 * 5 * 5) * 2 / 1e3
    assert f"{expected:.1f} kB" in said[0]
    assert not (tmp_path / "run" / "cache").exists()


def test_a_kept_cache_is_used_again_and_not_for_other_weights(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {"freeze": "front", "cache": str(tmp_path / "cache"), "views": 2}
    train(manifest, config(**kept), tmp_path / "first")
    made = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()}
    train(manifest, config(**kept, lr=2e-3), tmp_path / "second")
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()} == made
    train(manifest, config(**kept, seed=1), tmp_path / "third")  # other random weights
    assert len(list((tmp_path / "cache").iterdir())) == 2 * len(made)
    assert losses(tmp_path / "first") != losses(tmp_path / "third")


def test_photos_normalised_in_another_way_are_not_found_in_a_kept_cache(manifest: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    kept = {"freeze": "front", "cache": str(tmp_path / "cache"), "weights": str(tmp_path / "w.safetensors")}
    for name, mean in (("first", 0.5), ("second", 0.1)):
        (tmp_path / "w.json").write_text(json.dumps({"preprocessing": {"mean": [mean] * 3, "std": [0.5] * 3}}))
        train(manifest, config(**kept, head_first=False, epochs=1), tmp_path / name)
    train(manifest, config(**(kept | {"cache": None}), head_first=False, epochs=1), tmp_path / "fresh")
    assert losses(tmp_path / "second") == losses(tmp_path / "fresh") != losses(tmp_path / "first")


def test_decoded_photos_train_nearly_as_the_photos(manifest: Path, tmp_path: Path) -> None:
    train(manifest, config(), tmp_path / "photos")
    train(manifest, config(cache=str(tmp_path / "cache")), tmp_path / "pixels")
    assert list((tmp_path / "cache").glob("*.bin"))
    assert losses(tmp_path / "photos")[0] == pytest.approx(losses(tmp_path / "pixels")[0], rel=1e-5)
    written = json.loads((tmp_path / "pixels" / "bundle" / "whichland.json").read_text())
    assert str(tmp_path) not in json.dumps(written)


def test_blended_photos_are_not_trained_from_activations(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(manifest, config(freeze="backbone", mixup=0.2, epochs=1), tmp_path / "run")
    err = capsys.readouterr().err
    assert "runs at every step" in err
    assert "cache of" not in err


def test_a_resumed_run_trains_from_the_same_activations(manifest: Path, tmp_path: Path) -> None:
    settings = config(freeze="front", epochs=3, views=2)
    train(manifest, settings, tmp_path / "whole")
    ready = prepare(manifest, settings, tmp_path / "stopped")
    stop_at = len(losses(tmp_path / "whole")) // 2
    ready.fit.watchers.append(
        lambda line: os.kill(os.getpid(), signal.SIGINT) if len(losses(tmp_path / "stopped")) == stop_at else None
    )
    with pytest.raises(Interrupted):
        ready.fit.run()
    made = {file: file.stat().st_mtime_ns for file in (tmp_path / "stopped" / "cache").iterdir()}
    assert made
    again = prepare(manifest, settings, tmp_path / "stopped", resume=True)
    again.fit.run()
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "stopped" / "cache").iterdir()} == made
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")


def test_two_processes_train_from_activations_as_one(manifest: Path, tmp_path: Path) -> None:
    flags = [item for name, value in QUICK.items() for item in (f"--{name.replace('_', '-')}", str(value))]
    command = ["-m", "whichland", "train", str(manifest), *flags, "--freeze", "front"]
    train(manifest, config(freeze="front"), tmp_path / "one")
    done = torchrun(2, [*command, "--out", str(tmp_path / "two")])
    assert done.returncode == 0, done.stderr[-2000:]
    assert "cache of" in done.stderr
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=2e-3)
    a, b = (load_file(tmp_path / name / "bundle" / "model.safetensors") for name in ("one", "two"))
    assert max(float((a[name].float() - b[name].float()).abs().max()) for name in a) < 0.05


def test_how_often_something_came_before() -> None:
    assert times_before(np.array([3, 1, 3, 3, 0, 1])).tolist() == [0, 0, 1, 2, 0, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_activations_come_back_from_the_disk(dtype: torch.dtype, layout: torch.memory_format) -> None:
    given = torch.randn(2, 5, 3, 4).to(dtype).contiguous(memory_format=layout)
    form = Form.of(given)
    packed = form.pack(given)
    assert packed.nbytes == given.numel() * 2
    back = form.unpack(packed)
    assert back.is_contiguous(memory_format=layout)
    torch.testing.assert_close(back.to(dtype), given, rtol=1e-3, atol=1e-4)
    if dtype != torch.float32:
        assert torch.equal(back, given)


def test_what_float16_cannot_hold_is_cut_to_its_range() -> None:
    given = torch.tensor([[1e6, -1e6]])
    assert Form.of(given).unpack(Form.of(given).pack(given)).tolist() == [[65504, -65504]]
