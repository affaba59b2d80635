"""The ways to explain: one table, from which the flags, the help, the API and the page's choice are made.

Torch is imported only by the methods that need it; `occlusion` works with any engine.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from whichland.errors import UserError
from whichland.explanation.occlusion import occlusion
from whichland.images.preprocess import Pixels

if TYPE_CHECKING:
    from torch import Tensor, nn

    from whichland.explanation.activations import Target
    from whichland.model.model import Model

    Explain = Callable[[nn.Module, Tensor, Target], tuple[Tensor, Tensor]]

MethodName = Literal["gradcam", "gradcam++", "layercam", "attention-gradients", "rollout", "occlusion"]


@dataclass(frozen=True)
class Method:
    """A way to explain."""

    name: MethodName
    what: str
    needs: str  # which models it works for
    place: str  # module:function of (model, x_BCHW, target), which gives maps B×H×W in [0, 1], and logits
    torch: bool = True

    @property
    def maps_and_logits(self) -> "Explain":
        """The function; imports torch."""
        module, name = self.place.split(":")
        return cast("Explain", getattr(import_module(f"whichland.explanation.{module}"), name))


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("gradcam", "gradients at the last activations", "any model", "gradcam:gradcam_and_logits"),
            Method("gradcam++", "the same, weighted by place", "any model", "gradcam:gradcam_plus_plus_and_logits"),
            Method("layercam", "gradients at every place of them", "any model", "gradcam:layercam_and_logits"),
            Method(
                "attention-gradients",
                "gradients of the attention",
                "ViT, DeiT and their kin",
                "attention:attention_gradients_and_logits",
            ),
            Method(
                "rollout",
                "attention, the same map for every target",
                "ViT, DeiT and their kin",
                "attention:rollout_and_logits",
            ),
            Method(
                "occlusion",
                "covering parts of the photo; needs no torch",
                "any model",
                "occlusion:occlusion_and_logits",
                torch=False,
            ),
        )
    }
)
assert get_args(MethodName) == tuple(METHODS)
METHODS_HELP = "; ".join(f"{m.name}: {m.what}" + f" ({m.needs})" * (m.needs != "any model") for m in METHODS.values())


def find_method(name: str) -> Method:
    """The method of that name. Raises UserError for an unknown one."""
    if name not in METHODS:
        raise UserError(f"no method {name!r} to explain by; there are {', '.join(METHODS)}")
    return METHODS[name]


def usual_method() -> Method:
    """The first one that works here."""
    there = find_spec("torch") is not None
    return next(method for method in METHODS.values() if there or not method.torch)


def view_map(model: "Model", crop_HWC: Pixels, target: int | tuple[int, int], method: Method) -> NDArray[np.float32]:
    """The map of one view, H×W in [0, 1]: by the model's own engine where the method allows it, else by torch.

    Raises UserError when the method does not fit the model, or torch is missing.
    """
    if not method.torch:
        return occlusion(model.run, crop_HWC, target)[0]
    import torch

    network = model.bundle.model
    x_BCHW = torch.from_numpy(model.preprocess.normalise(crop_HWC[None])).to(next(network.parameters()).device)
    map_HW: NDArray[np.float32] = method.maps_and_logits(network, x_BCHW, target)[0][0].cpu().numpy()
    return map_HW
