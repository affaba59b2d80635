"""Occlusion on a model whose evidence is known: a patch of red, and one of blue."""

import numpy as np

from whichland.explanation.occlusion import GRID, occlusion

RED, BLUE = (slice(8, 24), slice(40, 56)), (slice(40, 56), slice(8, 24))


def model(crops_BHWC: np.ndarray) -> np.ndarray:
    """Label 0 sees red at one place, label 1 blue at another, label 2 nothing."""
    red_B = crops_BHWC[:, RED[0], RED[1], 0].mean(axis=(1, 2)) / 255
    blue_B = crops_BHWC[:, BLUE[0], BLUE[1], 2].mean(axis=(1, 2)) / 255
    return np.stack([6 * red_B, 4 * blue_B, np.full(len(crops_BHWC), 0.5)], axis=1).astype(np.float32)


def picture() -> np.ndarray:
    crop_HWC = np.full((64, 64, 3), 90, np.uint8)
    crop_HWC[RED] = (250, 0, 0)
    crop_HWC[BLUE] = (0, 0, 250)
    return crop_HWC


def peak(map_HW: np.ndarray) -> tuple[int, int]:
    row, column = np.unravel_index(map_HW.argmax(), map_HW.shape)
    return int(row), int(column)


def inside(place: tuple[int, int], box: tuple[slice, slice]) -> bool:
    return all(side.start <= at < side.stop for at, side in zip(place, box, strict=True))


def test_the_heat_lies_on_what_the_model_goes_by():
    map_HW = occlusion(model, picture())
    assert map_HW.shape == (64, 64)
    assert map_HW.dtype == np.float32
    assert (map_HW.min(), map_HW.max()) == (0, 1)
    assert model(picture()[None])[0].argmax() == 0
    assert inside(peak(map_HW), RED)
    mask = np.zeros((64, 64), bool)
    mask[RED] = True
    assert map_HW[mask].sum() / map_HW.sum() > 5 * mask.mean()


def test_each_target_has_a_map_of_its_own():
    assert inside(peak(occlusion(model, picture(), 1)), BLUE)
    for_red_HW, for_blue_HW = (occlusion(model, picture(), pair) for pair in ((0, 1), (1, 0)))
    assert inside(peak(for_red_HW), RED)
    assert inside(peak(for_blue_HW), BLUE)
    assert not for_red_HW[BLUE].any()  # what speaks against the target is left out


def test_without_evidence_the_map_is_empty():
    assert not occlusion(lambda crops: np.zeros((len(crops), 3), np.float32), picture()).any()


def test_it_takes_one_pass_a_place_and_one_more_and_works_at_any_shape():
    passes = 0

    def counting(crops_BHWC: np.ndarray) -> np.ndarray:
        nonlocal passes
        passes += len(crops_BHWC)
        return np.stack([crops_BHWC[..., 0].mean(axis=(1, 2)), crops_BHWC[..., 1].mean(axis=(1, 2))], axis=1)

    before = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    kept = before.copy()
    map_HW = occlusion(counting, before)
    assert map_HW.shape == (40, 90)
    assert passes == GRID**2 + 1
    assert np.array_equal(before, kept)
