"""Explaining: what the model looks at. The package itself is callable, and so is each method, as one call:

whichland.explain.gradcam(model, x_BCHW, target=None) gives maps B×H×W in [0, 1] for any timm model.
"""

from importlib import import_module
from typing import Any

from whichland.callable_package import make_callable

make_callable(__name__, "whichland.explain.explanation")

_HOMES = {
    "gradcam_plus_plus": "whichland.explain.gradcam",
    "layercam": "whichland.explain.gradcam",
    "attention_gradients": "whichland.explain.attention",
    "rollout": "whichland.explain.attention",
    "maximise": "whichland.explain.maximise",
}


def __getattr__(name: str) -> Any:
    if name == "gradcam":  # a module of the method's own name, and callable as it
        return import_module("whichland.explain.gradcam")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
