import struct
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


SOUTH_EAST = (-33.858333, 151.2)
S, E = GPS.GPSLatitude, GPS.GPSLongitude


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({S: (33, 51, IFDRational(0, 0)), E: (151, 12, IFDRational(0, 0))}, (-33.85, 151.2)),
        ({S: (33.858333, IFDRational(0, 0), IFDRational(0, 0))}, SOUTH_EAST),
        ({S: (33.858333,)}, SOUTH_EAST),
        ({S: (33, 51.5)}, SOUTH_EAST),
        ({S: (IFDRational(33858333, 1000000), 0, 0)}, SOUTH_EAST),
        ({GPS.GPSLatitudeRef: "South", GPS.GPSLongitudeRef: "East"}, SOUTH_EAST),
        ({GPS.GPSLatitudeRef: "s", GPS.GPSLongitudeRef: "e "}, SOUTH_EAST),
        ({GPS.GPSLongitudeRef: "W"}, (-33.858333, -151.2)),
        ({GPS.GPSLongitudeRef: "north"}, None),
        ({GPS.GPSLatitudeRef: "?"}, None),
        ({S: (4294967263, 51, 30)}, None),
    ],
)
def test_places_as_devices_write_them(
    tmp_path: Path, changed: dict[int, Any], place: tuple[float, float] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    sydney = {GPS.GPSLatitudeRef: "S", S: (33, 51, 30), GPS.GPSLongitudeRef: "E", E: (151, 12, 0)}
    rows = read_exif([photo(tmp_path / "a.jpg", sydney | changed)])
    found = rows.select("lat", "lon").row(0)
    assert found == (pytest.approx(place, abs=1e-5) if place else (None, None))
    assert ("1 photo with a place in EXIF that is not understood" in capsys.readouterr().err) == (place is None)


def signed(degrees: int, minutes: int, seconds: int, letter: bytes) -> bytes:
    """EXIF with a latitude in signed rationals (type 10), as some programs write it, and longitude 151°12' E."""
    west = struct.pack("<6i", degrees, 1, minutes, 1, seconds, 1)
    east = struct.pack("<6I", 151, 1, 12, 1, 0, 1)
    entries = struct.pack("<HHI4s", 1, 2, 2, letter) + struct.pack("<HHII", 2, 10, 3, 80)
    entries += struct.pack("<HHI4s", 3, 2, 2, b"E\0") + struct.pack("<HHII", 4, 5, 3, 104)
    gps = struct.pack("<H", 4) + entries + struct.pack("<I", 0)
    tiff = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x8825, 4, 1, 26, 0) + gps + west + east
    assert len(tiff) == 128
    body = b"Exif\0\0" + tiff
    data = jpeg()
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


@pytest.mark.parametrize(
    ("parts", "letter", "lat"),
    [
        ((-33, -51, -30), b"S\0", -33.858333),
        ((-33, 51, 30), b"S\0", -33.858333),
        ((33, 51, 30), b"N\0", 33.858333),
        ((-33, -51, -30), b"N\0", None),
    ],
)
def test_signed_rationals_never_change_the_hemisphere(
    tmp_path: Path, parts: tuple[int, int, int], letter: bytes, lat: float | None
) -> None:
    (tmp_path / "a.jpg").write_bytes(signed(*parts, letter))
    found = read_exif([str(tmp_path / "a.jpg")])["lat"][0]
    assert found == (pytest.approx(lat, abs=1e-5) if lat else None)


def test_the_file_says_that_it_is_a_whole_sphere(tmp_path: Path) -> None:
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" '
        'GPano:ProjectionType="equirectangular" GPano:FullPanoWidthPixels="{}" GPano:FullPanoHeightPixels="32" '
        'GPano:CroppedAreaImageWidthPixels="64" GPano:CroppedAreaImageHeightPixels="32"/></x:xmpmeta>'
    )
    for name, width in (("whole", 64), ("part", 128)):
        Image.new("RGB", (64, 32)).save(tmp_path / f"{name}.jpg", xmp=xmp.format(width).encode())
    frame = ingest(str(tmp_path)).frame
    assert frame["projection"].to_list() == [None, "equirectangular"]
