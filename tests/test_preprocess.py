"""Preprocessing: what is cut, and that numbers come from the bundle's configuration."""

import numpy as np
import pytest
from PIL import Image

from whichland.images.preprocess import Filter, Preprocess

PLAIN = Preprocess(size=(32, 32), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def test_test_time_settings_win_over_training_settings() -> None:
    cfg = {"input_size": (3, 224, 224), "test_input_size": (3, 288, 256), "crop_pct": 0.9, "test_crop_pct": 0.95,
           "mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "interpolation": "bicubic"}  # fmt: skip
    found = Preprocess.from_config(cfg)
    assert (found.size, found.crop_pct, found.interpolation) == ((288, 256), 0.95, "bicubic")
    assert found.mean == (0.1, 0.2, 0.3)
    assert found.short_side == round(288 / 0.95)


def test_the_crop_is_centred_and_of_the_target_shape() -> None:
    assert PLAIN.crop_box(100, 200) == (50.0, 0.0, 150.0, 100.0)
    left, top, right, bottom = Preprocess(size=(50, 100), mean=PLAIN.mean, std=PLAIN.std).crop_box(100, 100)
    assert (left, right) == (0, 100)
    assert (top, bottom) == (25, 75)
    squashed = Preprocess(size=(32, 32), mean=PLAIN.mean, std=PLAIN.std, crop_mode="squash")
    assert squashed.crop_box(100, 200) == (0, 0, 200, 100)


def test_cropping_a_wide_photo_keeps_its_middle() -> None:
    photo = np.zeros((64, 192, 3), np.uint8)
    photo[:, 64:128] = 200
    cut = PLAIN.crop(photo)
    np.testing.assert_array_equal(cut[:, 1:-1], 200)  # the filter reaches one pixel over the edge
    assert cut.min() > 150


def test_normalising_matches_the_definition() -> None:
    batch = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    x = PLAIN.normalise(batch)
    assert x.shape == (2, 3, 4, 5)
    assert x.dtype == np.float32
    assert x[1, 2, 3, 4] == pytest.approx((batch[1, 3, 4, 2] / 255 - 0.5) / 0.5)


@pytest.mark.parametrize("size", [(66, 154), (154, 66), (96, 96), (97, 97)])
@pytest.mark.parametrize("shape", [(300, 800), (800, 300), (448, 448), (301, 203)])
@pytest.mark.parametrize("crop_pct", [1.0, 0.95, 0.875])
@pytest.mark.parametrize("crop_mode", ["center", "squash"])
def test_crops_are_those_of_timm_up_to_rounding(
    size: tuple[int, int], shape: tuple[int, int], crop_pct: float, crop_mode: str
) -> None:
    from timm.data import create_transform

    # without white and black: there Pillow, which may go across or down first, cuts off at another time
    texture = np.random.default_rng(0).integers(80, 176, (*shape, 3), dtype=np.uint8)
    plain = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "interpolation": "bicubic", "crop_pct": crop_pct}
    ours = Preprocess(size=size, crop_mode=crop_mode, **plain)  # type: ignore[arg-type]
    peer = create_transform(input_size=(3, *size), is_training=False, crop_mode=crop_mode, **plain)
    mine = ours.normalise(ours.crop(texture)[None])[0]
    theirs = peer(Image.fromarray(texture)).numpy()
    assert mine.shape == theirs.shape == (3, *size)
    assert np.abs(mine - theirs).max() < 2.5 / 255


@pytest.mark.parametrize("size", [(24, 24), (96, 64), (300, 300)])
@pytest.mark.parametrize("box", [(0, 0, 160, 120), (10.3, 7.6, 141.2, 100.9), (150.5, 110.5, 160, 120)])
@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
def test_crops_are_resampled_as_pillow_does_across_then_down(
    size: tuple[int, int], box: tuple[float, float, float, float], name: Filter
) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    ours = Preprocess(size=size, mean=(0.5,) * 3, std=(0.5,) * 3, interpolation=name).crop(photo, box)
    (rows, columns), resampling = size, Image.Resampling[name.upper()]
    across = Image.fromarray(photo).resize((columns, 120), resampling, box=(box[0], 0, box[2], 120))
    theirs = np.asarray(across.resize((columns, rows), resampling, box=(0, box[1], columns, box[3])))
    assert np.abs(ours.astype(int) - theirs).max() <= 1  # where a side of the box, in 32 bits, is rounded otherwise
    assert (ours != theirs).mean() < 0.001
