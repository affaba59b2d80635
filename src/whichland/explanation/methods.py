"""The ways to explain, by name: all take (model, x_BCHW, target) and give maps B×H×W in [0, 1], and logits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor, nn

from whichland.errors import UserError
from whichland.explanation.activations import Target
from whichland.explanation.attention import attention_gradients_and_logits, rollout_and_logits
from whichland.explanation.gradcam import gradcam_and_logits, gradcam_plus_plus_and_logits, layercam_and_logits

Explain = Callable[[nn.Module, Tensor, Target], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Method:
    """A way to explain."""

    name: str
    maps_and_logits: Explain
    needs: str  # which models it works for


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("gradcam", gradcam_and_logits, "any model"),
            Method("gradcam++", gradcam_plus_plus_and_logits, "any model"),
            Method("layercam", layercam_and_logits, "any model"),
            Method("attention-gradients", attention_gradients_and_logits, "ViT, DeiT and their kin"),
            Method("rollout", rollout_and_logits, "ViT, DeiT and their kin; the same map for every target"),
        )
    }
)


def find_method(name: str) -> Method:
    """The method of that name. Raises UserError for an unknown one."""
    if name not in METHODS:
        raise UserError(f"no method {name!r} to explain by; there are {', '.join(METHODS)}")
    return METHODS[name]
