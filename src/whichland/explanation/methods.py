"""The ways to explain: one table, from which the flags, the help, the API and the page's choice are made.

Torch is imported only by the methods that need it; `occlusion` works with any engine.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import TYPE_CHECKING, cast

from whichland.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from whichland.explanation.activations import Target


@dataclass(frozen=True)
class Method:
    """A way to explain."""

    name: str
    what: str
    place: str  # module:function
    needs: str = ""  # which models it works for; any when empty
    torch: bool = True

    @property
    def maps(self) -> "Callable[[nn.Module, Tensor, Target], Tensor]":
        """From (model, x_BCHW, target) to maps B×H×W in [0, 1]; imports torch."""
        function = resolve_name(f"whichland.explanation.{self.place}")
        return cast("Callable[[nn.Module, Tensor, Target], Tensor]", function)


_KIN = "ViT, DeiT and their kin"
_ALL = (
    Method("gradcam", "gradients at the last activations", "gradcam:gradcam"),
    Method("gradcam++", "the same, weighted by place", "gradcam:gradcam_plus_plus"),
    Method("layercam", "gradients at every place of them", "gradcam:layercam"),
    Method("attention-gradients", "gradients of the attention", "attention:attention_gradients", _KIN),
    Method("rollout", "attention, the same map for every target", "attention:rollout", _KIN),
    Method("occlusion", "covering parts of the photo; needs no torch", "occlusion:occlusion_of_network", torch=False),
)
METHODS: Mapping[str, Method] = {method.name: method for method in _ALL}
METHODS_HELP = "; ".join(f"{m.name}: {m.what}" + f" ({m.needs})" * bool(m.needs) for m in _ALL)


def find_method(name: str) -> Method:
    """The method of that name. Raises UserError for an unknown one."""
    if name not in METHODS:
        raise UserError(f"no method {name!r} to explain by; there are {', '.join(METHODS)}")
    return METHODS[name]


def usual_method() -> Method:
    """The first one that works here."""
    there = find_spec("torch") is not None
    return next(method for method in _ALL if there or not method.torch)
