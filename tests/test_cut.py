"""Cutting a network at its last stage or head: the rest from stored activations gives what the whole gives."""

import pytest
import torch
from torch import Tensor, nn

from whichland.model.backbone import create
from whichland.model.freezing import freeze, train_mode
from whichland.training.cut import Cut, NotCut

FAMILIES = {
    "test_resnet": {},
    "test_convnext": {},
    "test_efficientnet": {},
    "test_byobnet": {},
    "test_nfnet": {},
    "test_mambaout": {},
    "test_vit": {},
    "densenet121": {"growth_rate": 4},
    "swinv2_tiny_window8_256": {"embed_dim": 24, "depths": (1, 1, 2, 1)},
    "vit_small_patch14_dinov2": {"embed_dim": 24, "num_heads": 2, "depth": 4},
    "eva02_tiny_patch14_224": {"embed_dim": 24, "num_heads": 2, "depth": 4},  # rotary positions
    "tiny_vit_5m_224": {"embed_dims": (16, 16, 32, 32), "num_heads": (1, 1, 2, 2), "depths": (1, 1, 1, 1)},
}
SIDES = {"vit_small_patch14_dinov2": 70, "eva02_tiny_patch14_224": 70}


def photos(count: int, side: int = 64, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def make(arch: str, policy: str) -> tuple[nn.Module, int]:
    torch.manual_seed(0)
    side = SIDES.get(arch, 64)
    model = create(arch, 3, weights="none", size=side, model_args=FAMILIES[arch]).model
    freeze(model, policy)  # type: ignore[arg-type]
    return model.eval(), side


@pytest.mark.parametrize("policy", ["front", "front2", "backbone"])
@pytest.mark.parametrize("arch", FAMILIES)
def test_a_step_from_activations_is_the_step_from_photos(arch: str, policy: str) -> None:
    model, side = make(arch, policy)
    cut = Cut(model, policy, photos(2, side))  # type: ignore[arg-type]
    x, targets = photos(4, side, seed=2), torch.tensor([0, 1, 2, 1])
    activations = cut.capture(x)
    results = []
    for forward in (lambda: model(x), lambda: cut.resume(model, activations)):
        train_mode(model)
        torch.manual_seed(3)
        loss = nn.functional.cross_entropy(forward(), targets)
        loss.backward()
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        results.append((loss.detach(), gradients))
        model.zero_grad()
    (whole, expected), (rest, found) = results
    torch.testing.assert_close(rest, whole)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=lambda text, name=name: f"{name}: {text}")


def test_the_front_is_not_run_again() -> None:
    model, _ = make("test_resnet", "front")
    cut = Cut(model, "front", photos(2))
    activations, runs = cut.capture(photos(5)), []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *_, name=name: runs.append(name.split(".")[0]))
    cut.resume(model, activations)
    assert set(runs) == {"layer4"}


def test_the_model_is_left_as_it_was() -> None:
    model, _ = make("test_resnet", "front")
    names = set(model.state_dict())
    before = model(photos(2))
    cut = Cut(model, "front", photos(2))
    cut.resume(model, cut.capture(photos(2)))
    assert set(model.state_dict()) == names
    torch.testing.assert_close(model(photos(2)), before, rtol=0, atol=0)
    assert not any("forward" in module.__dict__ or module._forward_hooks for module in model.modules())


def test_all_that_the_activations_depend_on_is_told() -> None:
    model, _ = make("test_resnet", "front")
    cut = Cut(model, "front", photos(2))
    held = sum(tensor.numel() for _, tensor in cut.tensors())
    front = {n: t for n, t in model.state_dict().items() if not n.startswith(("layer4.", "fc."))}
    assert held == sum(tensor.numel() for tensor in front.values())


class Skipping(nn.Module):
    """A network whose head also looks at what came before the last stage."""

    def __init__(self) -> None:
        super().__init__()
        self.pretrained_cfg = {"classifier": "head"}
        stages = enumerate(("stem", "middle", "last"), 1)
        self.feature_info = [{"module": name, "reduction": 2**depth} for depth, name in stages]
        self.stem, self.middle = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 4, 3, 2)
        self.last, self.head = nn.Conv2d(4, 4, 3, 2), nn.Linear(8, 3)

    def reset_classifier(self, classes: int) -> None:
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        last = self.last(self.middle(stem))
        return self.head(torch.cat([stem.mean((2, 3)), last.mean((2, 3))], 1))


def test_a_network_that_skips_past_the_cut_is_not_cut() -> None:
    model = Skipping()
    with torch.no_grad():
        model.head.weight.fill_(1.0)
    freeze(model, "front")
    with pytest.raises(NotCut, match="needs more than the stage before"):
        Cut(model.eval(), "front", photos(2) + 3)


def test_a_front_that_learns_is_not_cut() -> None:
    model, _ = make("test_resnet", "front")
    model.get_parameter("conv1.0.weight").requires_grad_(True)
    with pytest.raises(NotCut, match="learns before"):
        Cut(model, "front", photos(2))
