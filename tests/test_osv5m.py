from pathlib import Path

import polars as pl
import pytest

from origins import archive, put
from whichland import manifest
from whichland.errors import UserError
from whichland.images.decode import load
from whichland.sources.ingest import ingest

# The header of the publishers' train.csv.
HEADER = (
    "id,latitude,longitude,thumb_original_url,country,sequence,captured_at,lon_bin,lat_bin,cell,region,sub-region,"
    "city,land_cover,road_index,drive_side,climate,soil,dist_sea,quadtree_10_5000,quadtree_10_25000,"
    "quadtree_10_1000,quadtree_10_50000,quadtree_10_12500,quadtree_10_500,quadtree_10_2500,unique_region,"
    "unique_sub-region,unique_city,unique_country,creator_username,creator_id"
)


def row(id_: int, country: str = "NA", creator: str = "roadroid", when: str = "1495427386932") -> str:
    url = f'"https://example.org/{id_}.jpg?a=1,2"'
    return (
        f'{id_},-22.56,17.08,{url},{country},seq{id_ % 2},{when},8,3,"(8, 3)",Khomas,,Windhoek,4,4.66,1.0,15,3,'
        f"0.0069,1,2,3,4,5,6,,Khomas_{country},,Windhoek_{country},{country},{creator},111336221091714.0"
    )


def osv5m(folder: Path, *rows: str, part: str = "train", zips: dict[str, list[int]] | None = None) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part}.csv").write_text("\n".join([HEADER, *rows, ""]), encoding="utf-8")
    for name, ids in ({"00": [1, 2], "01": [3]} if zips is None else zips).items():
        archive(folder / "images" / part / f"{name}.zip", [f"{name}/{id_}.jpg" for id_ in ids])
    return f"osv5m:{folder}"


def test_zips_are_read_in_place_and_columns_kept(tmp_path: Path) -> None:
    origin = osv5m(tmp_path / "osv", row(1), row(3, "XK", ""), row(2, "FR", when=""))
    osv5m(tmp_path / "osv", row(9, "JP"), part="test", zips={"00": [9]})
    made = ingest(origin)
    frame = made.frame
    assert frame["image_id"].to_list() == ["osv5m/1", "osv5m/3", "osv5m/2", "osv5m/9"]
    assert frame["country"].to_list() == ["NA", "XK", "FR", "JP"]
    assert frame["official_split"].to_list() == ["train", "train", "train", "test"]
    assert [int(load(uri).mean()) for uri in frame["uri"]] == [10, 10, 11, 10]
    assert frame["uri"][1] == f"{tmp_path}/osv/images/train/01.zip#01/3.jpg"
    assert frame["captured_at"].to_list()[:3] == ["2017-05-22T04:29:46.932Z"] * 2 + [None]
    assert frame["attribution"].to_list()[:2] == ["roadroid, Mapillary, CC BY-SA 4.0", "Mapillary, CC BY-SA 4.0"]
    first = frame.row(0, named=True)
    kept = ("sequence", "lat", "lon", "license", "creator", "osv5m_region", "osv5m_sub_region", "osv5m_city")
    assert [first[name] for name in kept] == [
        *("seq1", -22.56, 17.08, "CC-BY-SA-4.0", "roadroid", "Khomas", None, "Windhoek")
    ]
    assert (first["osv5m_drive_side"], first["osv5m_quadtree_10_5000"]) == (1.0, 1)
    assert (first["osv5m_quadtree_10_2500"], first["osv5m_creator_id"]) == (None, "111336221091714")
    assert not [name for name in frame.columns if "unique" in name or "thumb" in name]
    again = manifest.read(manifest.write(made, tmp_path / "m.parquet"))
    assert again.frame.equals(frame)


def test_unpacked_photos_and_a_bare_folder_do_as_well(tmp_path: Path) -> None:
    osv5m(tmp_path, row(1), row(2), zips={})
    put(tmp_path / "images/train", "00/1.jpg", "2.jpg")
    frame = ingest(str(tmp_path)).frame
    assert frame["uri"].to_list() == [f"{tmp_path}/images/train/{name}.jpg" for name in ("00/1", "2")]
    archive(tmp_path / "images/train/00.zip", ["1.jpg"])
    with pytest.raises(UserError, match=r"2 photos share names, .*00/1\.jpg and .*00\.zip#1\.jpg"):
        ingest(str(tmp_path))


def test_rows_without_a_photo_or_country_are_refused(tmp_path: Path) -> None:
    origin = osv5m(tmp_path, row(1), row(2), row(3, "Q9"))
    with pytest.raises(UserError, match="not a country: 'Q9'"):
        ingest(origin)
    osv5m(tmp_path, row(1), row(2), row(7), row(8))
    with pytest.raises(UserError, match=r"not there: 2 of 4 photos, osv5m/7 first.*--skip-unknown"):
        ingest(origin)


def test_flaws_of_rows_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    origin = osv5m(tmp_path, row(1).replace("-22.56", "91"), row(2, when="last spring"), row(3, "Q9"), row(8), row(7))
    frame = ingest(origin, skip_unknown=True).frame
    assert frame.select("image_id", "lat", "lon", "captured_at").rows() == [
        ("osv5m/1", None, None, "2017-05-22T04:29:46.932Z"),
        ("osv5m/2", -22.56, 17.08, None),
    ]
    said = capsys.readouterr().err
    assert "1 row of unknown countries left out" in said
    assert "1 row without coordinates" in said
    assert "1 row with a time of capture that is not understood" in said
    assert "left out for a photo that is not there: 2 of 4 rows" in said


def test_a_zip_that_was_cut_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    origin = osv5m(tmp_path, row(1), row(2), row(3))
    broken = tmp_path / "images/train/00.zip"
    broken.write_bytes(broken.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"00\.zip: not a readable zip archive.*fetch it again"):
        ingest(origin)
    assert ingest(origin, skip_unknown=True).frame["image_id"].to_list() == ["osv5m/3"]
    assert "its photos are left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("break_", "says"),
    [
        (lambda folder: (folder / "train.csv").unlink(), "neither train.csv nor test.csv"),
        (lambda folder: (folder / "train.csv").write_text("id,lat\n1,2\n"), "no column latitude"),
        (lambda folder: (folder / "train.csv").write_text(""), "not a readable table"),
        (lambda folder: (folder / "images").rename(folder / "pictures"), "no such folder; the zips of train.csv"),
    ],
)
def test_folders_that_are_not_osv5m(tmp_path: Path, break_: object, says: str) -> None:
    origin = osv5m(tmp_path, row(1), zips={"00": [1]})
    break_(tmp_path)  # type: ignore[operator]
    with pytest.raises(UserError, match=says) as raised:
        ingest(origin)
    assert "\n" not in str(raised.value)


def test_macos_shadows_in_archives_are_no_photos(tmp_path: Path) -> None:
    origin = osv5m(tmp_path, row(1), zips={})
    archive(tmp_path / "images/train/00.zip", ["1.jpg", "__MACOSX/._1.jpg", "readme.txt"])
    frame = ingest(origin).frame
    assert frame["uri"].str.ends_with("00.zip#1.jpg").all()
    assert frame.schema["osv5m_land_cover"] == pl.Float32
