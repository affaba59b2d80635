"""Class activation maps for any timm model, without naming a layer; `activations` says where the model is cut."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from whichland.explanation.activations import Activations, Target, activations, size_of


def gradcam(model: nn.Module, x_BCHW: Tensor, target: Target = None) -> Tensor:
    """Show where the evidence for `target` lies: maps B×H×W in [0, 1], each with its peak at 1.

    Each channel of the model's last map is weighed by its mean gradient (Selvaraju et al., arXiv 1610.02391).
    `x_BCHW` is the model's normalised input. `target` is None for each photo's top guess, an int for the same
    class everywhere, a list or tensor of ints for one class a photo, or a tuple (a, b) for what speaks for a
    and against b (the difference of their logits). A map without positive evidence is zero everywhere.

    The model is used in evaluation mode and left as it was: modes, gradients, `requires_grad` and hooks.
    Raises UserError for a model whose logits no map of the photo leads to.
    """
    found = activations(model, x_BCHW, target)
    return _weighed(found, found.gradient.mean(dim=(2, 3), keepdim=True), x_BCHW)


def gradcam_plus_plus(model: nn.Module, x_BCHW: Tensor, target: Target = None) -> Tensor:
    """Grad-CAM++: as `gradcam`, but gradients are weighed by how much each place says for its channel.

    So several objects of one kind all count (Chattopadhyay et al., arXiv 1710.11063, equation 19). The score is
    taken through the exponential, whose higher derivatives are powers of the first.
    """
    found = activations(model, x_BCHW, target)
    gradient_BChw = found.gradient
    total_BC11 = found.activation.sum(dim=(2, 3), keepdim=True)
    below_BChw = 2 * gradient_BChw**2 + total_BC11 * gradient_BChw**3
    alpha_BChw = torch.where(below_BChw != 0, gradient_BChw**2 / below_BChw, 0.0)
    return _weighed(found, (alpha_BChw * functional.relu(gradient_BChw)).sum(dim=(2, 3), keepdim=True), x_BCHW)


def layercam(model: nn.Module, x_BCHW: Tensor, target: Target = None) -> Tensor:
    """LayerCAM: as `gradcam`, but every place is weighed by its own gradient, which keeps small objects small.

    Jiang et al., doi 10.1109/TIP.2021.3089943.
    """
    found = activations(model, x_BCHW, target)
    return _weighed(found, functional.relu(found.gradient), x_BCHW)


def _weighed(found: Activations, weight: Tensor, x_BCHW: Tensor) -> Tensor:
    cam_Bhw = functional.relu((weight * found.activation).sum(dim=1))
    return to_unit_peak(enlarge(cam_Bhw, x_BCHW))


def enlarge(maps_Bhw: Tensor, x_BCHW: Tensor) -> Tensor:
    """Bring maps to the size of the input."""
    size = size_of(x_BCHW)
    return functional.interpolate(maps_Bhw[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def to_unit_peak(maps_BHW: Tensor) -> Tensor:
    """Divide each map by its peak; one that is zero everywhere stays so."""
    peak_B11 = maps_BHW.amax(dim=(1, 2), keepdim=True)
    return torch.where(peak_B11 > 0, maps_BHW / peak_B11, 0.0)
