"""Before training: a bundle of the model would load, and give the same logits, in every family of timm."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from saved_bundle import LABELS, save_bundle
from whichland.errors import UserError
from whichland.model import bundle as bundles
from whichland.model.backbone import Backbone, create, rehearse
from whichland.model.head import classifier_names

OTHERS: dict[str, dict[str, Any]] = {  # a family that needs care: shared layers, several classifiers, parts that fuse
    "coat_lite_tiny": {"serial_depths": (1, 1, 1, 1), "embed_dims": (16, 16, 16, 16)},
    "coat_tiny": {"serial_depths": (1, 1, 1, 1), "embed_dims": (16, 16, 16, 16), "parallel_depth": 1},
    "repvit_m0_9": {"depth": (1, 1, 1, 1), "embed_dim": (8, 16, 16, 24)},
    "levit_128s": {"embed_dim": (16, 24, 32), "depth": (1, 1, 1), "key_dim": 8, "num_heads": (2, 2, 2)},
    "fastvit_t8": {},
    "mobileone_s0": {},
    "deit_tiny_distilled_patch16_224": {"embed_dim": 12, "num_heads": 1, "depth": 2},
    "swin_tiny_patch4_window7_224": {"embed_dim": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 2)},
}


@pytest.mark.parametrize("arch", [*timm.list_models("test_*"), *OTHERS])
def test_every_family_is_kept_as_it_was(arch: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = create(arch, len(LABELS), weights="none", model_args=OTHERS.get(arch))
    for module in made.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)  # as after training: fused parts would differ
    before = torch.random.get_rng_state()
    rehearse(made, made.pretrained_cfg, LABELS)
    assert torch.equal(torch.random.get_rng_state(), before), "training must not change by it"
    assert all(module.training for module in made.model.modules())
    loaded = bundles.load(save_bundle(tmp_path / "bundle", made))
    height, width = loaded.preprocess.size
    x = torch.randn(2, 3, height, width)
    with torch.no_grad():
        wanted = made.model.eval()(x)
        torch.testing.assert_close(loaded.model(x), wanted)
    assert wanted.shape == (2, len(LABELS))


def test_both_classifiers_of_a_repvit_stay() -> None:
    made = create("repvit_m0_9", 3, weights="none", model_args=OTHERS["repvit_m0_9"])
    assert [made.model.get_submodule(name).out_features for name in classifier_names(made.model)] == [3, 3]


class _Changed(nn.Module):
    """A head that is not made again from the model's arguments."""

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias, self.in_features = head.weight, head.bias, head.in_features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.weight, self.bias) + 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda made: setattr(made.model, "fc", _Changed(made.model.fc)), "differ by 1"),
        (lambda made: setattr(made.model, "fc", nn.Sequential(made.model.fc)), r"fc\.0\.weight|loading state_dict"),
        (lambda made: made.model_args.update(act_layer=nn.ReLU), "not JSON serializable"),
    ],
    ids=["other logits", "other names", "arguments that are no JSON"],
)
def test_what_could_not_be_kept_is_one_line_before_training(change: Any, said: str) -> None:
    made: Backbone = create("test_resnet", 3, weights="none", size=64)
    change(made)
    with pytest.raises(UserError, match=rf"test_resnet could not be kept as a bundle .*({said}).*--arch") as raised:
        rehearse(made, made.pretrained_cfg, LABELS)
    assert "\n" not in str(raised.value)
