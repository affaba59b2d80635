"""Pictures that excite a part of a model: on models of which it is known what excites them."""

from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from whichland.errors import UserError
from whichland.explanation.figure import side_by_side
from whichland.explanation.maximise import Goal, MaximiseConfig, maximise
from whichland.images.preprocess import Preprocess

PLAIN = Preprocess(size=(32, 48), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
SHORT = MaximiseConfig(steps=40)


class Colours(nn.Module):
    """The classes are red, green and blue against the two others; `body` is their map."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 1, bias=False)
        self.body.weight.data = (1.5 * torch.eye(3) - 0.5)[:, :, None, None]

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.body(x_BCHW).mean(dim=(2, 3))


def test_a_class_a_channel_and_the_rest_of_the_model() -> None:
    model = Colours().train()
    goals = [Goal(kind="class", number=0), Goal(kind="channel", number=2, layer="body")]
    pictures, scores = maximise(model, goals, PLAIN, SHORT)
    assert pictures.shape == (2, 32, 48, 3)
    assert pictures.dtype == np.uint8
    red, blue = pictures.mean(axis=(1, 2))
    assert red.argmax() == 0
    assert blue.argmax() == 2
    assert red[0] - red[1] > 30
    assert (scores[:, 1] > scores[:, 0] + 0.2).all()
    assert model.training
    assert not model.body._forward_hooks
    assert model.body.weight.grad is None


def test_a_unit_is_one_place() -> None:
    still = MaximiseConfig(steps=60, jitter=0, turn=0, zoom=0, decay=0)
    ((picture,), _) = maximise(Colours(), [Goal(kind="unit", number=0, layer="body", place=(4, 40))], PLAIN, still)
    excess = picture[..., 0].astype(float) - picture[..., 1:].mean(axis=2)
    assert np.unravel_index(excess.argmax(), excess.shape) == (4, 40)


def test_the_same_seed_the_same_picture() -> None:
    def made(seed: int) -> np.ndarray:
        config = MaximiseConfig(steps=3, seed=seed)
        return maximise(Colours(), [Goal(kind="class", number=1)], PLAIN, config)[0]

    assert np.array_equal(made(0), made(0))
    assert not np.array_equal(made(0), made(1))


@pytest.mark.parametrize(
    ("change", "rougher"),
    [({"decay": 0.0}, True), ({"spread": 50.0}, False)],
    ids=["frequencies alike", "steps penalised"],
)
def test_what_keeps_a_picture_smooth(change: dict[str, float], rougher: bool) -> None:
    """Without a preference for low frequencies the picture is rougher; with a penalty on steps it is smoother."""
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=3)

    def roughness(config: MaximiseConfig) -> float:
        picture = maximise(model, [Goal(kind="class", number=0)], PLAIN, config)[0][0].astype(float)
        return float((np.diff(picture, axis=0) ** 2).mean() / picture.var())

    base = roughness(MaximiseConfig(steps=15))
    assert (roughness(MaximiseConfig(steps=15, **change)) > base) == rougher


def test_tokens_and_channels_last_have_channels_too() -> None:
    vit = timm.create_model("test_vit", img_size=(32, 48), num_classes=3)
    goals = [Goal(kind=kind, number=5, layer="blocks.1") for kind in ("channel", "unit")]
    _, scores = maximise(vit, goals, PLAIN, MaximiseConfig(steps=8))
    assert (scores[:, 1] > scores[:, 0]).all()


@pytest.mark.parametrize(
    ("goal", "says"),
    [
        (Goal(kind="class", number=3), "3 classes"),
        (Goal(kind="channel", number=9, layer="body"), "3 channels"),
        (Goal(kind="channel", number=0, layer="head"), "no layer 'head'; there are body"),
        (Goal(kind="unit", number=0, layer="body", place=(0, 48)), "32×48 places"),
    ],
)
def test_what_the_model_has_not(goal: Goal, says: str) -> None:
    with pytest.raises(UserError, match=says):
        maximise(Colours(), [goal], PLAIN, SHORT)


@pytest.mark.parametrize("make", [lambda: MaximiseConfig(steps=0), lambda: MaximiseConfig(jitter=0.5)])
def test_settings_out_of_range(make: Callable[[], MaximiseConfig]) -> None:
    with pytest.raises(UserError):
        make()


def test_a_sheet_of_five() -> None:
    tile = np.full((20, 30, 3), 200, np.uint8)
    sheet = side_by_side([tile] * 5, [f"country {at}\nsecond line" for at in range(5)])
    assert sheet.shape[1] > sheet.shape[0]
