"""The cache of decoded photos: the same pixels, never stale, and its size said before it is made."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whichland.errors import UserError
from whichland.images.augment import Augment
from whichland.images.decode import load
from whichland.images.preprocess import Preprocess
from whichland.training import packs
from whichland.training.data import Loader, Photos
from whichland.training.packs import photo_digests, scaled_photos, validation_crops

PREPROCESS = Preprocess(size=(40, 40), mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.fixture
def uris(tmp_path: Path) -> list[str]:
    """Smooth photos of several shapes, one of them small."""
    made = []
    for number, (width, height) in enumerate([(200, 120), (120, 200), (160, 160), (60, 50), (300, 100)]):
        y, x = np.mgrid[:height, :width]
        pixels = np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], 2)
        made.append(str(tmp_path / f"{number}.jpg"))
        Image.fromarray(pixels.astype(np.uint8)).save(made[-1], quality=95)
    return made


def test_photos_are_scaled_to_the_short_side_and_no_larger(uris: list[str], tmp_path: Path) -> None:
    said: list[str] = []
    found = scaled_photos(tmp_path / "cache", uris, 80, say=said.append)
    assert [array.shape[:2] for array in found] == [(80, 133), (133, 80), (80, 80), (50, 60), (80, 240)]
    np.testing.assert_array_equal(found[3], load(uris[3]))
    assert len(said) == 1
    stated = float(said[0].partition(" kB")[0].split()[-1])  # before any photo is scaled, so rounded otherwise
    assert stated == pytest.approx(sum(array.nbytes for array in found) / 1e3, rel=0.01)


def test_validation_crops_are_the_very_crops(uris: list[str], tmp_path: Path) -> None:
    found = validation_crops(tmp_path / "cache", uris, PREPROCESS, say=lambda _: None)
    for uri, crop in zip(uris, found, strict=True):
        expected = PREPROCESS.crop(load(uri, short_side=PREPROCESS.short_side))
        np.testing.assert_array_equal(crop, expected)


def test_a_changed_photo_is_not_served_from_the_cache(uris: list[str], tmp_path: Path) -> None:
    before = scaled_photos(tmp_path / "cache", uris, 80, say=lambda _: None)[2].copy()
    Image.new("RGB", (160, 160), (9, 200, 30)).save(uris[2], quality=95)
    after = scaled_photos(tmp_path / "cache", uris, 80, say=lambda _: None)[2]
    assert np.abs(before.astype(int) - after).max() > 50
    assert np.abs(after.astype(int) - (9, 200, 30)).max() < 5


def test_another_size_makes_another_cache(uris: list[str], tmp_path: Path) -> None:
    for side in (80, 64):
        found = scaled_photos(tmp_path / "cache", uris, side, say=lambda _: None)
        assert min(found[0].shape[:2]) == side


def test_crops_from_the_cache_are_those_of_the_photo(uris: list[str], tmp_path: Path) -> None:
    photos = Photos(uris, np.arange(5), np.ones(5))
    augment = Augment(size=(32, 32))
    plain = Loader(photos=photos, augment=augment, batch_size=5, seed=1, weighting="none")
    pixels = scaled_photos(tmp_path / "cache", uris, 80, say=lambda _: None)
    cached = Loader(photos=photos, augment=augment, batch_size=5, seed=1, weighting="none", pixels=pixels)
    (ours,), (expected,) = cached.epoch(0), plain.epoch(0)
    assert ours.targets.tolist() == expected.targets.tolist()
    difference = (ours.images.int() - expected.images.int()).abs().float()
    assert difference.mean() < 2  # scaled twice, of 255
    assert difference.max() < 30


def test_digests_are_of_the_bytes(uris: list[str], tmp_path: Path) -> None:
    first = photo_digests(uris)
    assert len(set(first)) == 5
    (tmp_path / "copy.jpg").write_bytes(Path(uris[4]).read_bytes())
    assert photo_digests([str(tmp_path / "copy.jpg")]) == [first[4]]


def test_a_full_disk_is_told_before_the_work(uris: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(packs.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="the disk has"):
        scaled_photos(tmp_path / "cache", uris, 80, say=lambda _: None)
    assert not list((tmp_path / "cache").iterdir())


def test_a_folder_that_cannot_be_made_is_told(uris: list[str]) -> None:
    with pytest.raises(UserError, match=r"cannot be made .* give --cache another folder"):
        scaled_photos(Path(uris[0]), uris, 80, say=lambda _: None)


def test_the_cache_is_as_large_as_the_smallest_crop_needs() -> None:
    augment = Augment(size=(32, 48), min_area=0.3, max_stretch=1.5)
    needed = [augment.needed(augment.draw(0, number)) for number in range(2000)]
    assert 0.95 * augment.most_needed <= max(needed) <= augment.most_needed
