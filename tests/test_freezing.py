"""Freezing by one rule for every family: what learns, what rests, and what a step then changes."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from whichland.errors import UserError
from whichland.model.backbone import create
from whichland.model.families import MEMBERS
from whichland.model.freezing import freeze, last_stage, train_mode
from whichland.model.head import get_head, make_head
from whichland.model.input_size import meta_model

MODELS = ("test_resnet", "test_convnext", "test_efficientnet", "test_byobnet", "test_vit", "test_mambaout")


def make(arch: str, head: tuple[int, ...] = ()) -> nn.Module:
    torch.manual_seed(0)
    return create(arch, 3, weights="none", head=head, size=64).model


def learning(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def step(model: nn.Module) -> set[str]:
    """Names of the tensors, statistics included, that one training step changes."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train_mode(model)
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    loss = nn.functional.cross_entropy(model(x), torch.tensor([0, 1, 2, 0]))
    loss.backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1).step()
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize("arch", MODELS)
def test_none_lets_everything_learn(arch: str) -> None:
    model = make(arch)
    freeze(model, "none")
    assert learning(model) == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("head", [(), (16,)], ids=["plain head", "hidden head"])
@pytest.mark.parametrize("arch", MODELS)
def test_backbone_lets_only_the_head_learn(arch: str, head: tuple[int, ...]) -> None:
    model = make(arch, head)
    freeze(model, "backbone")
    own = {id(parameter) for parameter in get_head(model).parameters()}
    assert {id(p) for p in model.parameters() if p.requires_grad} == own
    changed = step(model)
    assert changed
    assert changed <= learning(model), "neither a frozen weight nor a frozen statistic may move"


@pytest.mark.parametrize("arch", MODELS)
def test_front_lets_the_last_stage_and_the_head_learn(arch: str) -> None:
    model = make(arch)
    freeze(model, "front")
    learns, everything = learning(model), [name for name, _ in model.named_parameters()]
    assert 0 < len(learns) < len(everything)
    stem = everything[0]
    assert stem not in learns
    assert any(name.startswith(last_stage(model) + ".") for name in learns)
    changed = step(model)
    frozen_modules = {name for name, _ in model.named_parameters()} - learns
    assert not changed & frozen_modules
    assert changed & learns


def test_the_last_stage_is_what_each_family_calls_so() -> None:
    assert last_stage(make("test_resnet")) == "layer4"
    assert last_stage(make("test_convnext")) == "stages.3"
    assert last_stage(make("test_byobnet")) == "stages.3"  # timm's list ends in an empty `final_conv`
    assert last_stage(make("test_nfnet")) == "stages.3"  # and here in a convolution after the stages
    assert last_stage(make("test_vit")) == "blocks.5"  # the last quarter of six blocks


@pytest.mark.parametrize(
    ("arch", "begins"),
    [
        ("mobilenetv2_100", "blocks.5"),  # two groups of blocks see 1/32 of the size
        ("densenet121", "features.transition3"),  # its last feature is a norm, named after the stage
        ("hiera_tiny_224", "blocks.10"),  # names its stages by their last blocks
        ("inception_v4", "features.18"),
        ("gemma4_vit_167m", "encoder.blocks.12"),  # names its features without the encoder around them
        ("twins_pcpvt_small", "blocks.3"),  # names features that it has not
    ],
)
def test_the_last_stage_is_all_that_follows_the_last_but_one_feature(arch: str, begins: str) -> None:
    assert last_stage(meta_model(arch)) == begins


@pytest.mark.parametrize(
    ("arch", "two", "three"),
    [
        ("mobilenetv2_100", "blocks.3", "blocks.2"),
        ("resnet50", "layer3", "layer2"),
        ("vit_small_patch16_224", "blocks.6", "blocks.3"),
        ("swinv2_tiny_window8_256", "layers.2", "layers.1"),
    ],
)
def test_more_stages_may_learn(arch: str, two: str, three: str) -> None:
    model = meta_model(arch)
    assert (last_stage(model, 2), last_stage(model, 3)) == (two, three)
    learns = []
    for policy in ("front", "front2", "front3", "none"):
        freeze(model, policy)  # type: ignore[arg-type]
        learns.append(learning(model))
    assert all(fewer < more for fewer, more in pairwise(learns))
    assert any(name.startswith(f"{two}.") for name in learns[1])


def test_a_model_without_so_many_stages_says_so() -> None:
    with pytest.raises(UserError, match=r"no 3 last stages.*freeze front, backbone or none"):
        freeze(meta_model("twins_pcpvt_small"), "front3")


@pytest.mark.parametrize("family", sorted({member.family for member in MEMBERS}))
def test_front_is_a_part_of_every_model_that_is_listed(family: str) -> None:
    for member in MEMBERS:
        if member.family == family:
            model = meta_model(member.arch)
            freeze(model, "front")
            sizes = [parameter.numel() for parameter in model.parameters()]
            learns = [parameter.numel() for parameter in model.parameters() if parameter.requires_grad]
            assert 0.2 < sum(learns) / sum(sizes) < 0.9, member.arch
            assert not next(iter(model.get_submodule(first_of(model)).parameters())).requires_grad


def first_of(model: nn.Module) -> str:
    """Name of the first module that has parameters: the stem."""
    return next(name for name, child in model.named_children() if list(child.parameters()))


def test_a_vit_of_twelve_blocks_keeps_three() -> None:
    narrow = {"embed_dim": 12, "num_heads": 1}
    model = create("vit_tiny_patch16_224", 2, weights="none", size=32, model_args=narrow).model
    assert last_stage(model) == "blocks.9"
    freeze(model, "front")
    blocks = {name.split(".")[1] for name in learning(model) if name.startswith("blocks.")}
    assert blocks == {"9", "10", "11"}


def test_freezing_can_be_lifted_again() -> None:
    model = make("test_resnet")
    freeze(model, "backbone")
    freeze(model, "none")
    train_mode(model)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())


def test_frozen_norms_keep_their_statistics_and_learning_ones_do_not() -> None:
    model = make("test_resnet")
    freeze(model, "front")
    changed = step(model)
    assert not any(name.startswith(("bn1.", "layer1.")) for name in changed)
    assert any(name.startswith("layer4.") and "running_mean" in name for name in changed)


def test_head_widths() -> None:
    plain = make_head(8, (), 3)
    assert isinstance(plain, nn.Linear)
    assert plain.weight.shape == (3, 8)
    chain = make_head(8, (5, 4), 3, dropout=0.1)
    shapes = [tuple(m.weight.shape) for m in chain.modules() if isinstance(m, nn.Linear)]
    assert shapes == [(5, 8), (4, 5), (3, 4)]
