"""The families' models: each is made, trained two steps, saved, and gives the same logits through timm alone."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn

from saved_bundle import LABELS, save_bundle
from whichland.errors import UserError
from whichland.model import bundle as bundles
from whichland.model import families
from whichland.model.backbone import create
from whichland.model.families import MEMBERS, SIXTEEN, Member, facts, images_per_second, matching
from whichland.model.freezing import freeze, train_mode
from whichland.model.head import get_head
from whichland.model.input_size import fit_size, meta_model, own_size

# What makes a test of the whole architecture cheap: its own modules, fewer blocks or thinner ones.
CHEAPER = {
    "resnet101.a1h_in1k": {"layers": (1, 1, 1, 1)},
    "resnet101d.ra2_in1k": {"layers": (1, 1, 1, 1)},
    "convnext_small.fb_in22k_ft_in1k": {"depths": (1, 1, 1, 1)},
    "vit_base_patch16_224.augreg_in21k_ft_in1k": {"depth": 4},
    "deit_base_patch16_224.fb_in1k": {"depth": 4},
    "swinv2_small_window8_256.ms_in1k": {"depths": (1, 1, 1, 1)},
}


def test_there_are_the_sixteen_and_newer_ones() -> None:
    assert len(SIXTEEN) == 16
    assert {member.family for member in SIXTEEN} == {"ResNet", "ResNet-D", "ConvNeXt", "ViT", "DeiT", "SwinV2"}
    newer = {member.family for member in MEMBERS[16:]}
    assert {"TinyViT", "MobileNet", "EfficientNet", "DINOv2", "DINOv3", "CLIP"} <= newer
    names = [member.arch for member in MEMBERS]
    assert len(set(names)) == len(names)
    assert set(names) <= set(timm.list_models(pretrained=True)), "each has weights under this very name"


@pytest.mark.parametrize("member", SIXTEEN, ids=lambda member: member.arch.split(".")[0])
def test_two_steps_and_the_same_logits_through_timm_alone(tmp_path: Path, member: Member) -> None:
    torch.manual_seed(0)
    size = (64, 96)
    made = create(member.arch, len(LABELS), weights="none", size=size, model_args=CHEAPER.get(member.arch))
    freeze(made.model, "none")
    train_mode(made.model)
    optimizer = torch.optim.AdamW(made.model.parameters(), lr=1e-3)
    x, targets = torch.randn(4, 3, *size), torch.tensor([0, 1, 2, 0])
    stem = next(p for p in made.model.parameters() if p.ndim == 4)
    before = stem.detach().clone(), get_head(made.model).weight.detach().clone()
    for _ in range(2):
        nn.functional.cross_entropy(made.model(x), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert not torch.equal(before[0], stem)
    assert not torch.equal(before[1], get_head(made.model).weight)
    save_bundle(tmp_path / "bundle", made)
    with torch.no_grad():
        wanted = made.model.eval()(x).numpy()
        plain = timm.create_model(f"local-dir:{tmp_path / 'bundle'}", pretrained=True).eval()
        np.testing.assert_array_equal(plain(x).numpy(), wanted)
        np.testing.assert_array_equal(bundles.load(tmp_path / "bundle").model(x).numpy(), wanted)
    assert np.unique(wanted).size == wanted.size, "logits must differ for this to show anything"


@pytest.mark.parametrize("family", sorted({member.family for member in MEMBERS}))
def test_every_model_takes_another_size(family: str) -> None:
    for member in MEMBERS:
        if member.family == family:
            fit_size(member.arch, (224, 448))  # multiples of all their patches


def test_what_is_told_of_a_model() -> None:
    [member] = matching("resnet50d.ra2*")
    found = facts(member)
    assert (found.family, found.tier, found.size, found.fixed_size) == ("ResNet-D", "small", (224, 224), False)
    real = timm.create_model("resnet50d")
    assert found.parameters == sum(p.numel() for p in real.parameters()) - 2048 * 1000 - 1000
    assert found.gmacs == pytest.approx(4.35, rel=0.02)  # as published for this network
    assert found.license == "apache-2.0"
    tower = facts(Member("", None, "vit_small_patch14_dinov2.lvd142m"))
    assert tower.parameters == 22_056_192, "it has no classifier: nothing is to be left out"
    assert tower.fixed_size
    assert own_size(meta_model(tower.arch)) == tower.size == (518, 518)


def test_both_classifiers_of_a_distilled_model_are_left_out() -> None:
    found = facts(Member("", None, "levit_128s.fb_dist_in1k"))
    real = timm.create_model("levit_128s", num_classes=0)
    assert found.parameters == sum(p.numel() for p in real.parameters())


def test_models_are_found_by_part_of_a_name_by_glob_and_by_family() -> None:
    assert [member.arch.split(".")[0] for member in matching("ResNet18")] == ["resnet18", "resnet18d"]
    assert [member.tier for member in matching("ConvNeXt")] == ["tiny", "small", "tiny"]  # and DINOv3's
    assert len(matching("swinv2_*")) == 4
    assert matching("resnet50d*", every=True)[0].arch.startswith("resnet50d.")
    assert {member.family for member in matching("resnet50*", every=True)} >= {"", "ResNet", "ResNet-D"}
    assert matching("no such") == []


def test_a_name_that_timm_has_not() -> None:
    with pytest.raises(UserError, match="timm has no model"):
        facts(Member("", None, "resnet_50"))


def test_speed_counts_images_of_the_median_batch_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [9.0, 0.25, 0.5, 4.0]  # seconds; the first warms up
    clock = chain.from_iterable((0.0, seconds) for seconds in batches)
    monkeypatch.setattr(families.time, "perf_counter", lambda: next(clock))
    assert images_per_second("test_resnet", (64, 64), batch_size=2, seconds=1.0) == 2 / 0.5
