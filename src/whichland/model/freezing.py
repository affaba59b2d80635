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
    name = modules[-1]
    if len(reductions) == 1 and len(modules) >= 4:
        name = modules[len(modules) - len(modules) // 4]
    parameters = [parameter for parameter, _ in model.named_parameters()]
    if name == "final_conv" or not any(parameter.startswith(f"{name}.") for parameter in parameters):
        # feature_info ends in a convolution or an activation that follows the stages
        return _end_of_longest_chain(model)
    return str(name)


def _end_of_longest_chain(model: nn.Module) -> str:
    """Name of the last member that has parameters, in the chain of modules that has most of them."""

    def size(module: nn.Module) -> int:
        return len(list(module.parameters()))

    head = classifier_name(model).partition(".")[0]
    children = [(name, child) for name, child in model.named_children() if name != head and size(child)]
    chains = [item for item in children if isinstance(item[1], (nn.Sequential, nn.ModuleList))]
    if not chains:
        return children[-1][0]
    name, chain = max(chains, key=lambda item: size(item[1]))
    return f"{name}." + [member for member, module in chain.named_children() if size(module)][-1]


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
