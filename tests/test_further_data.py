"""Data as others write it: five further inputs of each kind that has been read wrongly or lost in silence before.

What is right comes from outside: names of countries as their publishers print them, degrees worked out by hand, the
TIFF, PNG and GeoJSON specifications, and where places lie.
"""

import io
import json
import os
import socket
import stat
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from curated import photo, save
from misbehaving_mapillary import BOX, TOKEN, World, serve
from origins import jpeg, put
from whichland.cli.commands import root
from whichland.errors import UserError
from whichland.manifest import read, write
from whichland.sources.exif import read_exif
from whichland.sources.ingest import ingest
from whichland.sources.mapillary import places
from whichland.sources.mapillary.config import HarvestConfig
from whichland.sources.mapillary.harvest import fetch

# -- countries by name --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        {  # the World Bank's list of economies
            "Egypt, Arab Rep.": "EG", "Micronesia, Fed. Sts.": "FM", "Yemen, Rep.": "YE", "Lao PDR": "LA",
            "Hong Kong SAR, China": "HK", "Kyrgyz Republic": "KG", "Gambia, The": "GM", "Venezuela, RB": "VE",
        },
        {  # FIFA's member associations
            "Korea DPR": "KP", "China PR": "CN", "Chinese Taipei": "TW", "IR Iran": "IR", "Cabo Verde": "CV",
            "Côte d’Ivoire": "CI", "Korea Republic": "KR", "Brunei Darussalam": "BN",
        },
        {  # Natural Earth's short names
            "Dem. Rep. Congo": "CD", "Bosnia and Herz.": "BA", "Eq. Guinea": "GQ", "Central African Rep.": "CF",
            "Solomon Is.": "SB", "Fr. Polynesia": "PF", "W. Sahara": "EH", "Dominican Rep.": "DO",
        },
        {  # as the countries write themselves, two of them in two signs
            "日本": "JP", "中国": "CN", "대한민국": "KR", "Ελλάδα": "GR", "Magyarország": "HU", "საქართველო": "GE",
            "ประเทศไทย": "TH", "Éire": "IE",
        },
        dict.fromkeys(("n/a", "N/A", "N.A.", "#N/A", "<NA>", "nan")),  # none of them is Namibia
    ],
    ids=["World Bank", "FIFA", "Natural Earth", "own languages", "missing"],
)  # fmt: skip
def test_countries_as_lists_name_them(tmp_path: Path, names: dict[str, str | None]) -> None:
    photos = [f"{number}.jpg" for number in range(len(names))]
    put(tmp_path, *photos)
    rows = [f"{file}\t{name}" for file, name in zip(photos, names, strict=True)]
    (tmp_path / "t.tsv").write_text("\n".join(["path\tcountry", *rows]), encoding="utf-8")
    assert ingest(f"table:{tmp_path}/t.tsv").frame["country"].to_list() == list(names.values())


# -- EXIF ---------------------------------------------------------------------------------------------------------


def directory(order: str, at: int, entries: list[tuple[int, int, int, bytes]]) -> bytes:
    """A TIFF directory at offset `at`, of (tag, type, count, value) each; long values follow it."""
    body, rest = struct.pack(order + "H", len(entries)), b""
    for tag, kind, count, value in entries:
        place = value.ljust(4, b"\0")
        if len(value) > 4:
            place = struct.pack(order + "I", at + 2 + 12 * len(entries) + 4 + len(rest))
            rest += value
        body += struct.pack(order + "HHI", tag, kind, count) + place
    return body + bytes(4) + rest


def tiff(order: str, gps: list[tuple[int, int, int, bytes]]) -> bytes:
    """A TIFF header and two directories, the second of GPS tags."""
    header = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    return header + directory(order, 8, [(0x8825, 4, 1, struct.pack(order + "I", 26))]) + directory(order, 26, gps)


def in_jpeg(exif: bytes, before: bytes = b"") -> bytes:
    data, body = jpeg(), b"Exif\0\0" + exif
    return data[:2] + before + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def valparaiso(order: str, kind: int = 5, lat: bytes | None = None, lon: bytes | None = None) -> bytes:
    """EXIF of 33°02'45.6" S, 71°37'12" W, by default in rationals."""
    lat = lat or struct.pack(order + "6I", 33, 1, 2, 1, 456, 10)
    lon = lon or struct.pack(order + "6I", 71, 1, 37, 1, 12, 1)
    count = 3 if kind != 2 else len(lat)
    refs = (1, 2, 2, b"S\0"), (3, 2, 2, b"W\0")
    return tiff(order, [refs[0], (2, kind, count, lat), refs[1], (4, kind, count if kind != 2 else len(lon), lon)])


def in_png(profile: bytes) -> bytes:
    """ImageMagick's way before PNG had a chunk for EXIF: hexadecimal digits in a compressed text."""
    made = io.BytesIO()
    Image.new("RGB", (8, 8)).save(made, "PNG")
    data, body = made.getvalue(), b"Exif\0\0" + profile
    text = b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n%8d\n" % len(body) + body.hex().encode() + b"\n")
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    at = data.index(b"IDAT") - 4
    return data[:at] + chunk + data[at:]


@pytest.mark.parametrize(
    "data",
    [
        in_jpeg(valparaiso(">", 12, struct.pack(">3d", 33, 2, 45.6), struct.pack(">3d", 71, 37, 12))),
        in_jpeg(valparaiso("<", 2, b"33.046\0", b"71.62\0")),
        in_jpeg(valparaiso(">", 5, struct.pack(">6I", 33, 1, 1, 1, 1056, 10), struct.pack(">6I", 71, 1, 36, 1, 72, 1))),
        in_jpeg(valparaiso("<"), before=b"\xff\xed\0\6abcd\xff\xff\xe2\0\6abcd\xff\xfe\0\4ab"),
        in_png(valparaiso(">")),
    ],
    ids=["doubles", "text", "more than 60 seconds", "behind other segments", "ImageMagick's PNG"],
)
def test_places_in_exif_of_any_type(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / f"a.{'png' if data[1:4] == b'PNG' else 'jpg'}"
    file.write_bytes(data)
    assert read_exif([str(file)]).select("lat", "lon").row(0) == pytest.approx((-33.046, -71.62), abs=1e-6)


# -- tables -------------------------------------------------------------------------------------------------------

REUNION = "path;country;lat;lon\na.jpg;La Réunion;-21,1;55,5\nb.jpg;Réunion;-21,1;55,5\n"


@pytest.mark.parametrize(
    "data",
    [
        REUNION.encode("utf-16-be"),  # without a mark of its order
        b"\xef\xbb\xbf" * 2 + REUNION.encode(),  # a mark before each of two files that were joined
        REUNION.replace("lat;lon", "GPS_LATITUDE;GPS_LONGITUDE").replace("-21,1;55,5", "21.1 S;55.5E").encode(),
        REUNION.replace(";", " , ").replace("-21,1 , 55,5", " -21.1,\t+55.50").encode(),
        REUNION.replace("lat;lon", "geometry").replace(
            "-21,1;55,5", '"{""type"": ""Point"", ""coordinates"": [55.5, -21.1]}"').encode("cp1252"),
    ],
    ids=["UTF-16", "two marks", "hemispheres", "blanks", "GeoJSON in a cell"],
)  # fmt: skip
def test_tables_from_other_programs(tmp_path: Path, data: bytes) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "t.csv").write_bytes(data)
    frame = ingest(f"table:{tmp_path}/t.csv").frame
    assert frame["country"].to_list() == ["RE", "RE"]
    assert frame.select("lat", "lon").rows() == [pytest.approx((-21.1, 55.5))] * 2


def test_cells_in_quotation_marks_behind_blanks(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    (tmp_path / "t.csv").write_text('path, country, lat, lon\na.jpg, "Congo, Rep.", "-4,27", "15,28"\n')
    assert ingest(f"table:{tmp_path}/t.csv").frame.select("country", "lat", "lon").row(0) == ("CG", -4.27, 15.28)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"PK\x03\x04" + bytes(60), "save it as CSV"),
        (b"\xd0\xcf\x11\xe0" + bytes(60), "save it as CSV"),
        (b"path,country\na.jpg,Congo, Rep.\n", "quotation marks"),
    ],
)
def test_what_is_no_table_says_what_to_do(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(UserError, match=rf"t\.csv: .*{says}"):
        ingest(f"table:{tmp_path}/t.csv")


# -- folders ------------------------------------------------------------------------------------------------------


def of_a_store(folder: Path) -> None:
    put(folder, "FR/.Trashes/501/x.jpg", "NO/.Trash-1000/files/x.jpg", "__MACOSX/FR/._a.jpg", "#snapshot/FR/x.jpg")
    put(folder, "System Volume Information/x.jpg", "lost+found/x.jpg", ".@__thumb/x.jpg", "@Recycle/NO/x.jpg")
    (folder / "FR" / "Thumbs.db").write_bytes(b"x")


def of_a_contest(folder: Path) -> None:
    (folder / "train").mkdir()
    (folder / "FR").rename(folder / "train" / "FR")
    (folder / "validation").mkdir()
    (folder / "NO").rename(folder / "validation" / "NO")


def with_what_is_no_file(folder: Path) -> None:
    os.mkfifo(folder / "FR" / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "NO" / "s.jpg"))
    (folder / "NO" / "gone.jpg").symlink_to("/nowhere/x.jpg")
    (folder / "NO" / "round").symlink_to(folder)


def of_takeout(folder: Path) -> None:
    """A name that is there twice has its number behind the JSON's own ending."""
    (folder / "FR" / "a.jpg").rename(folder / "FR" / "a(1).jpg")
    place = {"title": "a.jpg", "geoData": {"latitude": 48.85, "longitude": 2.35}}
    (folder / "FR" / "a.jpg(1).json").write_text(json.dumps(place))


def of_the_hub(folder: Path) -> None:
    for split, part, country in (("train", "FR/a.jpg", "France"), ("test", "NO/b.jpg", "Norway")):
        (folder / split).mkdir()
        (folder / part).rename(folder / split / Path(part).name)
        (folder / part).parent.rmdir()
        row = {"file_name": Path(part).name, "country": country}
        (folder / split / "metadata.jsonl").write_text(json.dumps(row) + "\n")


@pytest.mark.parametrize(
    "arrange", [of_a_store, of_a_contest, with_what_is_no_file, of_takeout, of_the_hub], ids=lambda f: f.__name__
)
def test_folders_with_more_than_photos(tmp_path: Path, arrange: Callable[[Path], None]) -> None:
    put(tmp_path / "p", "FR/a.jpg", "NO/b.jpg")
    arrange(tmp_path / "p")
    frame = ingest(str(tmp_path / "p")).frame
    assert sorted(frame["country"].to_list()) == ["FR", "NO"]
    assert all(Path(uri).is_file() for uri in frame["uri"])
    if arrange is of_takeout:
        assert (48.85, 2.35) in frame.select("lat", "lon").rows()


# -- areas of Mapillary -------------------------------------------------------------------------------------------


def ring(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


BERING = ring(170, 60, -160, 70)
INSIDE = {"Anadyr": (177.5, 64.73), "Nome": (-165.4, 64.5), "Diomede": (-169.0, 65.79)}
OUTSIDE = {"Fairbanks": (-147.7, 64.84), "Yakutsk": (129.7, 62.0), "Oslo": (10.75, 59.91), "Suva": (178.4, -18.1)}


@pytest.mark.parametrize(
    "shape",
    [
        {"type": "Polygon", "coordinates": [BERING]},
        {"type": "Polygon", "coordinates": [[[*corner, 12.5] for corner in BERING[::-1]]]},
        {"type": "MultiPolygon", "coordinates": [[ring(170, 60, 180, 70)], [ring(-180, 60, -160, 70)]]},
        {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "coordinates": [ring(170, 60, 200, 70)]}]},
        {
            "type": "Feature",
            "properties": None,
            "geometry": {"type": "Polygon", "coordinates": [BERING, ring(179, 66, -179, 67)]},
        },
    ],
    ids=["crossing", "heights, clockwise", "cut at 180", "beyond 180", "with a hole"],
)
def test_polygons_around_the_bering_strait(tmp_path: Path, shape: dict[str, object]) -> None:
    (tmp_path / "bering.geojson").write_text(json.dumps(shape))
    origin = places.parse(f"mapillary:polygon={tmp_path}/bering.geojson")
    (area,) = places.areas(origin, quota=20, seed=0)
    towns = np.array([*INSIDE.values(), *OUTSIDE.values()])
    assert area.contains(towns[:, 0], towns[:, 1]).tolist() == [True] * len(INSIDE) + [False] * len(OUTSIDE)
    boxes = [box for box, _ in zip(area.boxes(), range(200), strict=False)]
    assert all(south >= 60 and north <= 70.05 and (east > 170 or west < -160) for west, south, east, north in boxes)
    hole = bool(area.contains(np.array([180.0]), np.array([66.5]))[0])
    assert hole == ("geometry" not in shape)


# -- what is written, and by whom it may be read ------------------------------------------------------------------


def a_manifest(folder: Path) -> None:
    write(ingest(str(put(folder / "in", "FR/a.jpg"))), folder / "out" / "m.parquet")


def a_world(folder: Path) -> None:
    (folder / "out").mkdir()
    words = ["data", "ingest", "synthetic:scenes=2,size=64x64", "-o", f"{folder}/out/m.parquet"]
    root()([*words, "--folder", f"{folder}/out/world"], standalone_mode=False)


def a_harvest(folder: Path) -> None:
    config = HarvestConfig(rate=120_000, timeout_s=1.0, backoff_s=0.01)
    with serve(World(drives=1, frames=3, long_drive=0)) as server:
        origin = f"mapillary:bbox={','.join(map(str, BOX))}"
        fetch(origin, folder / "out", config, token=TOKEN, api=server.api.address)


def views_of_panoramas(folder: Path) -> None:
    for seed in range(3):
        save(photo(seed, size=(640, 320)), folder / "in" / "FR" / f"{seed}.jpg")
    write(ingest(str(folder / "in")), folder / "in.parquet")
    root()(["data", "measure", f"{folder}/in.parquet", "-o", f"{folder}/in.parquet", "-j", "1"], standalone_mode=False)
    words = ["data", "merge", f"{folder}/in.parquet", "-o", f"{folder}/out/m.parquet", "-j", "1"]
    root()([*words, "--images", f"{folder}/out/images", "--projection", "in=equirectangular"], standalone_mode=False)


def contact_sheets(folder: Path) -> None:
    for seed in range(3):
        save(photo(seed), folder / "in" / "FR" / f"{seed}.jpg")
    words = ["data", "prepare", f"{folder}/in", "-o", f"{folder}/in.parquet", "-j", "1"]
    root()(words, standalone_mode=False)
    (folder / "out").mkdir()
    root()(["data", "stats", f"{folder}/in.parquet", "--examples", f"{folder}/out/sheets"], standalone_mode=False)


@pytest.mark.parametrize(
    "made", [a_manifest, a_world, a_harvest, views_of_panoramas, contact_sheets], ids=lambda f: f.__name__
)
def test_another_user_of_the_group_can_read_what_is_written(tmp_path: Path, made: Callable[[Path], None]) -> None:
    before = os.umask(0o027)
    try:
        made(tmp_path)
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert modes
    assert {path.name: oct(mode) for path, mode in modes.items() if mode != 0o640} == {}


def test_what_all_these_are_is_still_a_manifest(tmp_path: Path) -> None:
    """None of the shapes above leaves a table that the next command would not read."""
    put(tmp_path / "p", "FR/a.jpg", "NO/b.jpg")
    of_a_store(tmp_path / "p")
    path = write(ingest(str(tmp_path / "p")), tmp_path / "m.parquet")
    assert read(path).frame.select(pl.col("country").sort()).to_series().to_list() == ["FR", "NO"]
    with pytest.raises(UserError, match="not a country: 'Freedonia'"):
        ingest(str(put(tmp_path / "q", "Freedonia/a.jpg", "NO/b.jpg")))
