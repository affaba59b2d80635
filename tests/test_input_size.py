"""Any input size that an architecture allows, non-square ones too; else one line that says which do."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from saved_bundle import LABELS, save_bundle
from whichland.errors import UserError
from whichland.model import bundle as bundles
from whichland.model.backbone import create
from whichland.model.input_size import check_size, fit_size

# Narrow versions of the families whose positions or windows are laid out for one size.
NARROW = {
    "vit_tiny_patch16_224": {"embed_dim": 12, "num_heads": 1, "depth": 2},
    "deit_tiny_patch16_224": {"embed_dim": 12, "num_heads": 1, "depth": 2},
    "swinv2_tiny_window8_256": {"embed_dim": 12, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 2, 2)},
    "swinv2_cr_tiny_ns_224": {"embed_dim": 12, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 2, 2)},
    "vit_small_patch16_dinov3": {"embed_dim": 24, "num_heads": 2, "depth": 2},
    "test_convnext": {},
    "test_resnet": {},
    "resnet50_clip": {},
}


@pytest.mark.parametrize(
    ("arch", "size", "told"),
    [
        ("resnet18", (662, 1536), {}),
        ("mobilenetv2_100", 250, {}),
        ("vit_tiny_patch16_224", 224, {"img_size": 224}),  # also its own: another tag may have another size
        ("vit_tiny_patch16_224", (256, 384), {"img_size": (256, 384)}),
        ("swinv2_tiny_window8_256", 392, {"img_size": 392}),  # no multiple of its windows of 8 by 4 pixels
        ("vit_small_patch14_dinov2", 392, {"img_size": 392}),
        ("pvt_v2_b0", (250, 330), {}),  # its patches overlap: no pixel is lost
        ("resnet50_clip", (256, 384), {"img_size": 224}),  # its pooling adapts when it is shown another size
    ],
)
def test_what_timm_is_told(arch: str, size: int | tuple[int, int], told: dict[str, object]) -> None:
    assert fit_size(arch, size) == told


@pytest.mark.parametrize(
    ("arch", "size", "says"),
    [
        ("vit_tiny_patch16_224", (662, 1536), "multiples of 16 do, such as 656×1536 or 672×1536"),
        ("vit_small_patch14_dinov2", 256, "multiples of 14 do, such as 252×252 or 266×266"),
        ("swinv2_tiny_window8_256", (662, 1536), "multiples of 4 do, such as 660×1536 or 664×1536"),
        ("mixer_s16_224", 256, "its own 224×224 does"),  # its weights mix 196 positions
    ],
)
def test_a_size_that_does_not_fit_is_one_line_that_says_which_do(
    arch: str, size: int | tuple[int, int], says: str
) -> None:
    with pytest.raises(UserError) as raised:
        create(arch, 3, weights="none", size=size)
    assert str(raised.value).endswith(says)
    assert str(raised.value).startswith(f"{arch} takes no images of ")


def test_positions_that_adapt_at_run_time_are_laid_out_for_the_size_as_well() -> None:
    dynamic = {"dynamic_img_size": True}
    assert fit_size("vit_tiny_patch16_224", 256, dynamic) == {"img_size": 256}
    made = create("vit_tiny_patch16_224", 2, weights="none", size=64, model_args=dynamic)
    assert made.model.eval()(torch.zeros(1, 3, 96, 64)).shape == (1, 2)


def test_another_size_when_predicting() -> None:
    arch = "vit_tiny_patch16_224"
    with pytest.raises(UserError, match="made for 224×224 pixels takes no images of 288×288"):
        check_size(arch, 288, {"img_size": 224})
    check_size(arch, (288, 224), {"dynamic_img_size": True})
    check_size("resnet18", (300, 500), {})


@pytest.mark.parametrize("arch", NARROW)
def test_a_bundle_of_a_size_that_is_not_square_loads_through_timm_alone(tmp_path: Path, arch: str) -> None:
    torch.manual_seed(3)
    size = (96, 160)
    made = create(arch, len(LABELS), weights="none", size=size, model_args=NARROW[arch])
    for parameter in made.model.parameters():
        nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.1)
    save_bundle(tmp_path / "bundle", made)
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        wanted = made.model.eval()(x)
        assert torch.equal(bundles.load(tmp_path / "bundle").model(x), wanted)
        plain = timm.create_model(f"local-dir:{tmp_path / 'bundle'}", pretrained=True).eval()
        assert torch.equal(plain(x), wanted)
    assert wanted.unique().numel() == wanted.numel(), "logits must differ for this to show anything"
    assert bundles.load(tmp_path / "bundle").preprocess.size == size


def test_positions_are_resampled_to_another_size(tmp_path: Path) -> None:
    """A file of weights gives the same model as timm's own loading does."""
    torch.manual_seed(0)
    own = timm.create_model("vit_tiny_patch16_224", num_classes=7, **NARROW["vit_tiny_patch16_224"])
    nn.init.normal_(own.pos_embed)
    file = tmp_path / "own.safetensors"
    save_file(own.state_dict(), file)
    narrow = NARROW["vit_tiny_patch16_224"]
    made = create("vit_tiny_patch16_224", 3, weights=str(file), size=(96, 160), model_args=narrow)
    wanted = timm.create_model(
        "vit_tiny_patch16_224",
        pretrained=True,
        num_classes=7,
        pretrained_cfg_overlay={"file": str(file), "num_classes": 7},
        img_size=(96, 160),
        **narrow,
    )
    assert torch.equal(made.model.state_dict()["pos_embed"], wanted.pos_embed)
    assert wanted.pos_embed.shape == (1, 1 + 6 * 10, 12)


def test_positions_of_a_bundle_are_resampled_from_its_own_size(tmp_path: Path) -> None:
    """64 positions are 8×8 or 4×16: only the bundle's config.json tells."""
    narrow = NARROW["vit_tiny_patch16_224"]
    torch.manual_seed(0)
    made = create("vit_tiny_patch16_224", 3, weights="none", size=(64, 256), model_args=narrow)
    nn.init.normal_(made.model.pos_embed)
    save_bundle(tmp_path / "bundle", made)
    file = str(tmp_path / "bundle" / "model.safetensors")
    positions = made.model.state_dict()["pos_embed"]
    for size, same in [((64, 256), True), (128, False)]:
        again = create("vit_tiny_patch16_224", 3, weights=file, size=size, model_args=narrow)
        found = again.model.state_dict()["pos_embed"]
        assert found.shape == positions.shape
        assert torch.equal(found, positions) is same


def test_windows_of_another_size_keep_the_weights(tmp_path: Path) -> None:
    """Relative positions of Swin v1 stand in a table for a window; here the last stage's window is smaller."""
    narrow = {"embed_dim": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 2)}
    torch.manual_seed(0)
    own = timm.create_model("swin_tiny_patch4_window7_224", **narrow)
    file = tmp_path / "own.safetensors"
    save_file(own.state_dict(), file)
    made = create("swin_tiny_patch4_window7_224", 3, weights=str(file), size=(96, 160), model_args=narrow)
    assert made.report is not None
    assert made.report.missing == ()
    assert made.model.eval()(torch.zeros(1, 3, 96, 160)).shape == (1, 3)
