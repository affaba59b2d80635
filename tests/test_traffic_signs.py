"""The traffic sign set's layout, with and without a table of where its photos were taken."""

import json
from pathlib import Path

import pytest

from curated import photo, save
from whichland.errors import UserError
from whichland.manifest import problems
from whichland.sources.traffic_signs import is_traffic_signs, read_traffic_signs

KEYS = ["0-_aB3kd83jfLq0dZxW1uA", "AAAAAAAAAAAAAAAAAAAAA1", "-startsWithADash0000_-", "zzzzzzzzzzzzzzzzzzzzzz"]


@pytest.fixture(params=["by split", "flat"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two photos to train, one to validate, one to test (which has no annotation)."""
    root = tmp_path / "mtsd"
    parts = {"train": KEYS[:2], "val": KEYS[2:3], "test": KEYS[3:]}
    for split, keys in parts.items():
        (root / "splits").mkdir(parents=True, exist_ok=True)
        (root / "splits" / f"{split}.txt").write_text("".join(f"{key}\n" for key in keys))
        for key in keys:
            at = root / "images" / (split if request.param == "by split" else "")
            save(photo(1, size=(64, 48)), at / f"{key}.jpg")
            if split != "test":
                (root / "annotations").mkdir(exist_ok=True)
                annotation = {"width": 64, "height": 48, "ispano": key == KEYS[1], "objects": []}
                (root / "annotations" / f"{key}.json").write_text(json.dumps(annotation))
    return root


def test_without_a_table_it_says_plainly_that_there_is_no_place(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = read_traffic_signs(folder)
    assert frame["image_id"].to_list() == [f"traffic-signs/{key}" for key in KEYS]
    assert all(Path(uri).is_file() for uri in frame["uri"])
    assert frame["projection"].to_list() == ["perspective", "equirectangular", "perspective", None]
    assert frame.select("lat", "lon", "country", "sequence").null_count().row(0) == (4, 4, 4, 4)
    assert problems(frame) == []
    told = capsys.readouterr().err
    assert "no GPS" in told
    assert "--keys" in told
    assert told.count("\n") == 1


def test_keys_to_coordinates(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "keys.csv"
    lines = f"Key,Latitude,lng\n{KEYS[0]},59.9,10.7\n{KEYS[2]},-33.8,151.2\n{KEYS[3]},,\n,1,2\n,3,4\n"
    table.write_text(lines.replace(",", ";"))
    frame = read_traffic_signs(folder, keys=table)
    assert frame["lat"].to_list() == [59.9, None, -33.8, None]
    assert frame["lon"].to_list() == [10.7, None, 151.2, None]
    assert "2 of 4 photos" in capsys.readouterr().err


def test_keys_to_countries(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "keys.csv"
    table.write_text(f"image_key,country\n{KEYS[0]},Norway\n{KEYS[1]},NA\n{KEYS[2]},Narnia\n")
    with pytest.raises(UserError, match="Narnia"):
        read_traffic_signs(folder, keys=table)
    frame = read_traffic_signs(folder, keys=table, skip_unknown=True)
    assert frame["label_country"].to_list() == ["NO", "NA", None, None]


def test_keys_to_ids_are_kept_for_a_harvest(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "keys.csv"
    table.write_text(f"key,id\n{KEYS[0]},123456789012345\n")
    frame = read_traffic_signs(folder, keys=table)
    assert frame["mapillary_id"].to_list() == ["123456789012345", None, None, None]
    assert "mapillary:ids=" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["../../../../etc/passwd", "AAAAAAAAAAAAAAAAAAAA/1", "123456789012345", "ä" * 22])
def test_what_is_no_key_is_refused(folder: Path, line: str) -> None:
    with (folder / "splits" / "train.txt").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    with pytest.raises(UserError, match=r"train\.txt: line 3: .* is not a key"):
        read_traffic_signs(folder, skip_unknown=True)


def test_listed_photos_that_are_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in folder.rglob(f"{KEYS[0]}.jpg"):
        file.unlink()
    with pytest.raises(UserError, match=f"not in images/: 1 of 4 listed photos, {KEYS[0]}"):
        read_traffic_signs(folder)
    assert read_traffic_signs(folder, skip_unknown=True).height == 3
    assert "left out: 1 listed photo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("key,colour\nx,red\n", "expected the columns"),
        ("key,lat\nx,1\n", "expected the columns"),
        (f"key,lat,lon\n{KEYS[0]},95,10\n", "no latitude"),
        (f"key,lat,lon\n{KEYS[0]},5,\n", "no latitude"),
        (f"key,country\n{KEYS[0]},NO\n{KEYS[0]},SE\n", "more than once"),
    ],
)
def test_a_table_that_cannot_be_used(folder: Path, tmp_path: Path, content: str, why: str) -> None:
    table = tmp_path / "keys.csv"
    table.write_text(content)
    with pytest.raises(UserError, match=why):
        read_traffic_signs(folder, keys=table)


def test_a_broken_annotation_is_named(folder: Path) -> None:
    file = folder / "annotations" / f"{KEYS[0]}.json"
    file.write_text('{"width": 3}')
    with pytest.raises(UserError, match="not an annotation"):
        read_traffic_signs(folder)


def test_the_layout_is_told(folder: Path, tmp_path: Path) -> None:
    assert is_traffic_signs(folder)
    assert not is_traffic_signs(tmp_path)
