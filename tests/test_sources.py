import json
import os
from importlib import import_module
from inspect import signature
from pathlib import Path
from unicodedata import normalize

import polars as pl
import pytest

from origins import archive, jpeg, put
from whichland import manifest
from whichland.errors import UserError
from whichland.images.decode import load
from whichland.sources.columns import ROLES
from whichland.sources.files import find_photos
from whichland.sources.ingest import KINDS, ingest
from whichland.sources.sequences import sequences

SHARED = Path(__file__).parent.parent.parent / "shared/data"


def shard(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    small = {"country_iso_alpha2": "NA", "latitude": "-22.5", "longitude": "17.1", "address": ""}
    image = {"image": {"bytes": jpeg(), "path": f"{path.stem}.jpg"}}
    pl.DataFrame([image | small | row for row in rows]).write_parquet(path)
    return path


# --- folders by country ------------------------------------------------------------------------------------


def test_folder_by_country(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "My Photos", "NA/a.jpg", "germany/x/b.PNG", "Côte d'Ivoire/c.jpeg", "US/.hidden.jpg", "NA/a.txt")
    made = ingest(str(tmp_path / "My Photos"))
    frame = made.frame
    assert dict(frame.select("image_id", "country").iter_rows()) == {
        "my-photos/Côte d'Ivoire/c.jpeg": "CI",
        "my-photos/NA/a.jpg": "NA",
        "my-photos/germany/x/b.PNG": "DE",
    }
    assert frame["label_country"].to_list() == frame["country"].to_list()
    assert frame["sequence"].null_count() == 3
    assert load(frame["uri"][0]).shape == (16, 24, 3)
    assert "2 files are not images" in capsys.readouterr().err
    step = made.history[0]
    assert (step.step, step.rows, step.params["kind"]) == ("ingest", 3, "folder")


def test_manifest_of_namibia_survives_the_file(tmp_path: Path) -> None:
    put(tmp_path / "photos", "NA/a.jpg", "na/b.jpg", "Namibia/c.jpg")
    path = manifest.write(ingest(str(tmp_path / "photos")), tmp_path / "m.parquet")
    again = manifest.read(path)
    assert again.frame["country"].to_list() == ["NA"] * 3
    assert again.history[0].params["source"] == "photos"


def test_unknown_folders_are_named_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "p", "Germny/a.jpg", "Qwxyz/b.jpg", "FR/c.jpg")
    with pytest.raises(UserError) as raised:
        ingest(str(tmp_path / "p"))
    assert "'Germny' (did you mean Germany" in str(raised.value)
    assert "'Qwxyz'" in str(raised.value)
    assert "--skip-unknown" in str(raised.value)
    assert "\n" not in str(raised.value)
    frame = ingest(str(tmp_path / "p"), skip_unknown=True).frame
    assert frame["country"].to_list() == ["FR"]
    assert "2 photos left out" in capsys.readouterr().err


def test_what_systems_put_beside_photos_is_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "FR/a.jpg", "FR/@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "FR/#recycle/b.jpg", "$RECYCLE.BIN/S-1/c.jpg")
    put(tmp_path, "__MACOSX/FR/._a.jpg", "System Volume Information/d.jpg", "FR/.thumbnails/e.jpg")
    os.mkfifo(tmp_path / "FR" / "pipe.jpg")
    (tmp_path / "FR" / "gone.jpg").symlink_to("/nowhere.jpg")
    assert [Path(uri).name for uri in ingest(str(tmp_path)).frame["uri"]] == ["a.jpg"]
    assert "8 files are not images" in capsys.readouterr().err


def test_a_link_leads_to_photos_that_keep_their_own_country(tmp_path: Path) -> None:
    put(tmp_path, "NO/a.jpg", "CH/b.jpg")
    (tmp_path / "CH" / "more").symlink_to(tmp_path / "NO")
    assert ingest(str(tmp_path)).frame.select("country").to_series().to_list() == ["CH", "NO"]


@pytest.mark.parametrize(
    ("photos", "countries"),
    [
        (("archive/set/FR/a.jpg", "archive/set/NO/b.jpg"), ["FR", "NO"]),
        (("train/FR/a.jpg",), ["FR"]),
        (("train/FR/a.jpg", "val/NO/b.jpg", "annotations/x/c.jpg"), ["FR", "NO"]),
        (("training_set/training_set/FR/a.jpg", "test_set/test_set/NO/b.jpg"), ["FR", "NO"]),
        (("archive/train/FR/a.jpg", "archive/test/NO/b.jpg"), ["FR", "NO"]),
        (("FR/a.jpg",), ["FR"]),
    ],
)
def test_folders_as_archives_unpack_to(tmp_path: Path, photos: tuple[str, ...], countries: list[str]) -> None:
    put(tmp_path, *photos)
    assert sorted(ingest(str(tmp_path)).frame["country"]) == countries


def test_a_table_beside_photos_does_not_change_how_they_are_read(tmp_path: Path) -> None:
    put(tmp_path, "FR/a.jpg", "NO/b.jpg")
    for path in (tmp_path / "manifest.parquet", tmp_path / "data" / "t.parquet"):
        path.parent.mkdir(exist_ok=True)
        made = ingest(str(tmp_path))
        manifest.write(made, path)
        assert ingest(str(tmp_path)).frame.equals(made.frame)
    shard(tmp_path / "s.parquet", [{}])
    with pytest.raises(UserError, match="both photos and shards"):
        ingest(str(tmp_path))


def test_json_beside_photos_places_them(tmp_path: Path) -> None:
    names = ("IMG_1.JPG", "IMG_1(1).JPG", "IMG_2.JPG", "plain.jpg")
    put(tmp_path / "takeout" / "Photos from 2021", *names)
    for name, file in zip(
        names,
        ("IMG_1.JPG.supplemental-metadata", "IMG_1.JPG.supplemental-metadata(1)", "IMG_2.JPG.suppl"),
        strict=False,
    ):
        place = {"latitude": 0.0 if "2" in name else 48.85, "longitude": 0.0 if "2" in name else 2.35}
        content = {"title": name.replace("(1)", ""), "photoTakenTime": {"timestamp": "1622376000"}, "geoData": place}
        (tmp_path / "takeout" / "Photos from 2021" / f"{file}.json").write_text(json.dumps(content))
    frame = ingest(str(tmp_path / "takeout")).frame
    by_name = {Path(uri).name: row for uri, *row in frame.select("uri", "lat", "captured_at").rows()}
    assert by_name["IMG_1.JPG"] == by_name["IMG_1(1).JPG"] == [48.85, "2021-05-30T12:00:00Z"]
    assert by_name["IMG_2.JPG"] == [None, "2021-05-30T12:00:00Z"]
    assert by_name["plain.jpg"] == [None, None]
    fixed = {
        "MAPLatitude": 48.8,
        "MAPLongitude": 2.3,
        "MAPSequenceUUID": "a1",
        "MAPCompassHeading": {"TrueHeading": 370},
    }
    described = [{"filename": f"{n}.jpg", "MAPCaptureTime": f"2021_05_30_12_00_0{n}_500", **fixed} for n in range(2)]
    put(tmp_path / "drive", "0.jpg", "1.jpg")
    (tmp_path / "drive" / "mapillary_image_description.json").write_text(json.dumps(described))
    frame = ingest(str(tmp_path / "drive")).frame
    assert frame.select("lat", "lon", "heading", "captured_at", "sequence").rows() == [
        (48.8, 2.3, 10.0, f"2021-05-30T12:00:0{n}.500Z", "drive/a1") for n in range(2)
    ]


def test_names_that_are_not_unicode_may_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "FR/a.jpg")
    (tmp_path / "FR" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(jpeg())
    assert ingest(str(tmp_path), skip_unknown=True).frame.height == 1
    assert "left out for a name that is not UTF-8: 1 photo" in capsys.readouterr().err


def test_words_that_look_like_codes_count_among_codes_alone(tmp_path: Path) -> None:
    put(tmp_path / "names", "France/a.jpg", "Norway/b.jpg", "DJI/c.jpg", "my/d.jpg")
    with pytest.raises(UserError, match=r"'DJI' \(did you mean Djibouti\?\); 'my' \(did you mean Malaysia\?\)"):
        ingest(str(tmp_path / "names"))
    assert ingest(str(tmp_path / "names"), skip_unknown=True).frame["country"].to_list() == ["FR", "NO"]
    put(tmp_path / "codes", "FRA/a.jpg", "CAN/b.jpg", "NOR/c.jpg")
    assert ingest(str(tmp_path / "codes")).frame["country"].to_list() == ["CA", "FR", "NO"]


def test_flat_folder_has_no_countries_and_may_not_be_mixed(tmp_path: Path) -> None:
    put(tmp_path / "flat", "a.jpg", "b.jpg")
    assert ingest(str(tmp_path / "flat")).frame["country"].to_list() == [None, None]
    put(tmp_path / "mixed", "a.jpg", "FR/b.jpg")
    with pytest.raises(UserError, match="1 photo beside"):
        ingest(str(tmp_path / "mixed"))
    assert ingest(str(tmp_path / "mixed"), skip_unknown=True).frame.height == 1


def test_links_are_followed_once(tmp_path: Path) -> None:
    put(tmp_path / "real", "a.jpg")
    put(tmp_path / "p", "FR/b.jpg")
    (tmp_path / "p" / "NO").symlink_to(tmp_path / "real")
    (tmp_path / "p" / "FR" / "loop").symlink_to(tmp_path / "p")
    assert ingest(str(tmp_path / "p")).frame["country"].to_list() == ["FR", "NO"]


@pytest.mark.parametrize(
    ("names", "says"), [((), "no photos"), (("FR/a.txt",), "no photos"), (("Xyzzyq/a.jpg",), "not a country")]
)
def test_nothing_to_ingest(tmp_path: Path, names: tuple[str, ...], says: str) -> None:
    put(tmp_path, *names)
    with pytest.raises(UserError, match=says):
        ingest(str(tmp_path))
    if "Xyzzyq/a.jpg" in names:
        with pytest.raises(UserError, match="nothing is left"):
            ingest(str(tmp_path), skip_unknown=True)


def test_sessions_join_a_countrys_close_stamps() -> None:
    def named(*photos: tuple[int | None, str]) -> list[str | None]:
        return sequences([(f"c/canvas_{stamp}.jpg", country) for stamp, country in photos], "s")

    t = 1_629_177_406
    one, other, chained, abroad, late = named(
        (t, "FR"), (t + 59, "FR"), (t + 118, "FR"), (t + 1, "DE"), (t + 178, "FR")
    )
    assert one == other == chained == f"s/FR/session-{t}"
    assert abroad == f"s/DE/session-{t + 1}"
    assert late == f"s/FR/session-{t + 178}"
    assert named((None, "FR")) == [None]
    assert sequences([("FR/IMG_20210101.jpg", "FR"), ("FR/5550001111.jpg", "FR")], "s") == [None, None]


def test_file_names_that_no_table_can_hold_are_named(tmp_path: Path) -> None:
    put(tmp_path, "FR/a.jpg")
    (tmp_path / "FR" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(jpeg())
    with pytest.raises(UserError, match="not UTF-8"):
        ingest(str(tmp_path))


# --- shards ------------------------------------------------------------------------------------------------


def test_shards_are_read_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, object]] = [
        {"image": {"bytes": jpeg(10), "path": "panoA.jpg"}},
        {"image": {"bytes": jpeg(50), "path": "panoB.jpg"}, "latitude": "n/a", "country_iso_alpha2": "FR"},
        {"image": {"bytes": jpeg(90), "path": "panoA.jpg"}, "latitude": "91"},
        {"image": {"bytes": jpeg(130), "path": None}, "latitude": None, "longitude": None},
    ]
    path = shard(tmp_path / "hub/data/train-00000-of-00001-abc123.parquet", rows)
    frame = ingest(str(tmp_path / "hub")).frame
    assert frame["image_id"].to_list() == [*("hub/panoA", "hub/panoB", "hub/panoA~2"), f"hub/{path.name}#3"]
    assert frame["sequence"].to_list() == ["panoA", "panoB", "panoA", None]
    assert frame["country"].to_list() == ["NA", "FR", "NA", "NA"]
    assert frame["lat"].to_list() == [-22.5, None, None, None]
    assert frame["lon"].null_count() == 3
    assert "2 rows with text that is not a pair of coordinates" in capsys.readouterr().err
    assert [round(float(load(uri).mean()), -1) for uri in frame["uri"]] == [10, 50, 90, 130]
    assert frame["uri"][1] == f"{path}#1"


def test_numbers_of_files_are_no_panoramas_and_labels_have_names(tmp_path: Path) -> None:
    countries = ["Brazil", "France", "Japan"]
    rows = [
        {"image": {"bytes": jpeg(), "path": f"{k:04d}.jpg"}, "label": number} for number in range(3) for k in range(4)
    ]
    features = {"label": {"names": countries, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    path = tmp_path / "data" / "train-00000-of-00001.parquet"
    path.parent.mkdir()
    pl.DataFrame(rows).write_parquet(path, metadata=metadata)
    frame = ingest(str(tmp_path)).frame
    assert frame["country"].to_list() == ["BR"] * 4 + ["FR"] * 4 + ["JP"] * 4
    assert frame["sequence"].null_count() == 12
    assert frame["image_id"].n_unique() == 12


def test_nested_and_binary_columns_are_passed_over(tmp_path: Path) -> None:
    shard(tmp_path / "s.parquet", [{"jpg": jpeg(), "sequence": [1, 2], "source": {"a": 1}}])
    manifest_ = ingest(str(tmp_path / "s.parquet"))
    assert manifest_.frame.select("country", "sequence").row(0) == ("NA", "s")


def test_two_sets_of_shards_are_refused(tmp_path: Path) -> None:
    for name in ("train-00000-of-00005-aa", "train-00001-of-00005-ab", "train-00000-of-00006-ba"):
        shard(tmp_path / "data" / f"{name}.parquet", [{"image": {"bytes": jpeg(), "path": f"{name}.jpg"}}])
    for origin in (f"parquet:{tmp_path}", str(tmp_path), f"{tmp_path}/data/train-*.parquet"):
        with pytest.raises(UserError, match=r"train-\*-of-00005.* and train-\*-of-00006") as raised:
            ingest(origin)
        assert "choose one with 'parquet:" in str(raised.value)
    chosen = str(raised.value).partition("'")[2].rstrip("'")
    assert ingest(chosen).frame["image_id"].str.contains("of-00006").all()
    assert ingest(f"parquet:{tmp_path}/data/train-*-of-00005*.parquet").frame.height == 2


def test_one_shard_twice_is_refused(tmp_path: Path) -> None:
    for hash_ in ("aa", "bb"):
        shard(tmp_path / f"train-00000-of-00002-{hash_}.parquet", [{}])
    with pytest.raises(UserError, match="twice"):
        ingest(f"parquet:{tmp_path}")


def test_missing_shards_and_unknown_codes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shard(tmp_path / "train-00000-of-00006.parquet", [{}, {"country_iso_alpha2": "Q9"}])
    with pytest.raises(UserError, match="'Q9'"):
        ingest(str(path))
    assert ingest(str(path), skip_unknown=True).frame["country"].to_list() == ["NA"]
    said = capsys.readouterr().err
    assert "1 of 6 shards" in said
    assert "1 row of unknown countries left out" in said


def test_what_is_no_shard(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="no embedded images"):
        ingest(f"parquet:{tmp_path}/t.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    for origin in (f"parquet:{tmp_path}/broken.parquet", f"{tmp_path}/broken.parquet"):
        with pytest.raises(UserError, match="not a readable Parquet"):
            ingest(origin)
    with pytest.raises(UserError, match="no Parquet files"):
        ingest(f"parquet:{tmp_path}/none*.parquet")
    with pytest.raises(UserError, match="not a glob"):
        ingest(f"parquet:{tmp_path}/**none.parquet")
    with pytest.raises(UserError, match="no column of paths"):
        ingest(f"table:{shard(tmp_path / 's.parquet', [{}])}")


# --- tables ------------------------------------------------------------------------------------------------


def table(folder: Path, text: str, name: str = "mine.csv") -> str:
    put(folder, "a.jpg", "sub/b.jpg", "c.jpg")
    (folder / name).write_text(text)
    return str(folder / name)


def test_table_of_countries_keeps_namibia_and_text(tmp_path: Path) -> None:
    text = "Image Path,Country,ID,Licence,captured at\na.jpg,NA,007,CC0,1495427386932\nsub/b.jpg,Namibia,008,,\n"
    text += "c.jpg,UK,009,,2020-09-18 07:19:10+02:00\n"
    frame = ingest(table(tmp_path, text)).frame
    assert frame["image_id"].to_list() == ["mine/007", "mine/008", "mine/009"]
    assert frame["country"].to_list() == ["NA", "NA", "GB"]
    assert frame["license"].to_list() == ["CC0", None, None]
    assert frame["captured_at"].to_list() == ["2017-05-22T04:29:46.932Z", None, "2020-09-18T05:19:10Z"]
    assert frame["uri"][1] == str(tmp_path / "sub/b.jpg")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_table_of_coordinates(tmp_path: Path, separator: str) -> None:
    text = "filename,Latitude,lng,sequence_id\na.jpg,-22.5,17.1,s1\nc.jpg,,,s1\n".replace(",", separator)
    frame = ingest(table(tmp_path, text), source="walk").frame
    assert frame["lat"].to_list() == [-22.5, None]
    assert frame["lon"].to_list() == [17.1, None]
    assert frame["sequence"].to_list() == ["s1", "s1"]
    assert frame["country"].to_list() == [None, None]
    assert frame["image_id"].to_list() == ["walk/a.jpg", "walk/c.jpg"]


def test_table_as_parquet_points_into_shards_and_archives(tmp_path: Path) -> None:
    shard(tmp_path / "s.parquet", [{}])
    path = tmp_path / "t.parquet"
    pl.DataFrame({"uri": ["s.parquet#0"], "lat": [1.5], "lon": [2], "id": [7]}).write_parquet(path)
    for origin in (str(path), f"table:{path}"):
        frame = ingest(origin).frame
        assert frame["image_id"].to_list() == ["t/7"]
        assert load(frame["uri"][0]).shape == (16, 24, 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,country\na.jpg,FR\nnone.jpg,FR\nnil.jpg,FR\n", "not there: 2 of 3 files, row 2 first: none.jpg"),
        ("path,country\na.jpg,Germny\n", r"'Germny' \(did you mean Germany"),
        ("path,lat,lon\na.jpg,1,2\nc.jpg,91,2\n", r"row 2: \(91, 2\)"),
        ("path,lat,lon\na.jpg,1,x\n", r"row 1: \(1, x\)"),
        ("path,lat,lon\na.jpg,nan,2\n", "row 1"),
        ("path,lat,lon\na.jpg,1,\n", "row 1"),
        ("path,lat\na.jpg,1\n", "must stand together"),
        ("picture,country\na.jpg,FR\n", "no column of paths"),
        ("path,country\n,FR\n", "row 1: the path is empty"),
        ("path,country\n", "no rows"),
        ("path,country\na.jpg,FR\na.jpg,DE\n", "1 photo with several countries"),
        ("path,country\na.jpg,FR,x,y\n", "not a readable table"),
        (f"path,country\n{'a' * 5000},FR\n", "not there: 1 of 1 file"),
        ("", "not a readable table"),
    ],
)
def test_tables_that_cannot_be_read_as_they_are(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as raised:
        ingest(table(tmp_path, text))
    assert "\n" not in str(raised.value)


def test_what_a_table_leaves_out_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "path,country\na.jpg,FR\na.jpg,FR\nnone.jpg,FR\nc.jpg,Atlantis\n"
    frame = ingest(table(tmp_path, text), skip_unknown=True).frame
    assert frame["country"].to_list() == ["FR"]
    said = capsys.readouterr().err
    assert "left out: 1 row like another" in said
    assert "left out for a file that is not there: 1 row" in said
    assert "1 row of unknown countries left out" in said


def test_names_in_archives_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = archive(put(tmp_path, "a.jpg") / "b.zip", ["é.jpg"])
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xfe"))
    with pytest.raises(UserError, match="not a readable zip"):
        find_photos(tmp_path)
    assert find_photos(tmp_path, skip_broken=True)["name"].to_list() == ["a.jpg"]
    assert "its photos are left out" in capsys.readouterr().err


def test_folders_may_have_brackets(tmp_path: Path) -> None:
    """To Polars they are a glob, unless it is told otherwise."""
    folder = tmp_path / "photos [a]"
    lines = "path,country,lat,lon\na.jpg,FR,1,2\n"
    pl.DataFrame({"path": ["a.jpg"]}).write_parquet(Path(table(folder, lines)).parent / "t.parquet")
    for origin in (f"{folder}/mine.csv", f"{folder}/t.parquet", f"points:{folder}/mine.csv"):
        assert ingest(origin).frame.height == 1
    shard(folder / "s" / "s.parquet", [{}])
    for origin in (f"{folder}/s", f"{folder}/s/s.parquet"):
        made = ingest(origin)
        assert load(made.frame["uri"][0]).shape == (16, 24, 3)
    assert manifest.read(manifest.write(made, folder / "m [1].parquet")).frame.equals(made.frame)


def test_a_manifest_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    made = ingest(str(put(tmp_path, "FR/a.jpg")))
    with pytest.raises(UserError, match=r"a\.jpg/m\.parquet: cannot be written"):
        manifest.write(made, tmp_path / "FR" / "a.jpg" / "m.parquet")


CELL = "path;country;lat;lon\n" + "a.jpg;Côte d'Ivoire;5.35;-4.01\n" + "c.jpg;Côte d'Ivoire;5.35;-4.01\n"


@pytest.mark.parametrize(
    "data",
    [
        *(CELL.encode(encoding) for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252")),
        *(CELL.replace("\n", end).encode() for end in ("\r\n", "\r", "\n\n")),
        *((above + CELL).encode() for above in ("sep=;\n", "# made in 2024\n", "\n#\n")),
        *(CELL.replace(";", sign).encode() for sign in ("\t", "|", ",")),
        CELL.replace("lat;lon", "decimalLatitude;decimalLongitude").encode(),
        CELL.replace("lat;lon", "Latitude (deg);Longitude (deg)").encode(),
        CELL.replace("lat;lon", "exif_gps_lat;exif_gps_lng").encode(),
        CELL.replace("lat;lon", "LATITUD;LONGITUD").encode(),
        CELL.replace("5.35;-4.01", "5,35;-4,01").encode(),
        CELL.replace("5.35;-4.01", "5°21'N;4°00'36\"W").encode(),
        CELL.replace("5.35;-4.01", "N 5 21 00;W 4 00 36").encode(),
        CELL.replace("5.35;-4.01", "5.35;−4.01").encode(),
        CELL.replace("lat;lon", "gps").replace("5.35;-4.01", "5.35, -4.01").encode(),
        CELL.replace("lat;lon", "wkt").replace("5.35;-4.01", "POINT(-4.01 5.35)").encode(),
        CELL.replace("lat;lon", "coordinates").replace("5.35;-4.01", "5°21'N 4°00'36\"W").encode(),
    ],
)
def test_tables_as_others_write_them(tmp_path: Path, data: bytes) -> None:
    put(tmp_path, "a.jpg", "c.jpg")
    (tmp_path / "t.csv").write_bytes(data)
    frame = ingest(f"table:{tmp_path}/t.csv").frame
    assert frame["country"].to_list() == ["CI", "CI"]
    assert frame["lat"].to_list() == pytest.approx([5.35] * 2)
    assert frame["lon"].to_list() == pytest.approx([-4.01] * 2)


def test_records_of_json_are_a_table(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "c.jpg")
    lines = '{"file_name": "a.jpg", "gps": {"lat": 1.5, "lng": 2}}\n{"file_name": "c.jpg", "gps": null}\n'
    (tmp_path / "metadata.jsonl").write_text(lines)
    frame = ingest(str(tmp_path)).frame
    assert frame.select("image_id", "lat", "lon").rows() == [
        (f"{tmp_path.name}/a.jpg".replace("_", "_"), 1.5, 2.0),
        (f"{tmp_path.name}/c.jpg", None, None),
    ]
    (tmp_path / "list.json").write_text('[{"path": "a.jpg", "country": "NA"}]')
    assert ingest(f"table:{tmp_path}/list.json").frame["country"].to_list() == ["NA"]


@pytest.mark.parametrize("word", ["", "nan", "NULL", "None", "\\N", "-", "N/A", "<NA>", "#N/A", "NaN", " null ", "NA"])
def test_words_for_what_is_missing_tie_nothing_and_place_nothing(tmp_path: Path, word: str) -> None:
    country = "" if word == "NA" else word
    text = f"path,country,lat,lon,sequence,captured_at\na.jpg,{country},{word},{word},{word},{word}\n"
    text += f"c.jpg,France,0,0.0,{word},2020-09-18 07:19:10\n"
    frame = ingest(table(tmp_path, text)).frame
    assert frame.select("country", "lat", "lon", "sequence", "captured_at").row(0) == (None,) * 5
    assert frame.select("country", "lat", "lon").row(1) == ("FR", None, None)


def test_a_minus_as_sequence_is_no_cluster(tmp_path: Path) -> None:
    frame = ingest(table(tmp_path, "path,country,sequence\na.jpg,FR,-1\nc.jpg,NO,-1\n")).frame
    assert frame["sequence"].to_list() == [None, None]


@pytest.mark.parametrize("kind", ["table", "points", "parquet"])
def test_null_island_is_no_place(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "a.jpg", "c.jpg")
    if kind == "parquet":
        rows: list[dict[str, object]] = [{"latitude": "0", "longitude": "0.000"}, {}]
        shard(tmp_path / "s.parquet", rows)
        frame = ingest(f"parquet:{tmp_path}/s.parquet").frame
    else:
        (tmp_path / "t.csv").write_text("path,country,lat,lon\na.jpg,NA,0,0.000\nc.jpg,NA,-22.5,17.1\n")
        frame = ingest(f"{kind}:{tmp_path}/t.csv").frame
    assert frame["lat"].to_list() == [None, -22.5]
    assert "1 row at (0, 0)" in capsys.readouterr().err


def test_columns_are_said_and_those_that_look_like_coordinates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest(table(tmp_path, "file_name,label,start_lat,end_lat\na.jpg,FR,1,2\nc.jpg,FR,1,2\n"))
    said = capsys.readouterr().err
    assert "path from 'file_name', country from 'label'; kept as text: 'start_lat', 'end_lat'" in said
    assert "'start_lat', 'end_lat' may be coordinates" in said
    assert "nothing says which photos are of one drive" in said


def test_a_row_for_each_object_is_a_photo_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "id,path,country,class\n1,a.jpg,FR,car\n2,a.jpg,France,sign\n3,c.jpg,NO,car\n"
    assert ingest(table(tmp_path, text)).frame["image_id"].to_list() == ["mine/1", "mine/3"]
    assert "left out: 1 row of photos that have one already" in capsys.readouterr().err
    torn = text.replace("France", "Spain")
    with pytest.raises(UserError, match=r"several countries, a\.jpg \(ES, FR\) first"):
        ingest(table(tmp_path, torn))
    assert ingest(table(tmp_path, torn), skip_unknown=True).frame["image_id"].to_list() == ["mine/3"]


def test_quotation_marks_swallow_no_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = 'path,country,author\na.jpg,FR,"Bob\nsub/b.jpg,NO,Ann\nc.jpg,SE,Eve"\n'
    assert ingest(table(tmp_path, text)).frame["country"].to_list() == ["FR", "NO", "SE"]
    assert "would swallow 2 rows" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"row 1: a quotation mark is not closed, so that 'author' takes in 2"):
        ingest(table(tmp_path, 'path,country,author\na.jpg,FR,"Bob\nsub/b.jpg,NO,Ann,x,y\nc.jpg,SE,Eve"\n'))
    long = 'path,country,author\na.jpg,FR,"Bob\nof Oslo"\nc.jpg,SE,Eve\n'
    assert ingest(table(tmp_path, long)).frame["creator"].to_list() == ["Bob\nof Oslo", "Eve"]


@pytest.mark.parametrize("written", ["Réunion/é.jpg", "réunion/É.JPG", "Réunion\\é.jpg", "./Réunion//é.jpg"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_that_differ_from_those_on_the_disk_in_form_alone(tmp_path: Path, written: str, form: str) -> None:
    other = "NFD" if form == "NFC" else "NFC"
    put(tmp_path, normalize(form, "Réunion/é.jpg"))
    (tmp_path / "t.csv").write_text(f"path,country\n{normalize(other, written)},RE\n")
    assert load(ingest(f"table:{tmp_path}/t.csv").frame["uri"][0]).shape == (16, 24, 3)


# --- telling the kind --------------------------------------------------------------------------------------


def test_origins_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    for origin, says in (
        ("nowhere", "no such"),
        (str(tmp_path / "a.txt"), "not a folder"),
        ("table:no.csv", "no such"),
        ("osv5m:nowhere", "no such folder"),
        ("mapillary:bbox=1,2,3,4", "whichland data fetch mapillary:bbox=1,2,3,4 -o FILE"),
        ("nowhere:else", r"known origins are folder:FOLDER.*hub:OWNER/NAME"),
    ):
        with pytest.raises(UserError, match=says):
            ingest(origin)


def test_settings_of_another_kind_are_refused(tmp_path: Path) -> None:
    origin = str(put(tmp_path, "FR/a.jpg"))
    with pytest.raises(UserError, match="--keys belongs to traffic-signs:"):
        ingest(origin, keys=tmp_path / "keys.csv")
    with pytest.raises(UserError, match="--folder belongs to synthetic:"):
        ingest(origin, folder=tmp_path)


def test_every_kind_has_its_reader() -> None:
    for kind in KINDS.values():
        module, _, function = kind.reader.partition(":")
        taken = signature(getattr(import_module(f"whichland.sources.{module}"), function)).parameters
        assert {"source", "skip_unknown", *kind.options} == set(taken) - {next(iter(taken))}


def test_the_page_of_origins_names_every_kind_and_column() -> None:
    page = (Path(__file__).parent.parent / "docs/how-to/origins.md").read_text(encoding="utf-8")
    for kind in set(KINDS) - {"folder"}:
        assert f"`{kind}:" in page or f"'{kind}:" in page
    table = page[page.index("## Columns of a table") :]
    for role, names in ROLES.items():
        if role != "source":
            assert ", ".join(names) in table.replace(";", ",")


def test_every_source_fills_every_column(tmp_path: Path) -> None:
    put(tmp_path / "f", "FR/a.jpg")
    origins = [
        str(tmp_path / "f"),
        str(shard(tmp_path / "s.parquet", [{}])),
        table(tmp_path / "t", "path,country\na.jpg,NA\n"),
    ]
    frames = [ingest(origin).frame for origin in origins]
    assert frames[0].schema == frames[1].schema == frames[2].schema
    assert [name for name in frames[0].columns if name != "country"] == [
        column.name for column in manifest.SCHEMA if column.writer == "sources"
    ]


def test_synthetic_world_is_written_where_asked(tmp_path: Path) -> None:
    made = ingest("synthetic:scenes=12,seed=3", folder=tmp_path / "w", source="mine")
    assert made.frame.height == 12
    assert made.frame["source"].unique().to_list() == ["mine"]
    assert made.frame["country"].to_list() == made.frame["label_country"].to_list()
    assert all(Path(uri).is_relative_to(tmp_path / "w") for uri in made.frame["uri"])
    assert load(made.frame["uri"][0]).ndim == 3
    assert made.history[0].params["kind"] == "synthetic"


# --- the real thing ----------------------------------------------------------------------------------------


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/data")
    return SHARED


def test_real_folder(shared: Path) -> None:
    frame = ingest(str(shared / "compressed_dataset")).frame
    assert (frame.height, frame["country"].n_unique()) == (3818, 30)
    assert frame.filter(pl.col("country") == "US").height == 594
    sizes = frame.group_by("sequence").len()["len"]
    assert (sizes.len(), sizes.max()) == (3815, 2)


def test_real_panoramas(shared: Path) -> None:
    frame = ingest(str(shared / "pano_parquet")).frame
    assert (frame.height, frame["country"].n_unique(), frame["sequence"].n_unique()) == (220, 47, 220)
    assert frame.select("lat", "lon", "country").null_count().sum_horizontal().item() == 0
    for row in (0, 109, 110, 219):
        assert load(frame["uri"][row]).shape == (448, 1792, 3)


def test_real_table(shared: Path) -> None:
    frame = ingest(str(shared / "mapillary_sample/images.csv")).frame
    assert (frame.height, frame["sequence"].n_unique(), frame["country"].null_count()) == (25, 11, 25)
    assert frame["source"][0] == "mapillary_sample"
    assert dict(frame["projection"].value_counts().iter_rows()) == {"perspective": 16, "equirectangular": 9}
    assert frame["license"].unique().to_list() == ["CC-BY-SA-4.0"]
    assert frame["attribution"].unique().to_list() == ["Mapillary contributors"]
    assert load(frame["uri"][0]).ndim == 3
