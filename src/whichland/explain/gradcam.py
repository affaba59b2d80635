"""Grad-CAM for any timm model, without naming a layer (Selvaraju et al., arXiv 1610.02391).

timm splits every model into `forward_features`, which ends in a map, and `forward_head`, which makes logits.
The map is cut loose from what made it, the head alone is run with gradients, and no hook is needed. Models of
tokens (ViT, DeiT) are the exception: after their last block only the class token reaches the head, so every
patch has gradient zero. There the input of the last block is taken, by a hook that lives as long as one pass.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from whichland.errors import UserError

Target = int | Sequence[int] | tuple[int, int] | Tensor | None


def gradcam(model: nn.Module, x_BCHW: Tensor, target: Target = None) -> Tensor:
    """Show where the evidence for `target` lies: maps B×H×W in [0, 1], each with its peak at 1.

    `x_BCHW` is the model's normalised input. `target` is None for each photo's top guess, an int for the same
    class everywhere, a list or tensor of ints for one class a photo, or a tuple (a, b) for what speaks for a
    and against b (the difference of their logits). A map without positive evidence is zero everywhere.

    The model is used in evaluation mode and left as it was: modes, gradients, `requires_grad` and hooks.
    Raises UserError for a model whose features are neither a map nor tokens.
    """
    return gradcam_and_logits(model, x_BCHW, target)[0]


def gradcam_and_logits(model: nn.Module, x_BCHW: Tensor, target: Target = None) -> tuple[Tensor, Tensor]:
    """The maps of `gradcam`, and the logits B×K of the same pass."""
    # A caller may be inside inference_mode, whose tensors autograd refuses; the clone is an ordinary one.
    with torch.inference_mode(False), torch.enable_grad(), _evaluating(model):
        features, logits_BK = _features_and_logits(model, x_BCHW.clone())
        score = _score(logits_BK, target)
        (gradient,) = torch.autograd.grad(score, features)
    size = (int(x_BCHW.shape[-2]), int(x_BCHW.shape[-1]))
    activation_BChw = _as_map(model, features.detach(), size).float()
    gradient_BChw = _as_map(model, gradient, size).float()
    weight_BC11 = gradient_BChw.mean(dim=(2, 3), keepdim=True)
    cam_B1hw = functional.relu((weight_BC11 * activation_BChw).sum(dim=1, keepdim=True))
    cam_BHW = functional.interpolate(cam_B1hw, size=size, mode="bilinear", align_corners=False)[:, 0]
    peak_B11 = cam_BHW.amax(dim=(1, 2), keepdim=True)
    return torch.where(peak_B11 > 0, cam_BHW / peak_B11, 0.0), logits_BK.detach()


def _features_and_logits(model: nn.Module, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Run the model; return the features that the explanation stands on, as a leaf, and the logits."""
    timm_model = cast(Any, model)
    blocks = getattr(model, "blocks", None)
    if hasattr(model, "num_prefix_tokens") and isinstance(blocks, (nn.Sequential, nn.ModuleList)):
        with _leaf_before(blocks[-1]) as leaves:
            logits_BK = timm_model.forward_head(timm_model.forward_features(x_BCHW))
        return leaves[0], logits_BK
    with torch.no_grad():
        features = timm_model.forward_features(x_BCHW)
    if not isinstance(features, Tensor):
        raise UserError(f"{type(model).__name__} has no single feature map to explain")
    leaf = features.detach().requires_grad_()
    return leaf, timm_model.forward_head(leaf.clone())  # a clone, as some heads begin with an in-place step


@contextmanager
def _leaf_before(module: nn.Module) -> Iterator[list[Tensor]]:
    """Cut the graph in front of `module` while the block runs; the list receives the leaf it is fed with."""
    leaves: list[Tensor] = []

    def cut(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        leaves.append(inputs[0].detach().requires_grad_())
        return (leaves[0].clone(), *inputs[1:])

    handle = module.register_forward_pre_hook(cut)
    try:
        yield leaves
    finally:
        handle.remove()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode; give every module its own mode back, as parts may be frozen."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _score(logits_BK: Tensor, target: Target) -> Tensor:
    """Sum over the batch of what is to be explained; each photo's gradient is its own."""
    rows = torch.arange(len(logits_BK), device=logits_BK.device)
    if target is None:
        return logits_BK.amax(dim=1).sum()
    if isinstance(target, tuple):
        a, b = target
        return (logits_BK[:, a] - logits_BK[:, b]).sum()
    if isinstance(target, int):
        return logits_BK[:, target].sum()
    columns = torch.as_tensor(target, device=logits_BK.device)
    if columns.shape != rows.shape:
        raise ValueError(f"{len(rows)} photos, but targets of shape {tuple(columns.shape)}")
    return logits_BK[rows, columns].sum()


def _as_map(model: nn.Module, features: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring features to B×C×h×w: from B×C×h×w, from B×h×w×C (Swin), or from tokens B×N×C (ViT)."""
    if features.ndim == 4:
        channels_last = getattr(model, "output_fmt", None) == "NHWC"
        return features.permute(0, 3, 1, 2) if channels_last else features
    if features.ndim == 3:
        patches_BNC = features[:, getattr(model, "num_prefix_tokens", 0) :]
        rows, columns = _grid(model, patches_BNC.shape[1], size)
        return patches_BNC.transpose(1, 2).reshape(len(features), -1, rows, columns)
    raise UserError(f"{type(model).__name__} pools its features too early to be explained by a map")


def _grid(model: nn.Module, tokens: int, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the patches; they follow the input's size, as many models take any."""
    reduction = cast(Any, model).feature_info[-1]["reduction"]
    rows, columns = -(-size[0] // reduction), -(-size[1] // reduction)
    if rows * columns != tokens:
        raise UserError(f"{type(model).__name__}: {tokens} tokens are no grid of {rows}×{columns} patches")
    return rows, columns
