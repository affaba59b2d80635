"""The bundle: anyone can load it through timm alone, it is never overwritten, and damage is one line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from whichland.errors import UserError
from whichland.images.preprocess import Preprocess
from whichland.model import bundle as bundles
from whichland.model.backbone import create
from whichland.model.bundle import Info
from whichland.model.label_sources import countries

LABELS = ("NA", "NO", "US")

# Run where whichland cannot be imported: only timm and torch, as anyone would.
THROUGH_TIMM = """
import json, sys
sys.modules["whichland"] = None
import numpy as np, torch
import timm
for folder in sys.argv[1:]:
    model = timm.create_model(f"local-dir:{folder}/bundle", pretrained=True).eval()
    with torch.no_grad():
        np.save(f"{folder}/logits.npy", model(torch.from_numpy(np.load(f"{folder}/batch.npy"))).numpy())
    data = timm.data.resolve_model_data_config(model)
    print(json.dumps({"labels": model.pretrained_cfg.get("label_names"), "mean": data["mean"],
                      "size": data["input_size"], "crop": data["crop_pct"]}))
"""


def save(folder: Path, arch: str = "test_resnet", *, head: tuple[int, ...] = (), size: int = 64) -> nn.Module:
    torch.manual_seed(3)
    made = create(arch, len(LABELS), weights="none", head=head, size=size)
    for parameter in made.model.parameters():
        nn.init.normal_(
            parameter, mean=float(parameter.ndim == 1), std=0.1
        )  # zeros and ones would hide a tensor that was not loaded
    made.model(torch.randn(4, 3, size, size))  # moves the running statistics from where they start
    bundles.save(
        folder,
        model=made.model,
        arch=made.arch,
        model_args=made.model_args,
        pretrained_cfg=made.pretrained_cfg | {"crop_pct": 0.9, "mean": (0.4, 0.5, 0.6)},
        space=countries(LABELS),
        info=Info(version="0.1.0", head=head, temperature=1.5),
        metrics={"top1": 0.5},
        card="# card\n",
    )
    return made.model.eval()


def batch(size: int = 64) -> torch.Tensor:
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(5))


def test_plain_timm_gives_identical_logits(tmp_path: Path) -> None:
    folders = {tmp_path / arch: save(tmp_path / arch / "bundle", arch) for arch in ("test_resnet", "test_vit")}
    for folder in folders:
        np.save(folder / "batch.npy", batch().numpy())
    command = [sys.executable, "-c", THROUGH_TIMM, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for (folder, model), line in zip(folders.items(), done.stdout.splitlines(), strict=True):
        with torch.no_grad():
            wanted = model(batch()).numpy()
        assert np.unique(wanted.round(4)).size == wanted.size, "logits must differ for this to show anything"
        np.testing.assert_array_equal(np.load(folder / "logits.npy"), wanted)
        told = json.loads(line)
        assert told["labels"] == list(LABELS)
        assert told["mean"] == [0.4, 0.5, 0.6]
        assert told["size"] == [3, 64, 64]
        assert told["crop"] == 0.9


@pytest.mark.parametrize("head", [(), (8,), (8, 4)], ids=["plain", "one hidden", "two hidden"])
@pytest.mark.parametrize("arch", ["test_resnet", "test_vit", "test_convnext"])
def test_what_is_saved_is_loaded(tmp_path: Path, arch: str, head: tuple[int, ...]) -> None:
    model = save(tmp_path / "bundle", arch, head=head)
    loaded = bundles.load(tmp_path / "bundle")
    with torch.no_grad():
        assert torch.equal(loaded.model(batch()), model(batch()))
    assert loaded.labels == LABELS
    assert not loaded.model.training
    assert loaded.info.temperature == 1.5
    assert loaded.preprocess == Preprocess(
        size=(64, 64),
        mean=(0.4, 0.5, 0.6),
        std=loaded.preprocess.std,
        interpolation=loaded.preprocess.interpolation,
        crop_pct=0.9,
    )


def test_the_bundle_is_these_files_and_none_is_a_pickle(tmp_path: Path) -> None:
    save(tmp_path / "bundle")
    files = {path.name: path.read_bytes() for path in (tmp_path / "bundle").iterdir()}
    assert set(files) == {
        "config.json",
        "model.safetensors",
        "whichland.json",
        "labels.json",
        "metrics.json",
        "README.md",
    }
    for name, content in files.items():
        assert not content.startswith((b"\x80", b"PK\x03\x04")), f"{name} is a pickle or a zip of one"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"], "no temporary folder stays"


def test_a_bundle_is_never_overwritten(tmp_path: Path) -> None:
    save(tmp_path / "bundle")
    before = (tmp_path / "bundle" / "model.safetensors").read_bytes()
    with pytest.raises(UserError, match="already exists"):
        save(tmp_path / "bundle", "test_vit")
    assert (tmp_path / "bundle" / "model.safetensors").read_bytes() == before


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(safetensors.torch, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save(tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def damage_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in values.items() if v is not None}), encoding="utf-8")


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:5000]),
        lambda f: (f / "model.safetensors").write_bytes(b"\x80\x04K\x01."),
        lambda f: (f / "model.safetensors").unlink(),
        lambda f: (f / "config.json").write_text('{"architecture": '),
        lambda f: (f / "config.json").unlink(),
        lambda f: (f / "whichland.json").unlink(),
        lambda f: (f / "whichland.json").write_bytes(b"\xff\xfe"),
        lambda f: (f / "config.json").write_text("[]"),
        lambda f: (f / "whichland.json").write_text("[]"),
        lambda f: damage_config(f, label_names=None),
        lambda f: damage_config(f, label_names=["NO", "US"]),
        lambda f: damage_config(f, architecture="no_such_model"),
        lambda f: damage_config(f, architecture="test_vit"),
        lambda f: damage_config(f, pretrained_cfg=None),
    ],
    ids=[
        "weights cut", "weights pickled", "weights gone", "config cut", "config gone", "info gone", "info binary",
        "config is a list", "info is a list", "no labels", "labels too few", "unknown model",
        "another model", "no preprocessing",
    ],
)  # fmt: skip
def test_damage_is_one_line(tmp_path: Path, damage: object) -> None:
    folder = tmp_path / "bundle"
    save(folder)
    damage(folder)  # type: ignore[operator]
    with pytest.raises(UserError, match="bundle") as raised:
        bundles.load(folder)
    assert "\n" not in str(raised.value)


def test_what_is_no_bundle(tmp_path: Path) -> None:
    for path, said in ((tmp_path, "is not a bundle"), (tmp_path / "none", "no such bundle")):
        with pytest.raises(UserError, match=said):
            bundles.load(path)
