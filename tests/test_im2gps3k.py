from pathlib import Path

import pytest

from origins import archive, put
from whichland.errors import UserError
from whichland.images.decode import load
from whichland.sources.ingest import ingest

NAMES = ("1000269685_e60e9cdfb4_1125_78841376@N00.jpg", "104123223_7410c654ba_19_47092103@N00.jpg")
TABLE = "IMG_ID,AUTHOR,LAT,LON,S3_Label,S16_Label,S365_Label,Prob_indoor,Prob_natural,Prob_urban\n"


def table(folder: Path, *names: str, lat: str = "48.85") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{name},78841376@N00,{lat},2.35,2,11,45,0.1,0.2,0.7\n" for name in names)
    (folder / "im2gps3k_places365.csv").write_text(TABLE + rows)
    return f"im2gps3k:{folder}"


def test_photos_are_found_in_folders_and_archives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    origin = table(tmp_path, *NAMES)
    put(tmp_path, f"images/{NAMES[0]}", "images/1_a_1_2@N00.jpg")
    archive(tmp_path / "im2gps3ktest.zip", [f"im2gps3ktest/{NAMES[1]}"])
    frame = ingest(origin).frame
    assert frame["image_id"].to_list() == [f"im2gps3k/{name}" for name in NAMES]
    assert frame["lat"].to_list() == [48.85, 48.85]
    assert frame["creator"].to_list() == ["78841376@N00", "47092103@N00"]
    assert frame["attribution"][1] == "flickr.com/photos/47092103@N00/104123223"
    assert frame["country"].null_count() == 2
    assert [load(uri).shape for uri in frame["uri"]] == [(16, 24, 3)] * 2
    assert "photos without a row, ignored: 1" in capsys.readouterr().err


def test_what_is_not_im2gps3k(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="IMG_ID, LAT, LON must be there; there is none"):
        ingest(f"im2gps3k:{put(tmp_path / 'none', 'a.jpg')}")
    origin = table(tmp_path / "a", *NAMES)
    put(tmp_path / "a", NAMES[0])
    with pytest.raises(UserError, match=rf"not there: 1 of 2 photos, {NAMES[1]} first"):
        ingest(origin)
    assert ingest(origin, skip_unknown=True).frame.height == 1
    put(tmp_path / "a", f"again/{NAMES[0]}")
    with pytest.raises(UserError, match="2 photos share names"):
        ingest(origin, skip_unknown=True)
    with pytest.raises(UserError, match=r"row 1: \(98.85, 2.35\)"):
        ingest(table(tmp_path / "b", NAMES[0], lat="98.85"))
    (tmp_path / "b" / "more.csv").write_text(TABLE)
    with pytest.raises(UserError, match="2 tables have them"):
        ingest(f"im2gps3k:{tmp_path}/b")
