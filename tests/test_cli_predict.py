"""`whichland predict`: what it prints, in three forms, and how it takes files that are no photos."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from tiny_bundle import LABELS, make_bundle, make_photos
from whichland.bulk.inputs import find_photos
from whichland.cli.commands import root
from whichland.errors import UserError
from whichland.geo.countries import country_name
from whichland.model import bundle as bundles
from whichland.model.model import predict


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("run") / "bundle")


def run(*arguments: object) -> int:
    """Run the command in this process; return its exit code."""
    code = root()([*map(str, ["predict", *arguments])], prog_name="whichland", standalone_mode=False)
    return code or 0


def test_json_lines_are_the_models_answers_and_an_unreadable_file_is_one_line(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = make_photos(tmp_path, 5)
    broken = tmp_path / "photo_0002b.jpg"
    broken.write_bytes(b"not a photo")
    assert run(bundle, tmp_path, "--json", "--batch-size", 2) == 2
    stdout, stderr = capsys.readouterr()
    lines = [json.loads(line) for line in stdout.splitlines()]
    assert [line["path"] for line in lines] == [str(photo) for photo in photos]
    complaints = stderr.splitlines()
    assert len(complaints) == 1
    assert complaints[0].startswith(f"{broken}: ")
    for line, answer in zip(lines, predict(bundles.load(bundle), photos), strict=True):
        probabilities = answer.probabilities
        best = probabilities.argsort()[::-1][:5]
        assert [guess["country"] for guess in line["top"]] == [LABELS[at] for at in best]
        found = [guess["probability"] for guess in line["top"]]
        assert found == pytest.approx(probabilities[best].tolist(), abs=1e-4)
        assert (line["country"], line["probability"]) == tuple(line["top"][0].values())
        assert set(line) == {"path", "country", "probability", "top"}


def test_a_missing_bundle_is_named_before_a_missing_photo(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nosuch: no such bundle"):
        run(tmp_path / "nosuch", tmp_path / "nosuch.jpg")


def test_a_reader_that_stops_early_gets_no_traceback(bundle: Path, tmp_path: Path) -> None:
    make_photos(tmp_path, 30)
    started = subprocess.Popen(
        [sys.executable, "-m", "whichland", "predict", bundle, tmp_path, "--json", "--batch-size", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert started.stdout is not None
    assert started.stderr is not None
    assert json.loads(started.stdout.readline())["country"] in LABELS
    started.stdout.close()
    assert started.stderr.read() == b""
    started.wait(timeout=60)


def test_csv_has_a_column_pair_for_each_guess(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = tmp_path / 'a, "quoted" näme'
    photos = make_photos(named, 3)
    assert run(bundle, named, "--csv", "--top", 3) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == [
        *("path", "country", "probability", "country_2", "probability_2", "country_3", "probability_3")
    ]
    assert [row["path"] for row in rows] == [str(photo) for photo in photos]
    for row in rows:
        probabilities = [float(row[name]) for name in ("probability", "probability_2", "probability_3")]
        assert probabilities == sorted(probabilities, reverse=True)
        assert {row["country"], row["country_2"], row["country_3"]} <= set(LABELS)


def test_text_names_the_countries(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photo,) = make_photos(tmp_path, 1)
    assert run(bundle, photo, "--top", 100) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{photo}: ")
    assert all(f"{country_name(code)} ({code}) " in line for code in LABELS)


def test_a_terminal_gets_a_table(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (photo,) = make_photos(tmp_path, 1)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run(bundle, photo, "--top", 2) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert len(lines) == 3
    assert str(photo) in lines[0]
    assert all("%" in line for line in lines[1:])


def test_a_name_that_is_not_unicode_passes_through(
    bundle: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (photo,) = make_photos(tmp_path, 1)
    odd = os.fsencode(tmp_path) + b"/\xff\xfe.jpg"
    os.rename(os.fsencode(photo), odd)  # noqa: PTH104 (bytes)
    assert run(bundle, tmp_path, "--csv") == 0
    assert odd in capfdbinary.readouterr().out


def test_folders_are_walked_in_order_for_photos_whatever_the_case_of_their_ending(tmp_path: Path) -> None:
    wanted = [tmp_path / name for name in ("a.JPG", "b/c.jpeg", "b/d.Png", "e.webp")]
    for path in [*wanted, tmp_path / ".cache/x.jpg", tmp_path / "._a.jpg", tmp_path / "notes.md"]:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    other = tmp_path / "notes.md"
    assert list(find_photos([str(other), str(tmp_path)])) == [str(path) for path in [other, *wanted]]


def test_what_cannot_be_a_photo_is_said_before_any_work(bundle: Path, tmp_path: Path) -> None:
    (photo,) = make_photos(tmp_path / "photos", 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"gone\.jpg: no such photo"):
        run(bundle, photo, tmp_path / "gone.jpg")
    with pytest.raises(UserError, match="empty: no photos in this folder"):
        run(bundle, tmp_path / "empty")
    with pytest.raises(UserError, match="exclude each other"):
        run(bundle, photo, "--csv", "--json")
    with pytest.raises(UserError, match=r"photos is not a bundle: config\.json is missing"):
        run(tmp_path / "photos", photo)
    with pytest.raises(UserError, match="a file, not a bundle, which is a folder and comes first"):
        run(photo, bundle)


def test_a_pin_and_the_place_of_the_file_are_said_in_every_form_when_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(tmp_path / "bundle", labels=("FR", "JP"))
    (photo,) = make_photos(tmp_path / "photos", 1)
    image, exif = Image.open(photo), Image.Exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (48.0, 51.0, 0.0), 3: "E", 4: (2.0, 21.0, 0.0)})
    image.save(photo, exif=exif)
    asked = (bundle, photo, "--pin", "--check-exif", "--top", 1)

    assert run(*asked, "--json") == 0
    stdout, stderr = capsys.readouterr()
    line = json.loads(stdout)
    assert set(line) == {"path", "country", "probability", "top", "pin", "exif"}
    assert line["pin"].keys() == {"lat", "lon", "expected_score"}
    assert (round(line["exif"]["lat"], 2), line["exif"]["country"]) == (48.85, "FR")
    assert line["exif"]["agrees"] is (line["country"] == "FR")
    assert "EXIF: 1 of 1 photos say" in stderr

    assert run(*asked, "--csv") == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert list(row)[3:] == [*("pin_lat", "pin_lon", "pin_score", "exif_lat", "exif_lon", "exif_country", "agrees")]
    assert float(row["pin_lat"]) == line["pin"]["lat"]
    assert row["agrees"] == str(line["exif"]["agrees"]).lower()

    assert run(*asked) == 0
    said = capsys.readouterr().out
    assert f"; pin {line['pin']['lat']:.2f}, {line['pin']['lon']:.2f} (expected score " in said
    assert said.endswith("; its EXIF says FR\n")


def test_with_out_the_answers_go_to_the_file_and_a_summary_to_the_terminal(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = make_photos(tmp_path / "photos", 3)
    (tmp_path / "photos" / "x.jpg").write_bytes(b"not a photo")
    out = tmp_path / "answers.csv"
    assert run(bundle, tmp_path / "photos", "-o", out) == 2
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    complaint, summary = stderr.splitlines()
    assert complaint.startswith(f"{tmp_path}/photos/x.jpg: ")
    assert summary == f"{out}: 3 photos answered, 1 unreadable"
    assert len(out.read_text().splitlines()) == 5
    assert run(bundle, *photos, "-o", out, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"out": str(out), "photos": 3, "unreadable": 0}
    assert len(out.read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--csv", "-o", "a.csv"), "--csv and -o exclude each other"),
        (("--ray", "auto"), "--ray needs -o"),
        (("--top", "0"), "top 0: give 1 or more"),
        (("--sets", "100"), "give a number between 0 and 100"),
        (("--panorama", "--views", "one"), "leave out --views one"),
        (("-o", "a.xlsx"), "the ending says the form"),
    ],
)
def test_flags_that_make_no_sense_are_said_before_any_work(
    bundle: Path, tmp_path: Path, flags: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        run(bundle, *make_photos(tmp_path, 1), *flags)
