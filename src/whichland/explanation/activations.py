"""Where a model is cut for an explanation: the last map in front of its logits, found without naming a layer.

timm splits every model into `forward_features`, which ends in a map, and `forward_head`, which makes logits. The
map is cut loose from what made it and the head alone is run with gradients: no hook, and hardly more work than a
prediction. Two kinds of models need more:

- After the last block of a ViT or DeiT only the class token reaches the head, so every patch has gradient zero.
  The graph is cut in front of that block, and what its attention reads is taken: the output of its first norm.
- CaiT, XCiT, CrossViT, CoaT and others end in layers of their own. There all modules are watched for one pass, and
  the last of their outputs that is a map of the photo and still matters to the logits is taken.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from whichland.errors import UserError
from whichland.images.preprocess import Pixels
from whichland.model.bundle import Bundle

Target = int | Sequence[int] | tuple[int, int] | Tensor | None
Size = tuple[int, int]

MOST_PREFIX = 16  # tokens that stand before the patches: class, distillation, registers
COARSEST = 64  # pixels of the photo to a step of the map


@dataclass(frozen=True)
class Activations:
    """A map inside the model, what the score would gain from more of it, and the logits of the same pass."""

    activation: Tensor  # B×C×h×w
    gradient: Tensor  # of the score, B×C×h×w
    logits: Tensor  # B×K


def activations(model: nn.Module, x_BCHW: Tensor, target: Target = None) -> Activations:
    """Run the model on its normalised input and cut it at its last map; for `target` see `gradcam`.

    The model runs in evaluation mode and is left as it was: modes, gradients, `requires_grad` and hooks.
    Raises UserError when no map of the photo leads to the logits.
    """
    # A caller may be inside inference_mode, whose tensors autograd refuses; the clone is an ordinary one.
    with torch.inference_mode(False), torch.enable_grad(), evaluating(model):
        x_BCHW = x_BCHW.clone()
        found = _between_features_and_head(model, x_BCHW, target) if hasattr(model, "forward_head") else None
        return found or _by_search(model, x_BCHW, target)


def _between_features_and_head(model: nn.Module, x_BCHW: Tensor, target: Target) -> Activations | None:
    """Cut between features and head, or in front of the last block; None where neither is a map that matters."""
    timm_model, blocks = cast(Any, model), getattr(model, "blocks", None)
    # the last block of a model of tokens, as timm lays out ViT and its kin
    tokens = hasattr(model, "num_prefix_tokens") and isinstance(blocks, nn.Sequential | nn.ModuleList)
    with _cut_in_front(blocks[-1] if tokens else None) as cuts, torch.set_grad_enabled(tokens):  # type: ignore[index]
        features = timm_model.forward_features(x_BCHW)
    if not isinstance(features, Tensor):
        return None
    if not features.requires_grad:
        features = features.detach().requires_grad_()
    logits_BK = timm_model.forward_head(features.clone())  # a clone, as some heads begin with an in-place step
    return _last_that_matters(model, [*cuts, features], logits_BK, target, size_of(x_BCHW))


def _by_search(model: nn.Module, x_BCHW: Tensor, target: Target) -> Activations:
    """Watch every module for one pass and cut at the last output that is a map and matters."""
    seen: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: object) -> None:
        outputs = output if isinstance(output, tuple | list) else (output,)
        seen.extend(o for o in outputs if isinstance(o, Tensor) and o.requires_grad and len(o) == len(x_BCHW))

    with ExitStack() as hooks:
        for module in model.modules():
            if module is not model:
                hooks.enter_context(module.register_forward_hook(keep))
        logits_BK = model(x_BCHW.requires_grad_())
    size = size_of(x_BCHW)
    maps = [features for features in seen if as_map(model, features, size) is not None]
    if found := _last_that_matters(model, maps, logits_BK, target, size):
        return found
    if not maps:
        raise UserError(f"{type(model).__name__} has no map of the photo in front of its answer to explain")
    # no map changes the score: the head is saturated, or zero
    activation_BChw = cast(Tensor, as_map(model, maps[-1].detach(), size)).float()
    return Activations(activation_BChw, torch.zeros_like(activation_BChw), logits_BK.detach())


def _last_that_matters(
    model: nn.Module, candidates: Sequence[Tensor], logits_BK: Tensor, target: Target, size: Size
) -> Activations | None:
    """The last of the candidates whose patches have any gradient."""
    score = target_scores(logits_BK, target).sum()  # over the batch: each photo's gradient is its own
    gradients = torch.autograd.grad(score, candidates, allow_unused=True) if candidates else ()
    for features, gradient in zip(reversed(candidates), reversed(gradients), strict=True):
        gradient_BChw = None if gradient is None else as_map(model, gradient, size)
        if gradient_BChw is not None and bool(gradient_BChw.any()):
            activation_BChw = cast(Tensor, as_map(model, features.detach(), size))
            return Activations(activation_BChw.float(), gradient_BChw.float(), logits_BK.detach())
    return None


@contextmanager
def _cut_in_front(block: nn.Module | None) -> Iterator[list[Tensor]]:
    """Cut the graph in front of `block` for one pass; the list receives its input, then its first norm's output.

    The norm counts only when it reads the block's input: behind it lies what attention reads.
    """
    cuts: list[Tensor] = []
    given: list[Tensor] = []

    def cut(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        cuts.append(inputs[0].detach().requires_grad_())
        given.append(cuts[0].clone())
        return (given[0], *inputs[1:])

    def keep(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if given and inputs[0] is given[0]:
            cuts.append(output)

    with ExitStack() as hooks:
        if block is not None:
            hooks.enter_context(block.register_forward_pre_hook(cut))
            if isinstance(norm := getattr(block, "norm1", None), nn.Module):
                hooks.enter_context(norm.register_forward_hook(keep))
        yield cuts


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode; give every module its own mode back, as parts may be frozen."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def target_scores(logits_BK: Tensor, target: Target) -> Tensor:
    """What is to be explained of each photo: a logit, or the difference of two. Length B."""
    if target is None:
        return logits_BK.amax(dim=1)
    if isinstance(target, tuple):
        return logits_BK[:, target[0]] - logits_BK[:, target[1]]
    if isinstance(target, int):
        return logits_BK[:, target]
    rows = torch.arange(len(logits_BK), device=logits_BK.device)
    columns = torch.as_tensor(target, device=logits_BK.device)
    if columns.shape != rows.shape:
        raise ValueError(f"{len(rows)} photos, but targets of shape {tuple(columns.shape)}")
    return logits_BK[rows, columns]


def network_input(bundle: Bundle, crops_BHWC: Pixels) -> Tensor:
    """Crops as the bundle's network takes them: B×3×H×W, normalised, on its device."""
    device = next(bundle.model.parameters()).device
    return torch.from_numpy(bundle.preprocess.normalise(crops_BHWC)).to(device)


def size_of(x_BCHW: Tensor) -> Size:
    """Rows and columns of the input."""
    return int(x_BCHW.shape[-2]), int(x_BCHW.shape[-1])


def as_map(model: nn.Module, features: Tensor, size: Size) -> Tensor | None:
    """Bring features to B×C×h×w, or None when they are no map of a photo of this size.

    They may be B×C×h×w, B×h×w×C (Swin), or tokens B×N×C (ViT), of which the first stand for no place: as many as
    timm's `num_prefix_tokens` says, or where the model has none, as many as leave a grid.
    """
    if features.ndim == 4:
        orders = [(0, 1, 2, 3), (0, 3, 1, 2)]
        for order in reversed(orders) if getattr(model, "output_fmt", None) == "NHWC" else orders:
            map_BChw = features.permute(order)
            if _covers(size, *map_BChw.shape[-2:]):
                return map_BChw
    if features.ndim == 3:
        prefix = getattr(model, "num_prefix_tokens", None)
        for tokens_BNC in (features, features.transpose(1, 2)):
            for skipped in range(MOST_PREFIX) if prefix is None else (prefix,):
                if grid := _grid(model, tokens_BNC.shape[1] - skipped, size):
                    patches_BCN = tokens_BNC[:, skipped:].transpose(1, 2)
                    return patches_BCN.reshape(len(features), -1, *grid)
    return None


def _covers(size: Size, rows: int, columns: int) -> bool:
    """Whether a grid may lie over the whole photo: as many pixels to a step both ways, but for the edges."""
    steps = range(1, COARSEST + 1)
    near = any(abs(rows - size[0] / step) <= 1 and abs(columns - size[1] / step) <= 1 for step in steps)
    return near and rows * columns > 1


def _grid(model: nn.Module, tokens: int, size: Size) -> Size | None:
    """Rows and columns of so many patches; they follow the input's size, as many models take any."""
    stated = getattr(model, "feature_info", None)
    for step in [*([stated[-1]["reduction"]] if stated else []), *range(2, COARSEST + 1)]:
        rows, columns = -(-size[0] // step), -(-size[1] // step)
        if rows * columns == tokens and tokens > 1:
            return rows, columns
    return None
