"""What a model sees of ordinary photos, wide ones and whole spheres, and how views are combined."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from curated import photo
from whichland.images.decode import decode
from whichland.images.photo import open_photo
from whichland.images.preprocess import Preprocess
from whichland.model.views import MOST_VIEWS, combined, cut_views

SQUARE = Preprocess(size=(48, 48), mean=(0.5,) * 3, std=(0.5,) * 3)
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def crops_of(data: bytes, preprocess: Preprocess, **how: object) -> tuple[np.ndarray, ...]:
    return cut_views(open_photo(data), preprocess, **how).crops  # type: ignore[arg-type]


def encoded(picture: Image.Image, *, gpano: str = "", kind: str = "JPEG") -> bytes:
    """A picture as a file, with Photo Sphere XMP where attributes of it are given."""
    file = io.BytesIO()
    xmp = f"<x:xmpmeta><rdf:Description {gpano}/></x:xmpmeta>".encode()
    picture.save(file, kind, quality=95, **({"xmp": xmp} if gpano else {}))
    return file.getvalue()


def bands(width: int, height: int, colours: list[tuple[int, int, int]]) -> Image.Image:
    """Equally wide bands side by side."""
    edges = [round(width * n / len(colours)) for n in range(len(colours) + 1)]
    pixels = np.zeros((height, width, 3), np.uint8)
    for left, right, colour in zip(edges, edges[1:], colours, strict=False):
        pixels[:, left:right] = colour
    return Image.fromarray(pixels)


def middles(crops: list[np.ndarray]) -> list[tuple[int, int, int]]:
    """The colour in the middle of each crop, to the nearest of none and all."""
    return [tuple(255 * int(channel > 127) for channel in crop[24, 24]) for crop in crops]


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (64, 64), (320, 240), (240, 320), (200, 100)])
def test_an_ordinary_photo_is_one_view_the_models_own_crop(size: tuple[int, int]) -> None:
    data = encoded(photo(1, size=size))
    (crop,) = crops_of(data, SQUARE)
    np.testing.assert_array_equal(crop, SQUARE.crop(decode(data, short_side=SQUARE.short_side)))


def test_a_wide_photo_is_seen_piece_by_piece_from_the_left() -> None:
    data = encoded(bands(300, 100, [RED, GREEN, BLUE]))
    crops = crops_of(data, SQUARE)
    assert middles(crops) == [RED, GREEN, BLUE]
    assert {crop.shape for crop in crops} == {(48, 48, 3)}
    assert middles(crops_of(data, SQUARE, views="one")) == [GREEN]
    assert len(crops_of(data, replace(SQUARE, crop_mode="squash"))) == 1  # it sees all of it anyway


def test_wide_is_meant_beside_what_the_model_sees() -> None:
    data = encoded(photo(1, size=(500, 200)))
    assert len(crops_of(data, SQUARE)) == 2
    assert len(crops_of(data, replace(SQUARE, size=(40, 100)))) == 1


def test_a_scroll_is_not_looked_at_square_by_square() -> None:
    assert len(crops_of(encoded(photo(1, size=(4000, 20))), SQUARE)) == MOST_VIEWS


def sphere(width: int = 400) -> Image.Image:
    """Another colour in each of the four directions: ahead, right, behind and left, where the middle is ahead."""
    eighths = [WHITE, BLUE, BLUE, RED, RED, GREEN, GREEN, WHITE]
    return bands(width, width // 2, eighths)


WHOLE = 'GPano:ProjectionType="equirectangular"'


def test_a_sphere_is_seen_in_four_directions_from_ahead_clockwise() -> None:
    seen = [RED, GREEN, WHITE, BLUE]
    assert middles(crops_of(encoded(sphere(), gpano=WHOLE), SQUARE)) == seen
    assert middles(crops_of(encoded(sphere(60), gpano=WHOLE), SQUARE)) == seen  # smaller than what is needed
    assert len(crops_of(encoded(sphere()), SQUARE)) == 1  # twice as wide as high is not yet a sphere
    assert middles(crops_of(encoded(sphere()), SQUARE, panorama=True)) == seen
    assert middles(crops_of(encoded(sphere(), kind="PNG"), SQUARE, panorama=True)) == seen
    assert len(crops_of(encoded(sphere(), gpano=WHOLE), SQUARE, views="one")) == 1
    assert len(crops_of(encoded(photo(1)), SQUARE, panorama=True)) == 1


def area(left: int, top: int, width: int, height: int) -> str:
    """XMP of a part of a sphere of 400 by 200 pixels."""
    return (
        f'{WHOLE} GPano:FullPanoWidthPixels="400" GPano:FullPanoHeightPixels="200" '
        f'GPano:CroppedAreaImageWidthPixels="{width}" GPano:CroppedAreaImageHeightPixels="{height}" '
        f'GPano:CroppedAreaLeftPixels="{left}" GPano:CroppedAreaTopPixels="{top}"'
    )


def test_a_sphere_without_its_poles_is_one_and_a_part_of_the_round_is_not() -> None:
    without_poles = sphere().crop((0, 40, 400, 160))
    crops = crops_of(encoded(without_poles, gpano=area(0, 40, 400, 120)), SQUARE)
    assert middles(crops) == [RED, GREEN, WHITE, BLUE]
    whole = crops_of(encoded(sphere(), gpano=WHOLE), SQUARE)
    np.testing.assert_allclose(np.array(crops, float), np.array(whole, float), atol=40)  # the same horizon
    half = sphere().crop((0, 0, 200, 200))
    assert len(crops_of(encoded(half, gpano=area(0, 0, 200, 200)), SQUARE)) == 1
    nonsense = area(0, 150, 400, 120)  # reaches below the ground
    assert len(crops_of(encoded(without_poles, gpano=nonsense), SQUARE)) == 3  # a wide photo then


def test_odds_are_combined_by_the_mean_of_their_logarithms() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2], [0.3, 0.3, 0.4]], np.float32)
    found = combined(probabilities[:2]), combined(probabilities[2:])
    product = np.sqrt(probabilities[0] * probabilities[1])
    np.testing.assert_allclose(found[0], product / product.sum(), rtol=1e-5)
    np.testing.assert_allclose(found[1], probabilities[2], rtol=1e-6)
    sure_of_two = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    np.testing.assert_allclose(combined(sure_of_two), [0.5, 0.5])
