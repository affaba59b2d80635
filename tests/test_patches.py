"""Places, soft edges, log odds, and which patches a decision loses the most with."""

from pathlib import Path

import numpy as np
import pytest

from tiny_bundle import LABELS, make_bundle, make_photos, pixels
from whichland.explanation.patches import Square, blurred, corners, gains, hot_places, log_odds, paste, soft_edges
from whichland.images.decode import load
from whichland.images.preprocess import Pixels
from whichland.model import bundle as bundles
from whichland.model.model import predict


@pytest.mark.parametrize("side", [4, 5, 19, 64])
def test_edges_fade_and_the_middle_covers(side: int) -> None:
    cover = soft_edges(side)
    assert cover.shape == (side, side)
    assert cover[side // 2, side // 2] == pytest.approx(1, abs=0.15)
    assert cover[0].max() < 0.6
    np.testing.assert_allclose(cover, cover[::-1, ::-1], atol=1e-6)


def test_a_paste_changes_its_place_and_nothing_else() -> None:
    under, place = pixels(0, 60, 80), Square(10, 20, 24)
    patch = np.full((24, 24, 3), 250, np.uint8)
    before = under.copy()
    pasted = paste(under, patch, place)
    np.testing.assert_array_equal(under, before)
    outside = np.ones((60, 80), bool)
    outside[10:34, 20:44] = False
    np.testing.assert_array_equal(pasted[outside], under[outside])
    assert (pasted[18:26, 28:36] == 250).all()
    step = np.abs(pasted[10, 20:44].astype(int) - under[10, 20:44]).max()
    assert step < 40, "no seam at the rim"
    np.testing.assert_array_equal(paste(under, place.cut(under), place), under)


def test_overlap_is_a_share_of_the_smaller() -> None:
    assert Square(0, 0, 10).overlap(Square(0, 5, 10)) == pytest.approx(0.5)
    assert Square(0, 0, 40).overlap(Square(10, 10, 10)) == 1
    assert Square(0, 0, 10).overlap(Square(20, 0, 10)) == 0


def test_the_hottest_place_comes_first_and_cold_ones_never() -> None:
    heat = np.zeros((60, 80), np.float32)
    heat[40:52, 56:68] = 1
    heat[4:16, 4:16] = 0.8
    found = hot_places(heat, 12, 8)
    assert found[0] == Square(39, 57, 12) or found[0].overlap(Square(40, 56, 12)) > 0.8
    assert any(place.overlap(Square(4, 4, 12)) > 0.5 for place in found)
    assert not any(place.cut(heat).sum() == 0 for place in found)
    assert all(a.overlap(b) <= 0.5 for a in found for b in found if a is not b)
    assert len(hot_places(heat, 12, 2)) == 2
    assert hot_places(np.zeros((60, 80), np.float32), 12, 8) == []


def test_log_odds_are_those_of_the_predicted_probabilities(tmp_path: Path) -> None:
    bundle = bundles.load(make_bundle(tmp_path / "b", temperature=1.7))
    photos = make_photos(tmp_path / "in", 3)
    probabilities = np.stack([answer.probabilities for answer in predict(bundle, photos)]).astype(np.float64)
    crops = np.stack([bundle.preprocess.crop(load(str(path))) for path in photos])
    found = log_odds(bundle)(crops)
    assert found.shape == (3, len(LABELS))
    np.testing.assert_allclose(found, np.log(probabilities / (1 - probabilities)), atol=0.1)  # bf16 at times


def test_the_gain_is_what_blurring_takes_away() -> None:
    crop = np.full((64, 64, 3), 120, np.uint8)
    crop[20:30, 40:50] = np.tile([[[255, 0, 0]], [[0, 0, 255]]], (5, 10, 1))  # stripes that a blur destroys

    def score(crops: Pixels) -> np.ndarray:
        stripes = np.abs(np.diff(crops.astype(np.float32), axis=1)).mean(axis=(1, 2, 3))
        return np.stack([stripes, -stripes], axis=1)

    on, off = Square(18, 38, 14), Square(40, 4, 14)
    label_0 = gains(score, crop, [on, off], 0)
    assert label_0[0] > 0.5
    assert abs(label_0[1]) < 1e-3
    np.testing.assert_allclose(gains(score, crop, [on], 1), -label_0[:1])
    assert blurred(crop, 7)[25, 45].std() < 60 < crop[25, 45].std()


def test_corners_touch_the_rim_on_two_sides() -> None:
    places = corners((60, 80), 20)
    assert [(place.top, place.left) for place in places] == [(0, 0), (0, 60), (40, 0), (40, 60)]
    assert all(place.cut(pixels(0, 60, 80)).shape == (20, 20, 3) for place in places)
