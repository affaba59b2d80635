import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whichland.images import panorama
from whichland.images.panorama import Piece, centred, native_width, pictures_in, sphere_view, sphere_views, strip_pieces

WIDTH, HEIGHT = 1024, 512


def unit_vectors(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    """Right, up, ahead."""
    return np.stack([np.cos(latitude) * np.sin(longitude), np.sin(latitude), np.cos(latitude) * np.cos(longitude)], -1)


def sphere_rays() -> np.ndarray:
    """Where each pixel of the panorama looks, written from the definition of the format."""
    longitude = ((np.arange(WIDTH) + 0.5) / WIDTH - 0.5) * 2 * np.pi
    latitude = (0.5 - (np.arange(HEIGHT) + 0.5) / HEIGHT) * np.pi
    return unit_vectors(*np.meshgrid(longitude, latitude))


def camera_rays(direction: float, pitch: float, fov: float, size: tuple[int, int]) -> np.ndarray:
    """Where each pixel of a pinhole camera looks, by rotation matrices, which the code does not use."""
    focal = size[0] / 2 / math.tan(math.radians(fov / 2))
    x, y = np.meshgrid(np.arange(size[0]) + 0.5 - size[0] / 2, np.arange(size[1]) + 0.5 - size[1] / 2)
    rays = np.stack([x, -y, np.full_like(x, focal)], -1)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    p, d = math.radians(pitch), math.radians(direction)
    up = np.array([[1, 0, 0], [0, math.cos(p), math.sin(p)], [0, -math.sin(p), math.cos(p)]])
    right = np.array([[math.cos(d), 0, math.sin(d)], [0, 1, 0], [-math.sin(d), 0, math.cos(d)]])
    return rays @ (right @ up).T


def colours(rays: np.ndarray) -> np.ndarray:
    return (rays + 1) * 127.5


@pytest.mark.parametrize(
    ("direction", "pitch", "fov"),
    [(0, 0, 90), (90, 0, 60), (180, 0, 90), (-179.5, 10, 70), (271.3, -35, 100), (10, 90, 50), (45, -80, 90)],
)
def test_a_view_shows_what_lies_in_its_directions(direction: float, pitch: float, fov: float) -> None:
    panorama = colours(sphere_rays()).round().astype(np.uint8)
    size = (160, 120)
    view = sphere_view(panorama, direction, fov=fov, pitch=pitch, size=size)
    expected = colours(camera_rays(direction, pitch, fov, size))
    assert np.abs(view - expected).max() < 1.6  # rounding of the panorama and of the view, and little else


@pytest.mark.parametrize("direction", [0, 180, 137])
def test_straight_lines_stay_straight(direction: float) -> None:
    """The edge of a half-space through the camera is a straight line in any pinhole picture, at the seam too."""
    normal = np.array([math.cos(math.radians(direction)), 0.35, -math.sin(math.radians(direction))])
    panorama = np.repeat(((sphere_rays() @ normal) > 0)[..., None] * np.uint8(255), 3, axis=2)
    view = sphere_view(panorama, direction, fov=90, pitch=0, size=(400, 400))[..., 0]
    rows = np.arange(400)
    edge = 400 - view.astype(float).sum(1) / 255
    slope, offset = np.polyfit(rows, edge, 1)
    assert slope == pytest.approx(0.35, abs=0.01)
    assert np.abs(edge - (slope * rows + offset)).max() < 1.5


def test_views_next_to_each_other_meet() -> None:
    panorama = colours(sphere_rays()).round().astype(np.uint8)
    views = sphere_views(panorama, (0, 90, 180, 270), fov=90, pitch=0, size=(200, 200))
    for left, right in zip(views, views[1:] + views[:1], strict=True):
        assert np.abs(left[:, -1].astype(int) - right[:, 0]).max() <= 3


def test_a_view_of_a_finer_panorama_is_averaged_not_sampled() -> None:
    """Black and white columns, finer than the view can show, are grey in it, not moiré."""
    panorama = np.zeros((1024, 2048, 3), np.uint8)
    panorama[:, ::2] = 255
    (view,) = sphere_views(panorama, (0,), fov=90, pitch=0, size=(64, 64))
    assert view[20:44].std() < 8
    assert view.mean() == pytest.approx(127, abs=4)


def test_native_width_keeps_pixels_a_degree() -> None:
    assert native_width(360, 1) == pytest.approx(1, rel=1e-3)  # one pixel a degree, one degree
    assert native_width(4000, 90) == pytest.approx(4000 / math.pi)


def test_a_strip_is_cut_at_its_own_edges() -> None:
    """The four pictures of the hub's panoramas: no view holds pixels of two of them."""
    strip = np.repeat(np.arange(4, dtype=np.uint8), 448)[None, :, None].repeat(448, 0).repeat(3, 2)
    pieces = strip_pieces(1792, 448, 4, None)
    assert [np.unique(piece.cut(strip)).tolist() for piece in pieces] == [[0], [1], [2], [3]]
    assert {(piece.width, piece.height) for piece in pieces} == {(448, 448)}
    assert [piece.direction(1792) for piece in pieces] == [-135, -45, 45, 135]


def test_a_wide_band_is_cut_to_the_ratio_of_the_other_set() -> None:
    """The sizes of the two sets that were merged by hand: 3050×561, cut to 1536:662, gives two pieces."""
    pieces = strip_pieces(3050, 561, 1, 1536 / 662)
    assert [(piece.width, piece.height) for piece in pieces] == [(1302, 561)] * 2
    assert pieces[0].left + 1302 <= 1525 <= pieces[1].left


def test_a_direction_of_a_band_goes_across_its_ends() -> None:
    band = np.arange(360, dtype=np.uint16).astype(np.uint8)[None, :, None].repeat(60, 0).repeat(3, 2)
    (piece,) = strip_pieces(360, 60, 1, 1, (180,))
    assert piece.cut(band)[0, :, 0].tolist() == [*(np.arange(330, 360) % 256), *range(30)]
    assert piece.direction(360) % 360 == 180


def test_directions_choose_pictures_of_a_strip_once() -> None:
    assert [p.left for p in strip_pieces(400, 100, 4, None, (-135, -130, 45, 224))] == [0, 200]


@pytest.mark.parametrize(
    ("width", "height", "count"), [(1792, 448, 4), (1790, 448, 4), (3050, 561, None), (448, 448, None)]
)
def test_number_of_square_pictures(width: int, height: int, count: int | None) -> None:
    assert pictures_in(width, height) == count


def test_the_excess_is_cut_off_evenly() -> None:
    assert centred(1536, 662, 1) == Piece(437, 0, 662, 662)
    assert centred(600, 800, 4 / 3) == Piece(0, 175, 600, 450)
    assert centred(600, 800, None) == Piece(0, 0, 600, 800)


@settings(max_examples=300, deadline=None)
@given(st.integers(8, 4000), st.integers(8, 1500), st.integers(1, 8), st.one_of(st.none(), st.floats(0.2, 5.0)))
def test_pieces_lie_inside_their_pictures_and_apart(
    width: int, height: int, pictures: int, aspect: float | None
) -> None:
    pieces = strip_pieces(width, height, pictures, aspect)
    edges = [round(width * number / pictures) for number in range(pictures + 1)]
    assert len(pieces) >= pictures
    for piece, after in itertools.pairwise(pieces):
        assert piece.left + piece.width <= after.left
    for piece in pieces:
        assert piece.height >= 1 <= piece.width
        assert 0 <= piece.top <= piece.top + piece.height <= height
        assert any(a <= piece.left and piece.left + piece.width <= b for a, b in itertools.pairwise(edges))
        if aspect is not None:  # to the pixel
            assert min(abs(piece.width - piece.height * aspect), abs(piece.height - piece.width / aspect)) <= 1


def test_bands_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    whole = panorama.sphere_view(pixels, 33, fov=90, pitch=10, size=(60, 41))
    monkeypatch.setattr(panorama, "BAND", 7 * 60)
    assert np.array_equal(panorama.sphere_view(pixels, 33, fov=90, pitch=10, size=(60, 41)), whole)
