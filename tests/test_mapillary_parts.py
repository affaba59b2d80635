"""The harvester's parts by themselves: tokens, photos, fields, places."""

import json
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image

from curated import photo as picture
from whichland.errors import UserError
from whichland.images.decode import ImageError, decode
from whichland.sources.mapillary import places
from whichland.sources.mapillary.client import check_address, check_token
from whichland.sources.mapillary.harvest import photo_path
from whichland.sources.mapillary.journal import FILE, Journal
from whichland.sources.mapillary.records import to_frame, to_record, verified, without_metadata


@pytest.mark.parametrize("token", ["", " ", "two words", "line\nbreak", "ünicode"])
def test_what_cannot_be_a_token_is_not_repeated(token: str) -> None:
    with pytest.raises(UserError, match="MAPILLARY_TOKEN") as caught:
        check_token(token)
    assert not token.strip() or token not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        *("http://example.org", "ftp://x", "https://me:pw@example.org", "graph", "file:///x"),
        *("https://[bad", "https://example.org:port"),
    ],
)
def test_the_token_goes_out_by_https_alone(address: str) -> None:
    with pytest.raises(UserError, match="https://"):
        check_address(address)
    assert check_address("https://example.org/v4/") == "https://example.org/v4"


def test_a_photo_is_stored_without_exif_and_with_the_same_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "the owner's camera", 6
    file = tmp_path / "a.jpg"
    picture(3).save(file, exif=exif, comment=b"my garden", icc_profile=b"icc" * 50, progressive=True)
    data = file.read_bytes() + b"trailing secret"
    stored = verified(data)
    assert not any(word in stored for word in (b"owner", b"garden", b"secret"))
    assert b"icc" * 50 in stored
    assert decode(stored).shape == (320, 240, 3), "still turned"
    np.testing.assert_array_equal(decode(stored), decode(data))
    assert verified(stored) == stored


@pytest.mark.parametrize("cut", [1, 2, 3, 100, 5000])
def test_a_photo_cut_short_by_even_a_byte_is_refused(tmp_path: Path, cut: int) -> None:
    picture(4).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    assert without_metadata(whole)
    with pytest.raises(ImageError):
        verified(whole[:-cut])


@pytest.mark.parametrize("data", [b"", b"<html>", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xe0\xff"])
def test_what_is_no_photo_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        verified(data)


@pytest.mark.parametrize(
    "image",
    [
        {},
        {"id": "../../etc"},
        {"id": "1", "geometry": None, "computed_geometry": {"coordinates": None}, "creator": None},
        {"id": "1", "geometry": {"coordinates": []}, "creator": "x", "captured_at": "soon", "sequence": 5},
        {"id": "1", "geometry": {"coordinates": [200, 95]}, "captured_at": 10**18, "compass_angle": None},
        {"id": 1, "geometry": {"coordinates": ["10", "59"]}, "camera_type": "fisheye", "is_pano": False},
        json.loads('{"id": "1", "captured_at": 1e999, "compass_angle": -1e999, "width": NaN, "height": 1e999}'),
        {"id": "1" * 300},
    ],
)
def test_missing_and_odd_fields_become_null(image: dict[str, Any]) -> None:
    record = to_record(image, "thumb_1024_url")
    if record is None:
        assert len(str(image.get("id", ""))) > 20 or not str(image.get("id", "")).isdecimal()
        return
    row = to_frame([json.dumps(record)], ["/a.jpg"]).row(0, named=True)
    assert row["image_id"] == "mapillary/1"
    empty = ("lat", "lon", "captured_at", "creator", "heading", "projection", "sequence")
    assert [row[name] for name in empty] == [None] * len(empty)


@pytest.mark.parametrize(
    "origin",
    [
        *("mapillary:", "mapillary:bbox", "mapillary:bbox=1,2,3", "mapillary:bbox=1,5,2,4", "mapillary:bbox=a,b,c,d"),
        *("mapillary:bbox=0,0,1,95", "mapillary:town=Oslo", "mapillary:country=Narnia,quota=3", "mapillary:country=NO"),
        *("mapillary:country=NO,quota=0", "mapillary:polygon=nowhere.json", "mapillary:ids="),
    ],
)
def test_origins_that_are_none(origin: str) -> None:
    with pytest.raises(UserError):
        _areas(origin)


def _areas(origin: str) -> list[places.Area]:
    place = places.parse(origin)
    return places.areas(place, quota=place.quota, seed=0)


def test_boxes_cover_the_area_and_are_small_enough_to_be_asked_for() -> None:
    boxes = list(_areas("mapillary:bbox=10,59,10.5,59.2")[0].boxes())
    assert sum((e - w) * (n - s) for w, s, e, n in boxes) == pytest.approx(0.5 * 0.2, abs=1e-5)
    over_the_date_line = _areas("mapillary:bbox=178.95,-17,-179.9,-16.8")[0]
    tiles = shapely.union_all([shapely.box(*box) for box in over_the_date_line.boxes()])
    assert tiles.covers(over_the_date_line.shape)
    assert tiles.area < 1.2 * over_the_date_line.shape.area
    assert all((e - w) * (n - s) < 0.01 for w, s, e, n in (*boxes, *over_the_date_line.boxes()))


def test_the_quarters_of_a_box_have_its_edges() -> None:
    lower_left, lower_right, _, upper_right = places.quarters((10.0, 59.0, 10.0900001, 59.09))
    assert (lower_left[:2], upper_right[2:]) == ((10.0, 59.0), (10.0900001, 59.09))
    assert lower_left[2] == lower_right[0]
    assert places.quarters((10.0, 59.0, 10.0004, 59.0004)) == []


def test_old_keys_in_a_list_of_ids_are_explained(tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("0-_aB3kd83jfLq0dZxW1uA\n")
    with pytest.raises(UserError, match="22-character keys"):
        places.read_ids(tmp_path / "ids")


def test_photos_lie_in_a_hundred_folders(tmp_path: Path) -> None:
    assert photo_path(tmp_path, "123456789") == tmp_path / "89" / "123456789.jpg"
    assert photo_path(tmp_path, "7") == tmp_path / "07" / "7.jpg"


def test_half_a_surrogate_pair_is_replaced() -> None:
    record = to_record(json.loads('{"id": "1", "sequence": "a\\ud800", "creator": {"username": "\\udfff"}}'), "url")
    assert record is not None
    row = to_frame([json.dumps(record)], ["/a.jpg"]).row(0, named=True)
    assert (row["sequence"], row["creator"]) == ("a?", "?")


def test_a_long_run_of_fill_bytes_takes_no_time() -> None:
    start = time.monotonic()
    with pytest.raises(ImageError, match="end marker"):
        without_metadata(b"\xff\xd8\xff\xda\x00\x02" + b"\xff" * 200_000 + b"\x00")
    assert time.monotonic() - start < 2  # with time as the square of the run, five minutes


def test_fill_bytes_before_a_marker_are_dropped(tmp_path: Path) -> None:
    picture(4).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    assert without_metadata(whole[:-2] + b"\xff" * 5 + whole[-2:]) == without_metadata(whole)


def polygon(*ring: tuple[float, float]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def test_polygons_that_cross_themselves_and_features_of_no_place(tmp_path: Path) -> None:
    crossed = polygon((0, 0), (1, 1), (1, 0), (0, 1)), polygon((0.1, 0), (1.1, 1.3), (1, 0.2), (0, 1))
    nowhere = {"type": "Feature", "geometry": None, "properties": {}}
    features = [{"type": "Feature", "geometry": shape} for shape in crossed]
    file = tmp_path / "area.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [nowhere, *features]}))
    (area,) = _areas(f"mapillary:polygon={file}")
    inside = area.contains(np.array([0.9, 0.5, 5.0]), np.array([0.5, 0.1, 5.0]))
    assert inside.tolist() == [True, False, False]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(polygon((10, 59), (11, 59), (10.5, 59))),  # a line
        "[" * 100_000,
        '{"type": "Feature", "geometry": null}',
    ],
)
def test_files_of_no_surface(tmp_path: Path, content: str) -> None:
    (tmp_path / "area.geojson").write_text(content)
    with pytest.raises(UserError, match=r"area\.geojson"):
        _areas(f"mapillary:polygon={tmp_path / 'area.geojson'},quota=5")


def test_a_sequence_named_twice_is_one() -> None:
    assert places.parse("mapillary:sequence=a,b,a").values == ("a", "b")
    assert places.parse("mapillary:bbox=1,1,2,2").values == ("1", "1", "2", "2")


def test_a_transaction_that_cannot_begin_does_not_hold_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.close()
    with pytest.raises(sqlite3.ProgrammingError):
        journal.spend("api", 10, 0.0)
    closing = threading.Thread(target=journal.close, daemon=True)
    closing.start()
    closing.join(5)
    assert not closing.is_alive()


def test_a_transaction_that_cannot_end_is_undone(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal._db.execute("PRAGMA foreign_keys=ON")
    journal._db.execute("CREATE TABLE a (x PRIMARY KEY)")
    journal._db.execute("CREATE TABLE b (x REFERENCES a DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(sqlite3.IntegrityError), journal._transaction():  # COMMIT is what fails
        journal._db.execute("INSERT INTO b VALUES (1)")
    journal.spend("api", 10, 0.0)
    assert journal.count("requests") == {"api": 1}
    journal.close()


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "taken" / FILE).mkdir(parents=True)
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "taken"):
        with pytest.raises(UserError, match="another --folder"):
            Journal(folder)


@pytest.mark.parametrize(
    "ring",
    [
        [[177, -19], [-178, -19], [-178, -16], [177, -16], [177, -19]],
        [[177, -19], [182, -19], [182, -16], [177, -16], [177, -19]],
        [[-183, -19], [-178, -19], [-178, -16], [-183, -16], [-183, -19]],
        [[-178, -16], [177, -16], [177, -19], [-178, -19], [-178, -16]],
    ],
)
def test_a_polygon_over_the_antimeridian_is_the_narrow_one(tmp_path: Path, ring: list[list[float]]) -> None:
    """Around Fiji, 177° E to 178° W."""
    (tmp_path / "fiji.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    (area,) = places.areas(places.parse(f"mapillary:polygon={tmp_path}/fiji.geojson"), quota=None, seed=0)
    inside = area.contains(np.array([178.0, 179.9, -179.0, 0.0, 176.0, -177.0]), np.full(6, -17.5))
    assert inside.tolist() == [True, True, True, False, False, False]
    assert shapely.area(area.shape) == pytest.approx(15.0)
    assert {round(west) >= 177 or round(east) <= -178 for west, _, east, _ in area.boxes()} == {True}


def test_a_polygon_of_the_whole_world_stays_one(tmp_path: Path) -> None:
    ring = [[-180, -60], [180, -60], [180, 70], [-180, 70], [-180, -60]]
    hole = [[20, 0], [20, 10], [30, 10], [30, 0], [20, 0]]
    (tmp_path / "world.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring, hole]}))
    (area,) = places.areas(places.parse(f"mapillary:polygon={tmp_path}/world.geojson"), quota=10, seed=0)
    assert shapely.area(area.shape) == pytest.approx(360 * 130 - 100)
    assert area.contains(np.array([0.0, 25.0]), np.array([0.0, 5.0])).tolist() == [True, False]
