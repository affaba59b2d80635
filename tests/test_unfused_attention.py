"""Attention written out: the same answers and gradients, and left alone where it would not pay."""

import timm
import torch
from torch import nn

from whichland.model.backbone import write_out_attention

CPU = torch.device("cpu")


def make(**model_args: int) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_vit", num_classes=3, **model_args).eval()


def fused(model: nn.Module) -> list[bool]:
    return [bool(module.fused_attn) for module in model.modules() if hasattr(module, "fused_attn")]


def test_answers_and_gradients_stay() -> None:
    model = make()
    assert any(fused(model))
    side = model.patch_embed.img_size[0]
    x = torch.randn(2, 3, side, side)
    results = []
    for _ in range(2):
        logits = model(x)
        logits.square().sum().backward()
        results.append([logits.detach(), *(p.grad.clone() for p in model.parameters())])
        model.zero_grad()
        done = write_out_attention(model, CPU)
    assert not done, "there was nothing left to switch off"
    assert not any(fused(model))
    for before, after in zip(*results, strict=True):
        torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)


def test_it_stays_fused_on_a_gpu_and_over_many_patches() -> None:
    model = make()
    assert not write_out_attention(model, torch.device("cuda"))
    assert all(fused(model))
    large = make(img_size=model.patch_embed.patch_size[0] * 17)
    assert large.patch_embed.num_patches == 289
    assert not write_out_attention(large, CPU)
    assert not write_out_attention(timm.create_model("test_resnet"), CPU)
