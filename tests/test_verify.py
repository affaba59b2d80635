"""Maps put to the test, on models of which it is known what they look at."""

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from whichland.explanation.verify import (
    Verdict,
    Verifier,
    gaussian_blur,
    insertion_and_deletion,
    moved_at_random,
    rank_correlation,
    shuffled,
    ssim,
)
from whichland.statistics import mean_interval


class LooksAtACorner(nn.Module):
    """The logit of class 1 is the contrast within the upper left quarter; the rest of the photo is nothing."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        quarter = x_BCHW[:, :, : x_BCHW.shape[2] // 2, : x_BCHW.shape[3] // 2]
        seen_B = quarter.flatten(1).std(dim=1)
        return torch.stack([torch.ones_like(seen_B), 4 * seen_B], dim=1)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def corner_map(top: int = 0, left: int = 0) -> Tensor:
    """A smooth hill over a quarter of 32×48."""
    hill = torch.zeros(32, 48)
    hill[top : top + 16, left : left + 24] = 1
    return gaussian_blur(hill[None, None], 2.0)[0, 0]


def test_the_right_place_wins_both_ways() -> None:
    maps = torch.stack([corner_map(), corner_map(16, 24)])
    insertion, deletion = insertion_and_deletion(LooksAtACorner(), noise(1, 3, 32, 48), maps, 1)
    assert insertion[0] > insertion[1] + 0.2
    assert deletion[0] < deletion[1] - 0.2
    pair = insertion_and_deletion(LooksAtACorner(), noise(1, 3, 32, 48), maps, (1, 0))
    np.testing.assert_allclose(pair[0], insertion, atol=1e-6)  # two classes: the pair's probabilities


def test_an_even_map_takes_places_at_random() -> None:
    """In the order of rows the corner would come first or last, and an even map would seem to know something."""
    insertion, deletion = insertion_and_deletion(LooksAtACorner(), noise(1, 3, 32, 48), torch.ones(1, 32, 48), 1)
    assert abs(insertion[0] - deletion[0]) < 0.15


def test_random_maps_have_the_same_values() -> None:
    moved = moved_at_random(corner_map(), 5)
    expected = corner_map().flatten().sort().values
    assert all(torch.equal(m.flatten().sort().values, expected) for m in moved)
    assert len({m.numpy().tobytes() for m in moved}) > 3


def test_shuffling_touches_the_last_layers_of_a_copy() -> None:
    model = timm.create_model("test_resnet", num_classes=5).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    copy = shuffled(model, 0.3)
    after = copy.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not torch.equal(after["fc.weight"], before["fc.weight"])
    torch.testing.assert_close(after["fc.weight"].flatten().sort().values, before["fc.weight"].flatten().sort().values)
    assert not torch.equal(after["layer4.0.conv1.weight"], before["layer4.0.conv1.weight"])
    assert torch.equal(after["layer1.0.conv1.weight"], before["layer1.0.conv1.weight"])


def test_how_alike_maps_are() -> None:
    a, b = noise(1, 32, 32).abs(), noise(1, 32, 32, seed=1).abs()
    assert rank_correlation(a, a**3)[0] == pytest.approx(1)  # of ranks only
    assert rank_correlation(a, 1 / (1 + a))[0] == pytest.approx(-1)
    assert abs(rank_correlation(a, b)[0]) < 0.1
    assert rank_correlation(a, torch.zeros(1, 32, 32))[0] == 0
    assert ssim(a, a)[0] == pytest.approx(1)
    assert ssim(a, b)[0] < 0.5


def test_maps_that_share_only_where_they_are_zero() -> None:
    """Equal ranks for equals: in the order of places, two maps that are mostly zero would agree on the rest."""
    a, b = torch.zeros(1, 32, 32), torch.zeros(1, 32, 32)
    a[0, 0, :8], b[0, 31, 8:16] = 1, 1
    assert abs(rank_correlation(a, b)[0]) < 0.05


def verdict(**changed: object) -> Verdict:
    values = {"insertion": 0.8, "deletion": 0.2, "random_insertion": 0.5, "random_deletion": 0.5} | {
        "beaten": 19,
        "random_maps": 19,
        "rank_correlation": 0.1,
        "ssim": 0.3,
    }
    return Verdict(**(values | changed))


def test_what_fails_a_map() -> None:
    assert verdict().passed
    assert verdict().gain == pytest.approx(0.6)
    assert "18 of 19" in verdict(beaten=18).failures[0]
    assert "shuffled" in verdict(rank_correlation=0.9).failures[0]
    assert len(verdict(beaten=3, rank_correlation=0.9).failures) == 2
    assert "no evidence" in verdict(empty=True).failures[0]


def test_the_verifier_sees_a_right_map_from_a_wrong_one() -> None:
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=2).eval()

    class AsCorner(nn.Module):
        """Answers as the corner does, but has the seam of a real model for the shuffled copies' maps."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.looks = model, LooksAtACorner()

        def forward(self, x_BCHW: Tensor) -> Tensor:
            return self.looks(x_BCHW)

        def forward_features(self, x_BCHW: Tensor) -> Tensor:
            return self.body.forward_features(x_BCHW)

        def forward_head(self, features: Tensor) -> Tensor:
            return self.body.forward_head(features)

    x = noise(1, 3, 32, 48)
    verifier = Verifier(AsCorner(), shuffles=1)
    right, wrong = (verifier(x, hill[None], 1) for hill in (corner_map(), corner_map(16, 24)))
    assert right.beaten == 19
    assert wrong.beaten < 10
    assert not wrong.passed


def test_intervals_over_groups() -> None:
    values = np.random.default_rng(0).normal(size=50)
    mean, low, high = mean_interval(values)
    assert mean == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 50**0.5, rel=0.15)
    four_times = np.repeat(values, 4)
    grouped = mean_interval(four_times, np.repeat(np.arange(50), 4).tolist())
    assert grouped[2] - grouped[1] == pytest.approx(high - low, rel=0.1)
    assert mean_interval(four_times, [None] * 200)[2] < high
    assert np.isnan(mean_interval(values, ["one"] * 50)[1])
