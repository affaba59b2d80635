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


def photo(path: Path, gps: dict[int, Any], taken: dict[int, Any] | None = None) -> str:
    exif = Image.Exif()
    exif[IFD.GPSInfo], exif[IFD.Exif] = gps, taken or {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(exif=exif))
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
    ],
    ids=["null island", "off the globe", "nought by nought", "no hemisphere"],
)
def test_coordinates_that_are_none(tmp_path: Path, changed: dict[int, Any]) -> None:
    rows = read_exif([photo(tmp_path / "a.jpg", WINDHOEK | changed)])
    assert rows.select("lat", "lon").row(0) == (None, None)
    assert rows["captured_at"][0] == "2020-09-18T05:19:10Z"


@pytest.mark.parametrize(
    ("taken", "time"),
    [
        (
            {BASE.DateTimeOriginal: "2020:09:18 07:19:10", BASE.OffsetTimeOriginal: "+02:00"},
            "2020-09-18T05:19:10Z",
        ),
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
