from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from origins import jpeg
from whichland.sources.exif import read_exif
from whichland.sources.ingest import ingest

GPS, BASE, IFD = ExifTags.GPS, ExifTags.Base, ExifTags.IFD
SHARED = Path(__file__).parent.parent.parent / "shared/data"

WINDHOEK: dict[int, Any] = {
    GPS.GPSLatitudeRef: "S",
    GPS.GPSLatitude: (22.0, 33.0, 36.0),
    GPS.GPSLongitudeRef: "E",
    GPS.GPSLongitude: (17.0, 4.8, 0.0),
    GPS.GPSImgDirectionRef: "T",
    GPS.GPSImgDirection: 271.5,
    GPS.GPSDateStamp: "2020:09:18",
    GPS.GPSTimeStamp: (5.0, 19.0, 10.0),
}


def stated(gps: dict[int, Any], taken: dict[int, Any] | None = None) -> Image.Exif:
    exif = Image.Exif()
    exif[IFD.GPSInfo] = gps
    if taken:
        exif[IFD.Exif] = taken
    return exif


def photo(path: Path, gps: dict[int, Any], taken: dict[int, Any] | None = None) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(exif=stated(gps, taken)))
    return str(path)


def test_place_heading_and_time(tmp_path: Path) -> None:
    west = WINDHOEK | {GPS.GPSLatitudeRef: "N", GPS.GPSLongitudeRef: "W"}
    rows = read_exif([photo(tmp_path / "a.jpg", WINDHOEK), photo(tmp_path / "b.jpg", west)])
    assert rows["lat"].to_list() == pytest.approx([-22.56, 22.56])
    assert rows["lon"].to_list() == pytest.approx([17.08, -17.08])
    assert rows["heading"].to_list() == [271.5, 271.5]
    assert rows["captured_at"].to_list() == ["2020-09-18T05:19:10Z"] * 2


@pytest.mark.parametrize(
    "changed",
    [
        {GPS.GPSLatitude: (0.0, 0.0, 0.0), GPS.GPSLongitude: (0.0, 0.0, 0.0)},
        {GPS.GPSLatitude: (122.0, 0.0, 0.0)},
        {GPS.GPSLatitude: (IFDRational(0, 0), 0.0, 0.0)},
        {GPS.GPSLatitudeRef: ""},
        {GPS.GPSLatitudeRef: "E"},
    ],
    ids=["null island", "off the globe", "nought by nought", "no hemisphere", "a wrong one"],
)
def test_coordinates_that_are_none(tmp_path: Path, changed: dict[int, Any]) -> None:
    rows = read_exif([photo(tmp_path / "a.jpg", WINDHOEK | changed)])
    assert rows.select("lat", "lon").row(0) == (None, None)
    assert rows["captured_at"][0] == "2020-09-18T05:19:10Z"


@pytest.mark.parametrize(
    ("taken", "time"),
    [
        ({BASE.DateTimeOriginal: "2020:09:18 07:19:10", BASE.OffsetTimeOriginal: "+02:00"}, "2020-09-18T05:19:10Z"),
        ({BASE.DateTimeOriginal: "2020:09:18 07:19:10"}, "2020-09-18T07:19:10Z"),
        ({BASE.DateTimeOriginal: "0000:00:00 00:00:00"}, None),
        ({}, None),
    ],
)
def test_the_cameras_clock(tmp_path: Path, taken: dict[int, Any], time: str | None) -> None:
    assert read_exif([photo(tmp_path / "a.jpg", {}, taken)])["captured_at"].to_list() == [time]


def test_photos_without_labels_have_places(tmp_path: Path) -> None:
    photo(tmp_path / "walk" / "a.jpg", WINDHOEK)
    (tmp_path / "walk" / "b.jpg").write_bytes(jpeg())
    (tmp_path / "walk" / "c.jpg").write_bytes(b"no photo")
    frame = ingest(str(tmp_path / "walk")).frame
    assert frame["lat"].is_not_null().to_list() == [True, False, False]
    assert frame["country"].to_list() == [None] * 3
    assert ingest(str(tmp_path / "walk"), exif=False).frame["lat"].null_count() == 3


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_no_broken_file_stops_the_reading() -> None:
    files = [str(path) for path in sorted((SHARED / "bad_inputs").rglob("*")) if path.is_file()]
    rows = read_exif(files)
    assert rows.height == len(files) > 200
    assert rows.filter(pl.col("captured_at").is_not_null()).height == 4


def test_a_hemisphere_in_bytes_is_one(tmp_path: Path) -> None:
    data = jpeg(exif=stated(WINDHOEK))
    ascii_south = b"\x00\x01\x00\x02\x00\x00\x00\x02S\x00"
    assert data.count(ascii_south) == 1
    as_bytes = ascii_south.replace(b"\x00\x02\x00\x00", b"\x00\x01\x00\x00", 1)
    (tmp_path / "a.jpg").write_bytes(data.replace(ascii_south, as_bytes))
    assert read_exif([str(tmp_path / "a.jpg")])["lat"].to_list() == pytest.approx([-22.56])


def test_the_camera_knows_the_time_when_the_satellites_do_not(tmp_path: Path) -> None:
    taken = {BASE.DateTimeOriginal: "2020:09:18 07:19:10"}
    path = photo(tmp_path / "a.jpg", WINDHOEK | {GPS.GPSDateStamp: "0000:00:00"}, taken)
    assert read_exif([path])["captured_at"].to_list() == ["2020-09-18T07:19:10Z"]


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff"])
def test_other_formats_state_their_place(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (24, 16)).save(path, exif=stated(WINDHOEK).tobytes())
    assert read_exif([str(path)])["lat"].to_list() == pytest.approx([-22.56])


def test_no_pixel_of_a_png_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (24, 16)).save(tmp_path / "a.png")
    loaded: list[Image.Image] = []
    monkeypatch.setattr(Image.Image, "load", lambda self: loaded.append(self))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: loaded.append(self))
    read_exif([str(tmp_path / "a.png")])
    assert loaded == []
