"""Attention written out in place of torch's fused one, where that is faster: training small transformers on a CPU.

The fused kernel of torch 2.13 is made for long sequences. Over a ViT's 197 tokens its backward pass runs at a
quarter of what the processor does in plain products, and costs a fifth of the step.
"""

import torch
from torch import nn

MOST_PATCHES = 256  # written out, attention keeps a matrix of tokens × tokens a head: beyond this it fills the memory


def write_out_attention(model: nn.Module, device: torch.device) -> bool:
    """Switch timm's fused attention off in a model to be trained on a CPU; return whether that was done.

    The model computes the same, but for rounding. Models of other makes, and inputs of more than `MOST_PATCHES`
    patches, are left as they are.
    """
    patches = getattr(getattr(model, "patch_embed", None), "num_patches", None)
    if device.type != "cpu" or not isinstance(patches, int) or patches > MOST_PATCHES:
        return False
    fused = [module for module in model.modules() if getattr(module, "fused_attn", False)]
    for module in fused:
        module.fused_attn = False  # type: ignore[assignment]
    return bool(fused)
