"""Grad-CAM: known answers, a textbook implementation beside it, and what it must leave untouched."""

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from whichland.explanation.activations import activations
from whichland.explanation.clues import clue_mass
from whichland.explanation.gradcam import gradcam, gradcam_plus_plus, layercam
from whichland.model.head import replace_head


class OneChannelAClass(nn.Module):
    """The logit of class k is the mean of channel k, so the answer is known: that channel's positive part."""

    def forward_features(self, x_BCHW: Tensor) -> Tensor:
        return functional.avg_pool2d(x_BCHW, 4)

    def forward_head(self, features_BChw: Tensor) -> Tensor:
        return features_BChw.mean(dim=(2, 3))


def expected_map(channel_BHW: Tensor, size: tuple[int, int]) -> Tensor:
    small = functional.avg_pool2d(channel_BHW[:, None], 4).clamp(min=0)
    large = functional.interpolate(small, size=size, mode="bilinear", align_corners=False)[:, 0]
    return large / large.amax(dim=(1, 2), keepdim=True)


def random_input(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make(name: str, **arguments: object) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=5, **arguments).eval()


def test_a_class_that_is_one_channel_gives_that_channel() -> None:
    x = random_input(3, 4, 32, 48)
    torch.testing.assert_close(gradcam(OneChannelAClass(), x, 2), expected_map(x[:, 2], (32, 48)))


def test_each_place_by_its_own_gradient() -> None:
    """Where the gradient is the same at every place, LayerCAM and Grad-CAM++ are Grad-CAM."""
    x = random_input(3, 4, 32, 48)
    torch.testing.assert_close(layercam(OneChannelAClass(), x, 2), expected_map(x[:, 2], (32, 48)))
    torch.testing.assert_close(gradcam_plus_plus(OneChannelAClass(), x, 2), expected_map(x[:, 2], (32, 48)))


class TwoPlaces(nn.Module):
    """The logit is channel 0 in the upper left corner, plus channel 1 there less channel 1 in the lower right."""

    def forward_features(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW

    def forward_head(self, x_BCHW: Tensor) -> Tensor:
        return (x_BCHW[:, 0, 0, 0] + x_BCHW[:, 1, 0, 0] - x_BCHW[:, 1, -1, -1])[:, None]


def test_where_the_three_methods_part() -> None:
    """Grad-CAM's mean gradient of channel 1 is zero; the others keep what is positive of it.

    Grad-CAM++ by hand: 1 / (2 + sum of the channel) is alpha where the gradient is 1, and so the weight.
    """
    x = torch.full((1, 2, 2, 2), 1.0)
    x[:, 0] = torch.tensor([[2.0, 4.0], [0.0, 0.0]])
    assert gradcam(TwoPlaces(), x, 0)[0].tolist() == [[0.5, 1.0], [0.0, 0.0]]
    assert layercam(TwoPlaces(), x, 0)[0].tolist() == [[1.0, 0.0], [0.0, 0.0]]
    cam = torch.tensor([[2.0, 4.0], [0.0, 0.0]]) / (2 + 6) + torch.ones(2, 2) / (2 + 4)
    torch.testing.assert_close(gradcam_plus_plus(TwoPlaces(), x, 0)[0], cam / cam.max())


def test_targets_top_guess_one_each_and_difference() -> None:
    model, x = OneChannelAClass(), random_input(3, 4, 16, 16, seed=1)
    top = x.mean(dim=(2, 3)).argmax(dim=1).tolist()
    assert len(set(top)) > 1, "the photos must differ for this to show anything"
    torch.testing.assert_close(gradcam(model, x), gradcam(model, x, top))
    torch.testing.assert_close(gradcam(model, x, [0, 1, 2])[1], gradcam(model, x, 1)[1])
    torch.testing.assert_close(gradcam(model, x, (1, 3)), expected_map(x[:, 1] - x[:, 3], (16, 16)))


def test_as_many_targets_as_photos() -> None:
    with pytest.raises(ValueError, match="3 photos"):
        gradcam(OneChannelAClass(), random_input(3, 4, 16, 16), [0, 1])


def test_only_negative_evidence_gives_zeros() -> None:
    x = torch.cat([-torch.ones(1, 4, 16, 16), torch.ones(1, 4, 16, 16)])
    maps = gradcam(OneChannelAClass(), x, 0)
    assert maps[0].eq(0).all()
    assert maps[1].eq(1).all()


def test_agrees_with_the_textbook_on_a_resnet() -> None:
    """The paper's procedure as it is usually written: hooks on the last convolutional stage."""
    model, x = make("test_resnet"), random_input(2, 3, 160, 128)
    kept: dict[str, Tensor] = {}
    forward = model.layer4.register_forward_hook(lambda _m, _i, out: kept.update(a=out))
    backward = model.layer4.register_full_backward_hook(lambda _m, _i, out: kept.update(g=out[0]))
    logits = model(x)
    logits[:, 3].sum().backward()
    forward.remove()
    backward.remove()
    maps = []
    for activation, gradient in zip(kept["a"], kept["g"], strict=True):
        cam = torch.zeros(activation.shape[1:])
        for channel in range(len(activation)):
            cam += gradient[channel].mean() * activation[channel]
        cam = cam.clamp(min=0)[None, None]
        cam = functional.interpolate(cam, size=(160, 128), mode="bilinear", align_corners=False)[0, 0]
        maps.append(cam / cam.max() if cam.max() > 0 else cam)
    found = gradcam(model, x, 3)
    assert found.amax() == 1
    torch.testing.assert_close(found, torch.stack(maps).detach())
    torch.testing.assert_close(activations(model, x, 3).logits, logits.detach())


MODELS = [
    *[(f"test_{name}", {}) for name in ("resnet", "convnext", "efficientnet", "byobnet", "nfnet")],
    *[(name, {"img_size": (160, 96)}) for name in ("test_vit", "test_vit2", "test_vit3", "test_vit_relpos")],
    ("test_mambaout", {}),
    (
        "swinv2_tiny_window8_256",
        {"img_size": (160, 96), "window_size": 5, "embed_dim": 12, "depths": (1,) * 4, "num_heads": (1,) * 4},
    ),
    ("deit_tiny_distilled_patch16_224", {"img_size": (160, 96), "embed_dim": 24, "depth": 3, "num_heads": 2}),
    ("test_vit", {"img_size": (160, 96), "reg_tokens": 4}),
    ("test_vit", {"img_size": (160, 96), "class_token": False, "global_pool": "map"}),
    # these end in layers of their own, and are searched for their last map
    ("cait_xxs24_224", {"img_size": (160, 96), "embed_dim": 24, "depth": 2, "num_heads": 2}),
    ("xcit_nano_12_p16_224", {"img_size": (160, 96), "embed_dim": 32, "depth": 2, "num_heads": 2}),
]


@pytest.mark.parametrize(("name", "arguments"), MODELS, ids=[name for name, _ in MODELS])
def test_every_family_gives_maps_of_the_inputs_size(name: str, arguments: dict[str, object]) -> None:
    model, x = make(name, **arguments), random_input(2, 3, 160, 96)
    for target in (0, 1, 2, 3, 4, None):
        maps = gradcam(model, x, target)
        assert maps.shape == (2, 160, 96)
        assert bool(torch.isfinite(maps).all())
        assert float(maps.min()) >= 0
        assert {round(float(peak), 5) for peak in maps.amax(dim=(1, 2))} <= {0.0, 1.0}
    torch.testing.assert_close(activations(model, x).logits, model(x).detach())
    assert sum(float(gradcam(model, x, target).sum()) for target in range(5)) > 0


@pytest.mark.parametrize(("name", "arguments"), [MODELS[i] for i in (0, 5, 10)], ids=["cnn", "vit", "swin"])
def test_a_photo_is_explained_as_if_alone(name: str, arguments: dict[str, object]) -> None:
    model, x = make(name, **arguments), random_input(3, 3, 160, 96)
    together = gradcam(model, x, [0, 1, 2])
    alone = torch.cat([gradcam(model, x[i : i + 1], i) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "arguments"), [MODELS[i] for i in (0, 5, 10, 14)], ids=["cnn", "vit", "swin", "cait"])
def test_the_map_stands_upright(name: str, arguments: dict[str, object]) -> None:
    """Change one corner of the input: the features that the map is made of change there, not elsewhere.

    This catches rows taken for columns, which on square inputs no shape gives away.
    """
    model = make(name, **arguments)
    flat, marked = torch.zeros(1, 3, 160, 96), torch.zeros(1, 3, 160, 96)
    marked[:, :, 128:, :16] = 5.0
    before, after = (activations(model, x, 0).activation for x in (flat, marked))
    change = (after - before).abs().sum(dim=1)[0]
    row, column = divmod(int(change.argmax()), change.shape[1])
    assert row >= change.shape[0] * 3 // 5
    assert column <= change.shape[1] // 3


def test_a_hidden_head_and_frozen_weights() -> None:
    model = make("test_resnet")
    replace_head(model, (16,), 5)
    model.requires_grad_(False)
    maps = gradcam(model, random_input(1, 3, 96, 96), None)
    assert float(maps.max()) == 1
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_a_thousand_calls_leave_nothing_behind(name: str) -> None:
    model = make(name, **({"img_size": 32, "depth": 2} if name == "test_vit" else {}))
    model.train()
    frozen = next(model.children())
    frozen.eval()
    modes = [m.training for m in model.modules()]
    state = {n: t.clone() for n, t in model.state_dict().items()}
    x = random_input(1, 3, 32, 32)
    for _ in range(1000 if name == "test_vit" else 50):
        gradcam(model, x, 1)
    kinds = ("_forward_pre_hooks", "_forward_hooks", "_backward_hooks", "_backward_pre_hooks")
    assert not any(getattr(module, kind) for module in model.modules() for kind in kinds)
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    assert all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())


def test_only_zero_gradients_leave_an_empty_map() -> None:
    model = make("test_resnet")
    nn.init.zeros_(model.fc.weight)
    maps = gradcam(model, random_input(2, 3, 64, 64), 1)
    assert maps.eq(0).all()


def test_a_searched_model_is_left_as_it_was() -> None:
    model = make("xcit_nano_12_p16_224", img_size=64, embed_dim=32, depth=2, num_heads=2).train()
    with torch.inference_mode():
        gradcam(model.requires_grad_(False), random_input(1, 3, 64, 64), 1)
    assert not any(module._forward_hooks for module in model.modules())
    assert model.training
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())


def test_memory_stays_flat() -> None:
    """Tensors that are alive after a hundred calls are as many as after one."""
    import gc

    model, x = make("test_vit", img_size=32), random_input(1, 3, 32, 32)

    def alive() -> int:
        gc.collect()
        return sum(type(thing) is Tensor for thing in gc.get_objects())

    gradcam(model, x, 1)
    before = alive()
    for _ in range(100):
        gradcam(model, x, 1)
    assert alive() == before


def test_modes_and_hooks_come_back_after_an_error() -> None:
    model = make("test_vit", img_size=32).train()
    with pytest.raises(IndexError):
        gradcam(model, random_input(1, 3, 32, 32), 99)
    assert model.training
    assert not model.blocks[-1]._forward_pre_hooks


def test_works_inside_inference_mode() -> None:
    model = make("test_resnet")
    with torch.inference_mode():
        maps = gradcam(model, random_input(1, 3, 64, 64), 0)
    torch.testing.assert_close(maps, gradcam(model, random_input(1, 3, 64, 64), 0))


def test_mass_on_a_mask() -> None:
    maps = np.zeros((3, 4, 4))
    maps[0, 1, 1], maps[0, 3, 3] = 3.0, 1.0
    maps[1, 0, 0] = 1.0
    masks = np.zeros((3, 4, 4), dtype=bool)
    masks[:, 1, 1:3] = True
    mass, area, hit = clue_mass(maps, masks, tolerance=0)
    assert mass.tolist() == [0.75, 0.0, 0.0]
    assert area.tolist() == [0.125] * 3
    assert hit.tolist() == [True, False, False]
    assert clue_mass(maps, masks, tolerance=2)[2].tolist() == [True, True, False]
    assert clue_mass(maps, np.zeros_like(masks))[2].tolist() == [False] * 3
