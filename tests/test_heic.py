"""HEIC: opened like any other photo where the extra is installed, and one line where it is not."""

import io
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from PIL.ExifTags import GPS, IFD

from serving import create
from tiny_bundle import make_bundle, pixels
from whichland.images import decode as decoding
from whichland.images.decode import ImageError, decode, decode_luma, image_size, load
from whichland.sources.ingest import ingest

HEAD = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    decoding.let_pillow_open_heic.cache_clear()
    yield
    decoding.let_pillow_open_heic.cache_clear()


@pytest.mark.usefixtures("without_extra")
def test_without_the_extra_one_line_names_it(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"^format HEIC is not supported here: install the extra 'heic', or convert"):
        decode(HEAD)
    with TestClient(create(make_bundle(tmp_path / "bundle"))) as client:
        answer = client.post("/api/predict", files={"files": ("a.heic", HEAD)})
        assert answer.status_code == 422
        assert "install the extra 'heic'" in answer.json()["results"][0]["error"]


def heic(pixels_HWC: np.ndarray, *, orientation: int = 1, place: tuple[int, int] | None = None) -> bytes:
    """A HEIC, lossless but for its colours, turned by a box of its own as phones write it."""
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    pillow_heif.register_heif_opener()
    image, exif = Image.fromarray(pixels_HWC), Image.Exif()
    exif[0x0112] = orientation
    if place:
        names = {GPS.GPSLatitudeRef: "N", GPS.GPSLongitudeRef: "E"}
        exif[IFD.GPSInfo] = names | {GPS.GPSLatitude: (place[0], 0, 0), GPS.GPSLongitude: (place[1], 0, 0)}
    image.info["exif"] = exif.tobytes()
    image.save(file := io.BytesIO(), "HEIF", quality=-1)
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_upright_as_the_same_jpeg_is(orientation: int) -> None:
    picture, exif = pixels(3), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(jpeg := io.BytesIO(), "JPEG", exif=exif, quality=98)
    data = heic(picture, orientation=orientation)
    seen, expected = decode(data), decode(jpeg.getvalue())
    assert seen.shape == expected.shape
    assert np.abs(seen.astype(int) - expected).mean() < 3
    assert image_size(data) == (seen.shape[1], seen.shape[0])
    assert decode_luma(data, short_side=8).shape == seen.shape[:2]


def test_a_folder_of_them_is_ingested_with_their_places(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "IMG_0001.HEIC").write_bytes(heic(pixels(1), place=(61, 9)))
    (row,) = ingest(str(tmp_path / "photos")).frame.to_dicts()
    assert (row["lat"], row["lon"]) == (61.0, 9.0)
    assert load(row["uri"]).shape == pixels(1).shape


def test_limits_hold_before_pixels_are_decoded_and_a_header_that_lies_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = heic(pixels(1, 512, 512))
    lie, at = bytearray(data), -1
    while (at := data.find(b"ispe", at + 1)) >= 0:
        lie[at + 8 : at + 16] = struct.pack(">II", 64, 64)
    for broken in (bytes(lie), data[: len(data) // 2], data[:60]):
        with pytest.raises(ImageError, match="broken HEI"):
            decode(broken)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 1000)
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="512×512 pixels are over the limit"):
        decode(data)
