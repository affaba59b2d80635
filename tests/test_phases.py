"""Freezing that changes over time: how it is written, and what it makes learn when."""

import pytest

from whichland.errors import UserError
from whichland.model.backbone import create
from whichland.training.config import Phase, phases
from whichland.training.schedule import learning, phase_of


def test_phases_follow_each_other_and_the_last_stays() -> None:
    plan = phases("backbone:1, front:3,none", 6.5)
    assert plan == (Phase("backbone", 0, 1), Phase("front", 1, 4), Phase("none", 4, 6.5))
    assert [phase_of(plan, epoch).policy for epoch in range(7)] == ["backbone", *["front"] * 3, *["none"] * 3]
    assert phases("front", 2) == (Phase("front", 0, 2),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("front:3,none", "'none' never comes in 3 epochs"),
        ("front,none", "'front' needs its whole epochs"),
        ("front:0,none", "'front:0' needs its whole epochs"),
        ("fornt:1,none", "'fornt' is not one of auto, none, backbone, front"),
        ("front:1,none:2", "'none:2' is not one of"),
    ],
)
def test_what_is_no_plan_is_told(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        phases(text, 3)


def test_what_learns_in_any_phase_is_known_and_the_first_is_set() -> None:
    model = create("test_resnet", 3, weights="none").model
    names = learning(model, phases("backbone:1,front", 2))
    assert {name.split(".")[0] for name in names} == {"layer4", "fc"}
    assert {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad} == {"fc"}
