"""Explanations from attention: computed by hand beside them, on models that were made with fused attention."""

import pytest
import timm
import torch
from torch import Tensor, nn

from whichland.errors import UserError
from whichland.explanation import attention
from whichland.explanation.attention import attention_gradients, rollout

SIZE = (64, 48)


def make(name: str = "test_vit", **arguments: object) -> nn.Module:
    torch.manual_seed(0)
    arguments = {"img_size": SIZE, "num_classes": 5} | arguments
    return timm.create_model(name, **arguments).eval()


def photos(count: int = 2) -> Tensor:
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def attention_by_hand(block: nn.Module, x_BNC: Tensor) -> Tensor:
    own = block.attn
    q, k, _ = own.qkv(block.norm1(x_BNC)).unflatten(2, (3, own.num_heads, -1)).permute(2, 0, 3, 1, 4)
    return (own.q_norm(q) @ own.k_norm(k).transpose(-2, -1) * own.scale).softmax(dim=-1)


@torch.no_grad()
def test_rollout_is_the_product_of_the_blocks() -> None:
    model, x = make(depth=2), photos()
    assert model.blocks[0].attn.fused_attn, "the model must be one that hides its attention"
    tokens = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(x))))
    read = torch.eye(tokens.shape[1])
    for block in model.blocks:
        read = (0.5 * attention_by_hand(block, tokens).mean(dim=1) + 0.5 * torch.eye(tokens.shape[1])) @ read
        tokens = block(tokens)
    patches = read[:, 0, model.num_prefix_tokens :].reshape(2, 1, SIZE[0] // 16, SIZE[1] // 16)
    expected = nn.functional.interpolate(patches, size=SIZE, mode="bilinear", align_corners=False)[:, 0]
    expected = expected - expected.amin(dim=(1, 2), keepdim=True)
    maps = rollout(model, x)
    torch.testing.assert_close(maps, expected / expected.amax(dim=(1, 2), keepdim=True), atol=1e-4, rtol=1e-4)


def test_gradients_weigh_the_attention_of_the_last_block() -> None:
    model, x = make(depth=1), photos()
    tokens = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(x)))).detach()
    weights = attention_by_hand(model.blocks[0], tokens).detach().requires_grad_()
    own = model.blocks[0].attn
    value = own.qkv(model.blocks[0].norm1(tokens)).unflatten(2, (3, own.num_heads, -1))[:, :, 2].transpose(1, 2)
    mixed = own.proj((weights @ value).transpose(1, 2).flatten(2))
    after = tokens + model.blocks[0].ls1(mixed)
    after = after + model.blocks[0].ls2(model.blocks[0].mlp(model.blocks[0].norm2(after)))
    logits = model.forward_head(model.norm(after))
    (gradient,) = torch.autograd.grad(logits[:, 3].sum(), weights)
    gain = (gradient * weights.detach()).clamp(min=0).mean(dim=1)[:, 0, model.num_prefix_tokens :]
    patches = gain.reshape(2, 1, SIZE[0] // 16, SIZE[1] // 16)
    expected = nn.functional.interpolate(patches, size=SIZE, mode="bilinear", align_corners=False)[:, 0]
    expected = expected / expected.amax(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(attention_gradients(model, x, 3), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("explain", [rollout, attention_gradients])
def test_the_model_is_left_as_it_was(explain: object) -> None:
    model, x = make().train().requires_grad_(False), photos()
    for _ in range(20):
        with torch.inference_mode():
            maps = explain(model, x, 1)
    assert maps.shape == (2, *SIZE)
    assert model.training
    assert all(block.attn.fused_attn for block in model.blocks)
    assert not any(module._forward_hooks for module in model.modules())
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


def test_what_was_switched_comes_back_after_an_error() -> None:
    model = make()
    with pytest.raises(IndexError):
        attention_gradients(model, photos(), 99)
    with pytest.raises(AssertionError):
        rollout(model, torch.zeros(1, 3, 7, 7))
    assert all(block.attn.fused_attn for block in model.blocks)
    assert not any(module._forward_hooks for module in model.modules())


def test_only_the_gradients_know_the_target() -> None:
    model, x = make(), photos()
    assert torch.equal(rollout(model, x, 0), rollout(model, x, 1))
    assert not torch.equal(attention_gradients(model, x, 0), attention_gradients(model, x, 1))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("deit_tiny_distilled_patch16_224", {"embed_dim": 24, "depth": 2, "num_heads": 2}),
        ("test_vit", {"reg_tokens": 3}),
        ("test_vit", {"global_pool": "avg", "class_token": False}),
    ],
    ids=["distilled", "registers", "no class token"],
)
def test_any_number_of_prefix_tokens(name: str, arguments: dict[str, object]) -> None:
    model = make(name, **arguments)
    for explain in (rollout, attention_gradients):
        maps = explain(model, photos(), 0)
        assert maps.shape == (2, *SIZE)
        assert maps.amax(dim=(1, 2)).tolist() == [1, 1]
        assert float(maps.min()) >= 0


@pytest.mark.parametrize("name", ["test_resnet", "swinv2_tiny_window8_256"])
def test_models_without_attention_from_all_to_all(name: str) -> None:
    swin = {"img_size": 64, "window_size": 2, "embed_dim": 12, "depths": (1,) * 4, "num_heads": (1,) * 4}
    arguments = swin if name.startswith("swin") else {"img_size": None}
    model = timm.create_model(name, **{k: v for k, v in arguments.items() if v is not None})
    with pytest.raises(UserError, match="gradcam"):
        attention.rollout(model, torch.randn(1, 3, 64, 64))
