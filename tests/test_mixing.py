"""Mixup and cutmix: what becomes of photos, targets and weights, and that seeds decide."""

import pytest
import torch
from torch import Tensor

from whichland.training.objective import mix

COLOURS = torch.tensor([0.0, 0.25, 0.5, 1.0])


def mixed(seed: int, *, mixup: float = 0.0, cutmix: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Four plain photos of 20×30 pixels, each of its own country and brightness, mixed."""
    torch.manual_seed(seed)
    photos = COLOURS.view(4, 1, 1, 1).expand(4, 3, 20, 30).clone()
    return mix(photos, torch.eye(4), COLOURS.clone(), mixup=mixup, cutmix=cutmix)


@pytest.mark.parametrize("way", [{"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0}])
def test_a_photo_holds_of_each_country_what_its_target_says(way: dict[str, float]) -> None:
    shares = set()
    for seed in range(20):
        photos, targets, weights = mixed(seed, **way)
        torch.testing.assert_close(photos.mean((1, 2, 3)), targets @ COLOURS)
        torch.testing.assert_close(weights, targets @ COLOURS)
        torch.testing.assert_close(targets.sum(1), torch.ones(4))
        shares |= {round(share, 4) for share in targets.flatten().tolist()}
    assert len(shares) > 10


def test_mixup_blends_and_cutmix_pastes() -> None:
    blended = [len(mixed(seed, mixup=1.0)[0][i].unique()) for seed in range(9) for i in range(4)]
    assert set(blended) == {1}
    pasted = [mixed(seed, cutmix=1.0)[0][i].unique() for seed in range(9) for i in range(4)]
    assert all(set(found.tolist()) <= set(COLOURS.tolist()) for found in pasted)
    assert max(len(found) for found in pasted) == 2


def test_both_ways_are_taken_when_both_are_asked_for() -> None:
    whole = [len(mixed(seed, mixup=1.0, cutmix=1.0)[0][0].unique()) == 1 for seed in range(60)]
    assert 15 < sum(whole) < 50


def test_the_seed_decides() -> None:
    first, again, other = mixed(1, mixup=0.4), mixed(1, mixup=0.4), mixed(2, mixup=0.4)
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])
