"""Answers that were made elsewhere are compared like a model's."""

import json
from pathlib import Path

import polars as pl
import pytest

from tiny_bundle import make_bundle, make_photos
from whichland.cli.commands import root
from whichland.errors import UserError
from whichland.evaluation.compare import compare
from whichland.evaluation.outside import read_outside
from whichland.manifest import Manifest, write

PHOTOS = {  # where, and the country
    "/data/NO/1.jpg": "NO",
    "/data/NO/2.jpg": "NO",
    "/data/FR/1.jpg": "FR",
    "/data/FR/3.jpg": "FR",
    "/data/pack.zip#DE/4.jpg": "DE",
    "/data/s.parquet#7": "NA",
}


def photos(**more: object) -> Manifest:
    """A manifest of PHOTOS in split test, and one more photo in train."""
    uris = [*PHOTOS, "/data/FR/9.jpg"]
    frame = pl.DataFrame(
        {
            "image_id": [f"t/{at}" for at in range(7)],
            "uri": uris,
            "source": "t",
            "country": [*PHOTOS.values(), "FR"],
            "group": [f"g{at}" for at in range(7)],
            "split": ["test"] * 6 + ["train"],
        }
    )
    return Manifest(frame.with_columns(**more))


def read(folder: Path, text: str, manifest: Manifest | None = None) -> dict[str, str]:
    """The guess for each image that a table answers."""
    (folder / "a.csv").write_text(text, encoding="utf-8")
    return dict(read_outside(folder / "a.csv", manifest or photos(), "test").select("image_id", "guess").iter_rows())


def test_countries_in_any_spelling_and_photos_by_as_much_of_the_path_as_tells_them_apart(tmp_path: Path) -> None:
    text = "file;answer\n/data/NO/1.jpg;Norge\n2.jpg;norway\nFR/1.jpg;FRA\nC:\\x\\FR\\3.jpg;France\nDE/4.jpg;\n"
    assert read(tmp_path, text + "t/5;NA\n") == {"t/0": "NO", "t/1": "NO", "t/2": "FR", "t/3": "FR", "t/5": "NA"}


def test_coordinates_stand_for_their_country(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "path,country,lat,lon\n2.jpg,,59.91,10.75\n3.jpg,Spain,48.86,2.35\nNO/1.jpg,,30.0,-40.0\n4.jpg,,,\n"
    assert read(tmp_path, text) == {"t/0": "", "t/1": "NO", "t/3": "ES"}
    assert "1 answers have coordinates in no country and count as wrong" in capsys.readouterr().err


def test_countries_are_counted_as_the_manifest_counts_them(tmp_path: Path) -> None:
    text = "path,country,lat,lon\n2.jpg,Puerto Rico,,\n3.jpg,,18.4,-66.1\n"
    assert read(tmp_path, text) == {"t/1": "PR", "t/3": "PR"}
    sovereign = photos().with_step("geocode", photos().frame, territories="sovereign")
    assert read(tmp_path, text, sovereign) == {"t/1": "US", "t/3": "US"}


def test_what_is_missing_unknown_or_doubled_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["2.jpg,Norwey", "1.jpg,Norway", "other/9.jpg,France", "99.jpg,France", "3.jpg,France", "FR/3.jpg,France"]
    assert read(tmp_path, "\n".join(["path,country", *rows])) == {"t/1": "", "t/3": "FR"}
    said = capsys.readouterr().err
    assert "1 answers name no country and count as wrong: 'Norwey' (did you mean Norway?)" in said
    assert "1 row with several photos that fit (write more of the path), row 2 first: 1.jpg" in said
    assert "1 row of photos of another split, or left out of it, row 3 first: other/9.jpg" in said
    assert "1 row of no photo of the manifest, row 4 first: 99.jpg" in said
    assert "1 row with less of the path of a photo than another row, row 5 first: 3.jpg" in said
    assert "without an answer: 4 of 6 photos, /data/NO/1.jpg first" in said


def test_a_photo_goes_to_the_row_that_names_most_of_its_path(tmp_path: Path) -> None:
    text = "path,country\nelsewhere/2.jpg,Japan\nNO/2.jpg,Norway\n"
    assert read(tmp_path, text) == {"t/1": "NO"}


def test_of_several_answers_the_most_probable_counts(tmp_path: Path) -> None:
    text = "path,country,confidence\n2.jpg,Sweden,30 %\n2.jpg,Norway,60 %\n2.jpg,Chile,\n"
    assert read(tmp_path, text) == {"t/1": "NO"}
    with pytest.raises(UserError, match=r"rows 1 and 2 first \(2.jpg\): keep one of them"):
        read(tmp_path, "path,country\n2.jpg,Sweden\n2.jpg,Norway\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("country\nNorway\n", "no column of paths"),
        ("path,remark\n2.jpg,cold\n", "neither a column of countries nor latitude and longitude"),
        ("path,country\n99.jpg,Norway\n", "no row answers a photo"),
        ("path,lat,lon\n2.jpg,95,10\n", "row 1: .95, 10. has no latitude"),
    ],
)
def test_a_table_that_answers_nothing_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, text)


def test_tables_alone_are_compared(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("path,country\n2.jpg,Norway\n3.jpg,France\n4.jpg,Germany\n", encoding="utf-8")
    (tmp_path / "two.json").write_text('[{"image": "2.jpg", "answer": "NO"}, {"image": "3.jpg", "answer": "Chad"}]')
    found = compare([tmp_path / "one.csv", tmp_path / "two.json"], photos())
    assert (found.photos, found.left_out) == (2, 1)
    assert {model.name: (model.top1.value, model.labels) for model in found.models} == {
        "one.csv": (1.0, None),
        "two.json": (0.5, None),
    }


def test_a_bundles_own_answers_from_predict_tie_with_it_exactly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, paths = make_bundle(tmp_path / "run" / "bundle"), make_photos(tmp_path / "photos", 12)
    frame = pl.DataFrame({"image_id": [path.stem for path in paths], "uri": [str(path) for path in paths]})
    codes = pl.Series(["DE", "FR", "JP", "NO"] * 3)
    frame = frame.with_columns(source=pl.lit("t"), country=codes, group="image_id", split=pl.lit("test"))
    table, answers = write(Manifest(frame), tmp_path / "m.parquet"), tmp_path / "answers.csv"
    root()(["predict", str(bundle), str(tmp_path / "photos"), "--out", str(answers)], standalone_mode=False)
    root()(["compare", str(bundle), str(answers), str(table), "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert found["photos"] == 12
    assert found["pairs"][0]["top1"]["value"] == 0.0
    assert found["pairs"][0]["p_mcnemar"] == 1.0


def test_the_template_is_filled_in_and_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, template = write(photos(), tmp_path / "m.parquet"), tmp_path / "answers.csv"
    root()(["compare", "--template", str(template), str(table)], standalone_mode=False)
    empty = template.read_text(encoding="utf-8").splitlines()
    assert empty[0] == "path,country,probability"
    assert sorted(empty[1:]) == sorted(
        f"{p},," for p in ("NO/1.jpg", "2.jpg", "FR/1.jpg", "3.jpg", "4.jpg", "s.parquet#7")
    )
    template.write_text("\n".join([empty[0], *(line.replace(",,", ",France,1") for line in empty[1:])]))
    assert set(read(tmp_path, template.read_text(encoding="utf-8")).values()) == {"FR"}
    with pytest.raises(UserError, match="is there already"):
        root()(["compare", "--template", str(template), str(table)], standalone_mode=False)
