"""Which parameters learn: all, the head alone, or the last stages and the head."""

from torch import nn

from whichland.errors import UserError
from whichland.model.choices import Freeze
from whichland.model.head import classifier_name, classifier_names

LEARNING_STAGES = {"front": 1, "front2": 2, "front3": 3}


def learning_begins(model: nn.Module, policy: Freeze) -> str:
    """Name of the module from which on a model learns under a policy other than "none"."""
    return classifier_name(model) if policy == "backbone" else last_stage(model, LEARNING_STAGES[policy])


def last_stage(model: nn.Module, count: int = 1) -> str:
    """Name of the module where the last stage, or the last `count` of them, begins: one rule for every family.

    timm's `feature_info` names the modules whose outputs are a model's features, one a resolution: the last
    stage is what follows the last but one of them (a ResNet's `layer4`, all of a MobileNet at 1/32 of the size).
    In models of equal blocks (ViT, DeiT) it is the last quarter of the blocks, as `layer4` is of four.
    Raises UserError where more than one is asked for and timm does not name so many.
    """
    features = [info["module"] for info in model.feature_info]  # type: ignore[union-attr]
    reductions = {info["reduction"] for info in model.feature_info}  # type: ignore[union-attr]
    stages = count * (len(features) // 4 if len(reductions) == 1 and len(features) >= 4 else 1)
    begins = _following(model, features[-stages - 1]) if len(features) > stages else None
    if count > 1 and not begins:
        raise UserError(
            f"{type(model).__name__} has no {count} last stages that timm names; freeze front, backbone or none"
        )
    return begins or _end_of_longest_chain(model)


def _following(model: nn.Module, feature: str) -> str | None:
    """Name of the first module with parameters that is defined after a feature's; None where there is none."""
    modules = dict(model.named_modules())
    # a model that wraps its encoder names its features without the wrapper
    whole = [name for name in modules if name == feature or name.endswith(f".{feature}")]
    name = feature if feature in modules else whole[0] if len(whole) == 1 else None
    if not name:
        return None
    last = max(at for at, other in enumerate(modules) if f"{other}.".startswith(f"{name}."))
    begins = next((other for other in list(modules)[last + 1 :] if list(modules[other].parameters())), None)
    return begins if begins and begins.partition(".")[0] != classifier_name(model).partition(".")[0] else None


def _end_of_longest_chain(model: nn.Module) -> str:
    """Name of the last member that has parameters, in the chain of modules that has most of them."""
    head = classifier_name(model).partition(".")[0]
    sizes = {name: len(list(module.parameters())) for name, module in model.named_modules()}
    children = [(name, child) for name, child in model.named_children() if name != head and sizes[name]]
    chains = [item for item in children if isinstance(item[1], (nn.Sequential, nn.ModuleList))]
    if not chains:
        return children[-1][0]
    name, chain = max(chains, key=lambda item: sizes[item[0]])
    return [f"{name}.{member}" for member, _ in chain.named_children() if sizes[f"{name}.{member}"]][-1]


def freeze(model: nn.Module, policy: Freeze) -> None:
    """Set `requires_grad` of every parameter by policy: none, backbone (all but the head), front, front2, front3.

    "front" freezes everything before the last stage, in the order in which the model defines its parameters;
    "front2" and "front3" leave the last two and three to learn.
    """
    head = tuple(f"{name}." for name in classifier_names(model))
    begins = f"{learning_begins(model, policy)}." if policy in LEARNING_STAGES else None
    learns = policy == "none"
    for name, parameter in model.named_parameters():
        if begins and name.startswith(begins):
            learns = True
        parameter.requires_grad_(learns or name.startswith(head))


def train_mode(model: nn.Module) -> None:
    """Put learning modules in training mode; modules that are wholly frozen keep their statistics (eval mode)."""
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
