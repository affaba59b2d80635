"""Which parameters learn: all, the head alone, or the last stage and the head."""

from typing import Literal

from torch import nn

from whichland.model.head import classifier_name

Freeze = Literal["none", "backbone", "front"]


def last_stage(model: nn.Module) -> str:
    """Name of the module where the last stage begins, by one rule for every family.

    Hierarchical models (ResNet, ConvNeXt, Swin, MobileNet…) say it in timm's `feature_info`; in models of equal
    blocks (ViT, DeiT) the last quarter of the blocks is the last stage, as a ResNet's `layer4` is of four.
    """
    modules = [info["module"] for info in model.feature_info]  # type: ignore[union-attr]
    reductions = {info["reduction"] for info in model.feature_info}  # type: ignore[union-attr]
    if len(reductions) > 1 or len(modules) < 4:
        return str(modules[-1])
    return str(modules[len(modules) - len(modules) // 4])


def freeze(model: nn.Module, policy: Freeze) -> None:
    """Set `requires_grad` of every parameter by policy: none, backbone (all but the head), front.

    "front" freezes everything before the last stage, in the order in which the model defines its parameters.
    """
    head = classifier_name(model) + "."
    stage = last_stage(model) + "."
    learns = policy == "none"
    for name, parameter in model.named_parameters():
        if policy == "front" and name.startswith(stage):
            learns = True
        parameter.requires_grad_(learns or name.startswith(head))


def train_mode(model: nn.Module) -> None:
    """Put learning modules in training mode; modules that are wholly frozen keep their statistics (eval mode)."""
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
