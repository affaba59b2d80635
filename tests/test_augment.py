"""Training crops: reproducible, inside the photo, of one scale whatever the photo's shape."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from whichland.images.augment import Augment, Draw, colour, resize

PLAIN = {"area": 1.0, "ratio": 1.0, "x": 0.5, "y": 0.5, "flip": False}


def encoded(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def ramp(height: int, width: int) -> np.ndarray:
    """Red grows to the right, green downwards."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 250, width).astype(np.uint8)
    pixels[..., 1] = np.linspace(0, 250, height).astype(np.uint8)[:, None]
    return pixels


def test_draws_depend_on_the_key_alone() -> None:
    augment = Augment(size=(32, 32), flip=True)
    assert augment.draw(1, 2, 3) == augment.draw(1, 2, 3)
    assert augment.draw(1, 2, 3) != augment.draw(1, 2, 4)
    draws = [augment.draw(0, 0, i) for i in range(2000)]
    assert 0.35 <= min(d.area for d in draws) < 0.36
    assert 0.99 < max(d.area for d in draws) <= 1
    assert 900 < sum(d.flip for d in draws) < 1100
    assert not any(Augment(size=(32, 32)).draw(0, 0, i).flip for i in range(50))


@pytest.mark.parametrize("shape", [(80, 80), (60, 240), (240, 60)])
def test_a_crop_of_full_area_is_the_largest_square_at_the_place_drawn(shape: tuple[int, int]) -> None:
    augment = Augment(size=(20, 20))
    left = augment.crop(encoded(ramp(*shape)), Draw(**(PLAIN | {"x": 0.0, "y": 0.0}))).numpy()
    right = augment.crop(encoded(ramp(*shape)), Draw(**(PLAIN | {"x": 1.0, "y": 1.0}))).numpy()
    assert left.shape == (20, 20, 3)
    assert left[0, 0, 0] < 15
    assert left[0, 0, 1] < 15
    assert right[-1, -1, 0] > 235
    assert right[-1, -1, 1] > 235
    spread = 250 * min(shape) / max(shape)  # a square of a wide photo shows that share of its ramp
    axis = 0 if shape[1] >= shape[0] else 1
    assert float(left[..., axis].max()) == pytest.approx(spread, abs=12)


def test_a_quarter_of_the_area_shows_half_the_side() -> None:
    crop = Augment(size=(20, 20)).crop(encoded(ramp(100, 100)), Draw(**(PLAIN | {"area": 0.25}))).numpy()
    assert int(crop[..., 0].max()) - int(crop[..., 0].min()) == pytest.approx(122, abs=8)


def test_flipping_mirrors() -> None:
    augment, data = Augment(size=(20, 20)), encoded(ramp(40, 40))
    plain, flipped = (augment.crop(data, Draw(**(PLAIN | {"flip": f}))) for f in (False, True))
    assert (plain.flip(1).int() - flipped.int()).abs().max() <= 1


def test_resizing_agrees_with_pillow() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    ours = resize(torch.from_numpy(pixels), (30, 40)).numpy().astype(int)
    pillow = np.asarray(Image.fromarray(pixels).resize((40, 30), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(ours - pillow).max() <= 1


def relit(batch: torch.Tensor, *light: float) -> torch.Tensor:
    return colour(batch, np.array([light] * len(batch), np.float32), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_colour_scales_brightness_and_contrast_about_each_photo() -> None:
    batch = torch.tensor([[[[64, 64, 64], [128, 128, 128]]]], dtype=torch.uint8)
    plain = relit(batch, 1, 1, 1)
    assert plain.shape == (1, 3, 1, 2)
    flat = relit(batch, 1, 0, 1)
    torch.testing.assert_close(flat, torch.full_like(flat, 96 / 255))
    torch.testing.assert_close(relit(batch, 1.5, 1, 1), plain * 1.5)


def test_colour_scales_saturation_about_each_pixels_grey() -> None:
    batch = torch.tensor([[[[200, 100, 50], [90, 90, 90]]]], dtype=torch.uint8)
    plain = relit(batch, 1, 1, 1)
    grey = relit(batch, 1, 1, 0)
    luma = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    torch.testing.assert_close(grey[0, :, 0, 0], torch.full((3,), luma / 255))
    torch.testing.assert_close(relit(batch, 1, 1, 0.5), (plain + grey) / 2)
    torch.testing.assert_close(grey[..., 1], plain[..., 1])


def test_photos_of_a_batch_change_apart_and_are_normalised_by_channel() -> None:
    batch = torch.full((2, 4, 5, 3), 100, dtype=torch.uint8)
    light = np.array([[1, 1, 1], [2, 1, 1]], np.float32)
    x = colour(batch, light, (0.1, 0.2, 0.3), (0.5, 0.25, 1.0))
    for photo, factor in enumerate((1, 2)):
        for channel, (mean, deviation) in enumerate(((0.1, 0.5), (0.2, 0.25), (0.3, 1.0))):
            expected = (100 / 255 * factor - mean) / deviation
            torch.testing.assert_close(x[photo, channel], torch.full((4, 5), expected))


def test_a_wide_crop_of_a_square_photo_asks_for_pixels_enough_in_both_directions() -> None:
    augment = Augment(size=(64, 160))
    draw = Draw(**PLAIN)
    side = augment.needed(draw)
    assert min(side / 64, side / 160) >= 1  # a square photo of that side is not enlarged
    assert augment.most_needed >= max(augment.needed(augment.draw(0, 0, at)) for at in range(200))
