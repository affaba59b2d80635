"""Class activation maps for any timm model, without naming a layer.

`gradcam` weighs each channel of the model's last map by its mean gradient (Selvaraju et al., arXiv 1610.02391).
`gradcam_plus_plus` weighs gradients by how much each place has to say for its channel, so that several things of
one kind all count (Chattopadhyay et al., arXiv 1710.11063, equation 19). `layercam` weighs every place by its own
gradient, which keeps small things small (Jiang et al., doi 10.1109/TIP.2021.3089943). Where the model is cut for
them is said in `activations`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from whichland.explanation.activations import Activations, Target, activations


def gradcam(model: nn.Module, x_BCHW: Tensor, target: Target = None) -> Tensor:
    """Show where the evidence for `target` lies: maps B×H×W in [0, 1], each with its peak at 1.

    `x_BCHW` is the model's normalised input. `target` is None for each photo's top guess, an int for the same
    class everywhere, a list or tensor of ints for one class a photo, or a tuple (a, b) for what speaks for a
    and against b (the difference of their logits). A map without positive evidence is zero everywhere.

    The model is used in evaluation mode and left as it was: modes, gradients, `requires_grad` and hooks.
    Raises UserError for a model whose logits no map of the photo leads to.
    """
    return gradcam_and_logits(model, x_BCHW, target)[0]


def gradcam_and_logits(model: nn.Module, x_BCHW: Tensor, target: Target = None) -> tuple[Tensor, Tensor]:
    """The maps of `gradcam`, and the logits B×K of the same pass."""
    return _explained(_gradcam, model, x_BCHW, target)


def gradcam_plus_plus(model: nn.Module, x_BCHW: Tensor, target: Target = None) -> Tensor:
    """Grad-CAM++: as `gradcam`, but several things of one kind all count."""
    return gradcam_plus_plus_and_logits(model, x_BCHW, target)[0]


def gradcam_plus_plus_and_logits(model: nn.Module, x_BCHW: Tensor, target: Target = None) -> tuple[Tensor, Tensor]:
    """The maps of `gradcam_plus_plus`, and the logits B×K of the same pass."""
    return _explained(_plus_plus, model, x_BCHW, target)


def layercam(model: nn.Module, x_BCHW: Tensor, target: Target = None) -> Tensor:
    """LayerCAM: as `gradcam`, but every place is weighed by its own gradient."""
    return layercam_and_logits(model, x_BCHW, target)[0]


def layercam_and_logits(model: nn.Module, x_BCHW: Tensor, target: Target = None) -> tuple[Tensor, Tensor]:
    """The maps of `layercam`, and the logits B×K of the same pass."""
    return _explained(_layercam, model, x_BCHW, target)


def _explained(
    weigh: Callable[[Activations], Tensor], model: nn.Module, x_BCHW: Tensor, target: Target
) -> tuple[Tensor, Tensor]:
    found = activations(model, x_BCHW, target)
    cam_Bhw = functional.relu((weigh(found) * found.activation).sum(dim=1))
    return to_unit_peak(enlarge(cam_Bhw, x_BCHW.shape[-2], x_BCHW.shape[-1])), found.logits


def _gradcam(found: Activations) -> Tensor:
    return found.gradient.mean(dim=(2, 3), keepdim=True)


def _plus_plus(found: Activations) -> Tensor:
    """The score is taken through the exponential, whose higher derivatives are powers of the first."""
    gradient_BChw = found.gradient
    total_BC11 = found.activation.sum(dim=(2, 3), keepdim=True)
    below_BChw = 2 * gradient_BChw**2 + total_BC11 * gradient_BChw**3
    alpha_BChw = torch.where(below_BChw != 0, gradient_BChw**2 / below_BChw, 0.0)
    return (alpha_BChw * functional.relu(gradient_BChw)).sum(dim=(2, 3), keepdim=True)


def _layercam(found: Activations) -> Tensor:
    return functional.relu(found.gradient)


def enlarge(maps_Bhw: Tensor, rows: int, columns: int) -> Tensor:
    """Bring maps to the size of the input."""
    size = (rows, columns)
    return functional.interpolate(maps_Bhw[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def to_unit_peak(maps_BHW: Tensor) -> Tensor:
    """Divide each map by its peak; one that is zero everywhere stays so."""
    peak_B11 = maps_BHW.amax(dim=(1, 2), keepdim=True)
    return torch.where(peak_B11 > 0, maps_BHW / peak_B11, 0.0)
