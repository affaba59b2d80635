"""Explanations from a transformer's attention: what its answer token has read, through all blocks.

timm computes attention in one fused step that never shows its weights. The switch for that is turned off for one
pass, in a model already made, and put back.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from whichland.errors import UserError
from whichland.explanation.activations import Target, as_map, evaluating, size_of, target_scores
from whichland.explanation.gradcam import enlarge, to_unit_peak


@torch.no_grad()
def rollout(model: nn.Module, x_BCHW: Tensor, target: Target = None) -> Tensor:
    """Attention rollout: maps B×H×W in [0, 1] of what the answer token has read, the same for every target.

    The blocks' attention is multiplied, which follows the tokens back to the patches (Abnar & Zuidema, arXiv
    2005.00928). Raises UserError as `attention_gradients` does.
    """
    with evaluating(model), _watched(model, len(x_BCHW)) as attention:
        model(x_BCHW)
    _check(model, attention)
    same_1NN = torch.eye(attention[0].shape[-1], device=x_BCHW.device)[None]
    read_BNN = same_1NN
    for weights_BhNN in attention:  # half of what a token knows comes past the attention, unmixed
        read_BNN = (0.5 * weights_BhNN.float().mean(dim=1) + 0.5 * same_1NN) @ read_BNN
    map_BHW = _map_of_patches(model, read_BNN, x_BCHW)
    # Something of every patch reaches the answer: what all have alike says nothing.
    return to_unit_peak(map_BHW - map_BHW.amin(dim=(1, 2), keepdim=True))


def attention_gradients(model: nn.Module, x_BCHW: Tensor, target: Target = None) -> Tensor:
    """Attention weighed by its gradient: maps B×H×W in [0, 1] of where the evidence for `target` was read.

    Each head's attention is weighed by what the target's score would gain from it; what is positive is accumulated
    over the blocks (Chefer et al., arXiv 2103.15679, equations 5 and 6, after arXiv 2012.09838). For `target` see
    `gradcam`. Raises UserError for a model whose blocks do not attend from every token to every token, such as
    Swin's windows or a convolutional network.
    """
    with torch.inference_mode(False), torch.enable_grad(), evaluating(model):
        with _watched(model, len(x_BCHW)) as attention:
            logits_BK = model(x_BCHW.clone().requires_grad_())
        _check(model, attention)
        gradients = torch.autograd.grad(target_scores(logits_BK, target).sum(), attention)
    same_1NN = torch.eye(attention[0].shape[-1], device=x_BCHW.device)[None]
    relevance_BNN = same_1NN
    for weights_BhNN, gradient_BhNN in zip(attention, gradients, strict=True):
        gain_BNN = (gradient_BhNN * weights_BhNN.detach()).float().clamp(min=0).mean(dim=1)
        relevance_BNN = relevance_BNN + gain_BNN @ relevance_BNN
    return to_unit_peak(_map_of_patches(model, relevance_BNN - same_1NN, x_BCHW))


def _map_of_patches(model: nn.Module, read_BNN: Tensor, x_BCHW: Tensor) -> Tensor:
    """How much the tokens that are pooled into the answer have of each patch: B×H×W."""
    pool = getattr(model, "global_pool", "token")
    if pool == "token":
        answers = slice(0, 2 if getattr(model, "dist_token", None) is not None else 1)
    elif pool in ("avg", "avgmax", "max"):
        answers = slice(getattr(model, "num_prefix_tokens", 0), None)
    else:
        raise UserError(f"{type(model).__name__} pools by attention of its own; explain it with gradcam")
    read_BN1 = read_BNN[:, answers].mean(dim=1)[..., None]
    map_B1hw = as_map(model, read_BN1, size_of(x_BCHW))
    if map_B1hw is None:
        raise UserError(f"{type(model).__name__}: {read_BN1.shape[1]} tokens are no grid of patches")
    return enlarge(map_B1hw[:, 0], x_BCHW)


def _check(model: nn.Module, attention: list[Tensor]) -> None:
    """Every block must attend from all tokens to all tokens, or the blocks cannot be chained."""
    if not attention or {weights.shape[-2:] for weights in attention} != {attention[0].shape[-2:]}:
        raise UserError(
            f"{type(model).__name__} does not attend from every patch to every other in all its blocks, as ViT "
            "and DeiT do; explain it with gradcam"
        )


@contextmanager
def _watched(model: nn.Module, photos: int) -> Iterator[list[Tensor]]:
    """Unfuse the attention for a while; the list receives each block's weights B×heads×N×N in turn."""
    weights: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> None:
        square = output.ndim == 4 and output.shape[-1] == output.shape[-2]
        weights.append(output if square and len(output) == photos else output.new_empty(0, 0))

    with ExitStack() as restored:
        module: Any
        for module in model.modules():
            if isinstance(getattr(module, "attn_drop", None), nn.Module):
                restored.enter_context(module.attn_drop.register_forward_hook(keep))
                if getattr(module, "fused_attn", False):
                    restored.callback(setattr, module, "fused_attn", True)
                    module.fused_attn = False
        yield weights
