"""Weights as other tools write them: wrapped, in a folder, in part, or of another library."""

import shutil
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from saved_bundle import save_bundle
from whichland.errors import UserError
from whichland.model.backbone import create
from whichland.model.features import BackboneConfig, features

ARCH = "test_resnet"


def state(arch: str = ARCH, seed: int = 7) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return timm.create_model(arch, num_classes=5).state_dict()


def written(tensors: dict[str, Tensor], path: Path) -> str:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return str(path)


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "model.", "net.", "backbone.", "module._orig_mod.", "model.net.module.", "visual.trunk.",
     "timm_model.", "state_dict.my_odd.classifier."],
)  # fmt: skip
@pytest.mark.parametrize("arch", [ARCH, "test_vit"])
def test_the_prefix_of_a_wrapper_is_taken_off_and_told(arch: str, prefix: str, tmp_path: Path) -> None:
    wanted = state(arch)
    others = {"criterion.weight": torch.ones(5), "n_averaged": torch.ones(())}
    made = create(arch, 3, weights=written(prefixed(prefix, wanted) | others, tmp_path / "w.safetensors"))
    assert made.report is not None
    assert made.report.missing == ()
    assert set(made.report.unexpected) == set(others)
    found = made.model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items() if found[name].shape == tensor.shape)
    assert f"named {prefix.replace('_orig_mod.', '')}" in str(made.report) or prefix == "_orig_mod."


def test_wrappers_within_a_model_are_taken_off(tmp_path: Path) -> None:
    wrapped = {name.replace("layer1.", "layer1._orig_mod."): tensor for name, tensor in state().items()}
    made = create(ARCH, 3, weights=written(wrapped, tmp_path / "w.safetensors"))
    assert torch.equal(made.model.state_dict()["layer1.0.conv1.weight"], state()["layer1.0.conv1.weight"])


def test_of_a_model_and_its_average_the_plainer_name_is_taken(tmp_path: Path) -> None:
    both = prefixed("model_ema.module.", state(seed=1)) | prefixed("model.", state(seed=2))
    made = create(ARCH, 3, weights=written(both, tmp_path / "w.safetensors"))
    assert torch.equal(made.model.state_dict()["conv1.0.weight"], state(seed=2)["conv1.0.weight"])


def test_names_of_the_authors_that_timm_knows(tmp_path: Path) -> None:
    """Facebook's own ConvNeXt: timm's rule for it renames them."""
    wanted = timm.create_model("convnext_atto", num_classes=5).state_dict()
    names = {
        name: name.replace("stem.0", "downsample_layers.0.0").replace("stem.1", "downsample_layers.0.1")
        for name in wanted
    }
    for name in names:
        for stage in range(1, 4):
            names[name] = names[name].replace(f"stages.{stage}.downsample.", f"downsample_layers.{stage}.")
        names[name] = names[name].replace(".blocks.", ".").replace("mlp.fc", "pwconv").replace("conv_dw", "dwconv")
        names[name] = names[name].replace("head.fc.", "head.").replace("head.norm.", "norm.")
    theirs = {names[name]: tensor for name, tensor in wanted.items()}
    made = create("convnext_atto", 3, weights=written(theirs, tmp_path / "w.safetensors"))
    assert made.report is not None
    assert made.report.missing == ()
    assert torch.equal(
        made.model.state_dict()["stages.2.blocks.1.mlp.fc1.weight"], wanted["stages.2.blocks.1.mlp.fc1.weight"]
    )


@pytest.mark.parametrize(
    "names",
    [
        ["vit.embeddings.cls_token", "vit.embeddings.patch_embeddings.projection.bias", "classifier.bias"],
        ["resnet.embedder.embedder.convolution.weight", "resnet.encoder.stages.0.layers.0.layer.0.convolution.weight"],
        ["swin.embeddings.norm.weight", "swin.embeddings.patch_embeddings.projection.weight"],
        ["embeddings.mask_token", "encoder.layer.0.norm1.weight"],
    ],
)
@pytest.mark.parametrize("partial", [False, True])
def test_names_of_transformers_are_one_line_that_says_so(names: list[str], partial: bool, tmp_path: Path) -> None:
    file = written({name: torch.zeros(1, 1, 64) for name in names}, tmp_path / "w.safetensors")
    for arch in ("test_vit", ARCH, "swin_s3_tiny_224"):
        with pytest.raises(UserError, match="transformers library") as raised:
            create(arch, 3, weights=file, partial=partial)
        assert "\n" not in str(raised.value)


def test_in_part_what_fits_is_counted_and_nothing_is_refused(tmp_path: Path) -> None:
    part = {name: tensor for name, tensor in state().items() if name.startswith("layer1.")}
    report = create(ARCH, 3, weights=written(part, tmp_path / "part.safetensors"), partial=True).report
    assert report is not None
    assert str(report).startswith(f"{len(part)} of the model's {len(state())} tensors loaded; missing: conv1.0.weight")
    for strange in ({"a.weight": torch.ones(2)}, {"fc.weight": torch.ones(5, 96)}):
        with pytest.raises(UserError, match=r"none of its 1 tensor \(.*\) fits the backbone .*conv1\.0\.weight"):
            create(ARCH, 3, weights=written(strange, tmp_path / "w.safetensors"), partial=True)


def test_a_folder_is_its_bundle_or_its_only_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = create(ARCH, 3, weights="none", size=64)
    folder = save_bundle(tmp_path / "bundle", made)
    written(state(), folder / "other.safetensors")
    wanted = made.model.state_dict()["conv1.0.weight"]
    assert torch.equal(create(ARCH, 3, weights=str(folder)).model.state_dict()["conv1.0.weight"], wanted)
    monkeypatch.chdir(folder)
    assert torch.equal(create(ARCH, 3, weights=".").model.state_dict()["conv1.0.weight"], wanted)
    (folder / "model.safetensors").unlink()
    assert create(ARCH, 3, weights=".").report is not None
    shutil.copy("other.safetensors", "third.safetensors")
    with pytest.raises(UserError, match=r"several: other\.safetensors, third\.safetensors"):
        create(ARCH, 3, weights=".")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "pytorch_model.bin").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(UserError, match="holds none; pickled weights are never read"):
        create(ARCH, 3, weights=str(tmp_path / "empty"))
    with pytest.raises(UserError, match="several"):
        features(["a.jpg"], ["a"], BackboneConfig(arch=ARCH, weights="."), tmp_path / "cache")
