"""The classifier on top of a backbone: one linear layer, or a chain of them with given widths."""

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn

from whichland.errors import UserError


def make_head(features: int, widths: Sequence[int], labels: int, dropout: float = 0.0) -> nn.Module:
    """Build the head: a plain Linear without `widths`, else Linear, ReLU, Dropout, … Linear.

    A plain Linear keeps the bundle loadable through timm alone.
    """
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(features, width), nn.ReLU(inplace=True), nn.Dropout(dropout)]
        features = width
    last = nn.Linear(features, labels)
    nn.init.zeros_(last.bias)
    nn.init.trunc_normal_(last.weight, std=0.01)
    return nn.Sequential(*layers, last) if layers else last


def classifier_name(model: nn.Module) -> str:
    """Name of the module that turns features into logits, such as `fc` or `head.fc`."""
    name = cast(Any, model).pretrained_cfg["classifier"]
    return cast(str, name if isinstance(name, str) else name[0])


def replace_head(model: nn.Module, widths: Sequence[int], labels: int, dropout: float = 0.0) -> nn.Module:
    """Put a fresh head for `labels` classes on a timm model, in place; return the head.

    A few families (ResNetV2, DLA, DPN) classify by a 1×1 convolution: they keep it, and raise UserError when
    hidden layers are asked for.
    """
    model.reset_classifier(labels)  # type: ignore[operator]
    parent_name, _, name = classifier_name(model).rpartition(".")
    parent = model.get_submodule(parent_name)
    old = getattr(parent, name)
    if not isinstance(old, nn.Linear):
        if widths:
            raise UserError("this architecture's classifier is no linear layer; train it without --head")
        return cast(nn.Module, old)
    head = make_head(old.in_features, widths, labels, dropout)
    setattr(parent, name, head)
    return head


def get_head(model: nn.Module) -> nn.Module:
    """The head module of a timm model."""
    return model.get_submodule(classifier_name(model))


def features_before_head(model: nn.Module, x_BCHW: Tensor) -> Tensor:
    """What the head sees for a batch: B×F."""
    features = model.forward_features(x_BCHW)  # type: ignore[operator]
    return cast(Tensor, model.forward_head(features, pre_logits=True))  # type: ignore[operator]
