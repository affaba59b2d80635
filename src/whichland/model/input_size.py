"""Input sizes other than a model's own: what timm needs, or one line that says which sizes do.

Models are tried on the meta device, which computes shapes alone: seconds, and no memory for weights.
"""

import sys
from collections.abc import Mapping
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn

from whichland.errors import UserError, first_line

Size = tuple[int, int]  # height, width in pixels

STEPS = (2, 4, 8, 14, 16, 28, 32, 64)  # sides that models may need multiples of


def as_size(size: int | Size) -> Size:
    """Height and width; one number is both."""
    return (size, size) if isinstance(size, int) else size


def fit_size(arch: str, size: int | Size, model_args: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the arguments that timm needs to make `arch` for images of `size` (a side, or height and width).

    Empty for models that take images of any size; `{"img_size": …}` where positions or windows are laid out
    for one, so that pretrained weights are resampled to it. Raises UserError that says which sizes do.
    """
    given = {name: value for name, value in (model_args or {}).items() if name != "img_size"}
    own = meta_model(arch, given)
    wanted = as_size(size)
    if not _runs(own, own_size(own)):  # the meta device cannot run a few models: timm is taken at its word
        return _ways(wanted, own)[0]
    way = _way(arch, given, wanted, own)
    if way is None:
        sizes = _sizes_that_do(arch, given, wanted, own)
        raise UserError(f"{arch} takes no images of {_text(wanted)} pixels; {sizes}")
    return way


def check_size(arch: str, size: int | Size, model_args: Mapping[str, Any]) -> None:
    """Raise UserError when a model that is made with `model_args` cannot be shown images of `size`.

    For photos of another size when predicting: a model made for one `img_size` takes no other.
    """
    wanted = as_size(size)
    model = meta_model(arch, model_args)
    made_for = as_size(model_args.get("img_size") or own_size(model))
    if _runs(model, made_for) and not _runs(model, wanted):
        raise UserError(
            f"{arch} made for {_text(made_for)} pixels takes no images of {_text(wanted)}; "
            "predict at the same size, or try --set model.model_args=dynamic_img_size=true"
        )


def meta_model(arch: str, model_args: Mapping[str, Any] | None = None) -> nn.Module:
    """Make a timm model that has shapes and no weights, in evaluation mode. Raises UserError for bad arguments."""
    try:
        with torch.device("meta"):
            return timm.create_model(arch, **dict(model_args or {})).eval()
    except Exception as error:  # each family complains of its arguments in its own way
        if not model_args:
            raise
        raise UserError(f"{arch} cannot be made with {dict(model_args)}: {first_line(error)}") from None


def own_size(model: nn.Module) -> Size:
    """Height and width that a timm model was trained at."""
    _, height, width = cast(Any, model).pretrained_cfg["input_size"]
    return height, width


def resampled(model: nn.Module, weights: Mapping[str, Tensor], source: Size) -> dict[str, Tensor]:
    """Bring weights of a model for images of `source` to the positions and windows that `model` has.

    Each family of timm has its own rule for that, which runs when timm itself loads weights.
    """
    rule = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if rule is None:
        return dict(weights)
    cast(Any, model).pretrained_model_args = {"img_size": source}
    return cast(dict[str, Tensor], rule(dict(weights), model))


def _ways(size: Size, own: nn.Module) -> list[dict[str, Any]]:
    """The arguments that may give timm a size, the likelier first.

    A model of fixed size is given one in any case, lest another tag's or a bundle's be taken. Some that timm
    calls fixed (CLIP's ResNets) are made for their own size and adapt when they are shown another.
    """
    given, native = ({"img_size": side if side == other else (side, other)} for side, other in (size, own_size(own)))
    return [given, native] if cast(Any, own).pretrained_cfg.get("fixed_input_size") else [{}, given]


def _way(arch: str, given: Mapping[str, Any], size: Size, own: nn.Module) -> dict[str, Any] | None:
    """The first of the ways in which a model takes images of `size`; None when there is none."""
    ways = _ways(size, own)
    return next((way for way in ways if _takes(arch, dict(given) | way, size, own)), None)


def _takes(arch: str, model_args: Mapping[str, Any], size: Size, own: nn.Module) -> bool:
    """Whether a model made with `model_args` runs on images of `size` and pretrained weights fit it."""
    stem = getattr(getattr(own, "patch_embed", None), "proj", None)
    if isinstance(stem, nn.Conv2d) and stem.stride == stem.kernel_size:
        rows, columns = stem.kernel_size
        if size[0] % rows or size[1] % columns:  # such a model runs, but does not see the last pixels
            return False
    if "img_size" not in model_args:
        return _runs(own, size)
    weights = {name: torch.zeros(tensor.shape) for name, tensor in own.state_dict().items()}
    try:
        model = meta_model(arch, model_args)
        found = resampled(model, weights, own_size(own)) if _runs(model, size) else {}
    except Exception:  # each family refuses a size in its own way, and its rule meets shapes that it cannot handle
        return False
    return all(name in found and found[name].shape == parameter.shape for name, parameter in model.named_parameters())


def _runs(model: nn.Module, size: Size) -> bool:
    try:
        with torch.no_grad():
            model(torch.empty(1, 3, *size, device="meta"))
    except Exception:  # each family refuses a size in its own way
        return False
    return True


def _sizes_that_do(arch: str, given: Mapping[str, Any], wanted: Size, own: nn.Module) -> str:
    """Say which sizes near the wanted one a model takes; each that is named has been tried."""
    for step in STEPS:
        below = (wanted[0] // step * step, wanted[1] // step * step)
        above = (-(-wanted[0] // step) * step, -(-wanted[1] // step) * step)
        near = [size for size in dict.fromkeys((below, above)) if min(size) and size != wanted]
        if near and all(_way(arch, given, size, own) is not None for size in near):
            return f"multiples of {step} do, such as {' or '.join(map(_text, near))}"
    return f"its own {_text(own_size(own))} does"


def _text(size: Size) -> str:
    return f"{size[0]}×{size[1]}"
