"""The explain command as a process; the pictures it writes; overlay and frame pixel by pixel."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import forked
from tiny_bundle import LABELS, make_bundle, make_photos, pixels
from whichland.cli.commands import load
from whichland.cli.explain import find_target, name_pictures
from whichland.cli.main import COMMANDS
from whichland.errors import UserError
from whichland.explanation.explain import SHORT_SIDE, explain
from whichland.explanation.figure import figure, percent
from whichland.explanation.overlay import framed, on_photo, overlay, save_picture
from whichland.explanation.verify import Verdict
from whichland.images.preprocess import Preprocess
from whichland.model import bundle as bundles
from whichland.model.answer import Guess
from whichland.model.label_sources import countries
from whichland.model.model import predict
from whichland.model.views import View

HALF = Preprocess(size=(64, 64), mean=(0.5,) * 3, std=(0.5,) * 3, crop_pct=0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("run") / "bundle", temperature=1.7)


def part(preprocess: Preprocess, height: int, width: int) -> tuple[float, float, float, float]:
    """What the model sees of a photo of that size, as fractions of it."""
    left, top, right, bottom = preprocess.crop_box(height, width)
    return left / width, top / height, right / width, bottom / height


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return forked.run(["-m", "whichland", "explain", *arguments], cwd=cwd)


def test_one_photo_one_picture(folder: Path, tmp_path: Path) -> None:
    (photo,) = make_photos(tmp_path / "in", 1)
    result = run(folder, photo, "-o", tmp_path / "out" / "cam.png", "--target", "Namibia", "--json")
    assert result.returncode == 0, result.stderr
    (line,) = map(json.loads, result.stdout.splitlines())
    assert line["target"] == "NA"
    assert line["picture"] == str(tmp_path / "out" / "cam.png")
    probabilities = predict(bundles.load(folder), photo).probabilities
    assert line["country"] == LABELS[probabilities.argmax()]
    assert line["probability"] == pytest.approx(float(probabilities.max()), abs=1e-5)
    assert len(line["top"]) == 5
    with Image.open(line["picture"]) as picture:
        assert picture.format == "PNG"
        assert not picture.getexif()
        assert picture.width > 1000
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cam.png"], "no temporary files stay"


def test_a_folder_of_photos_with_a_broken_one(folder: Path, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "in", 2)
    broken = tmp_path / "in" / "a_broken.jpg"
    broken.write_bytes(b"<!doctype html>")
    result = run(folder, tmp_path / "in", "-o", tmp_path / "out", "--target", "FR:DE")
    assert result.returncode == 2
    errors = result.stderr.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith(f"{broken}: ")
    lines = result.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(photo) for photo in photos]
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["photo_0000.explained.png", "photo_0001.explained.png"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["photo_0000.jpg", "-o", "x.gif"], ".png"),
        (["photo_0000.jpg", "photo_0001.jpg", "-o", "x.png"], "2 photos"),
        (["photo_0000.jpg", "-o", "photo_0000.jpg"], "overwritten"),
        (["photo_0000.jpg", "-o", "x.png", "--target", "Atlantis"], "Atlantis"),
        (["photo_0000.jpg", "-o", "x.png", "--target", "IS"], "DE, FR, JP"),
        (["photo_0000.jpg", "-o", "x.png", "--target", "DE:DE"], "two different"),
    ],
)
def test_what_the_user_can_mend(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    make_photos(tmp_path, 2)
    before = (tmp_path / "photo_0000.jpg").read_bytes()
    monkeypatch.chdir(tmp_path)
    command = load("explain", COMMANDS["explain"])
    with pytest.raises(UserError, match=says) as raised:
        command.main([str(folder), *arguments], standalone_mode=False)
    assert "\n" not in str(raised.value)
    assert (tmp_path / "photo_0000.jpg").read_bytes() == before


def call(*arguments: object) -> None:
    command = load("explain", COMMANDS["explain"])
    command.main(list(map(str, arguments)), standalone_mode=False)


def test_verify_says_how_each_map_stood(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photo,) = make_photos(tmp_path, 1)
    call(folder, photo, "-o", tmp_path / "x.png", "--verify", "--method", "layercam", "--json")
    line = json.loads(capsys.readouterr().out)
    assert line["method"] == "layercam"
    verdict = line["verdict"]
    assert verdict["random_maps"] == 19
    assert 0 <= verdict["beaten"] <= 19
    assert verdict["passed"] == (not verdict["failures"])
    assert line["evidence"] != verdict["empty"]


def test_a_map_that_fails_is_marked(folder: Path, tmp_path: Path) -> None:
    (photo,) = make_photos(tmp_path, 1)
    plain = explain(bundles.load(folder), photo, "FR")
    values = dict.fromkeys(("insertion", "deletion", "random_insertion", "random_deletion"), 0.5)
    failed = Verdict(**values, beaten=2, random_maps=19, rank_correlation=0.0, ssim=0.0)
    (view,) = plain.views
    marked = replace(plain, views=(replace(view, verdict=failed),))
    assert marked.doubt
    assert not np.array_equal(marked.figure(), plain.figure())
    holds = replace(failed, beaten=19)
    assert np.array_equal(replace(plain, views=(replace(view, verdict=holds),)).figure(), plain.figure())


def test_pictures_that_excite_parts(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "parts.png"
    goals = ("class:Namibia", "channel:layer4:3", "unit:layer3:0:1,2")
    options = [word for goal in goals for word in ("--maximise", goal)]
    call(folder, "-o", out, *options, "--steps", 3, "--json")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["goal"] for line in lines] == list(goals)
    with Image.open(out) as sheet:
        assert sheet.width > sheet.height
    call(folder, "-o", out, *options, "--steps", 3, "--plain")
    assert "Namibia: " in capsys.readouterr().out
    with Image.open(out) as pictures:
        assert pictures.size == (3 * 64, 64)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "photos to explain, or"),
        (["a.jpg", "--maximise", "class:FR"], "photos to explain, or"),
        (["--maximise", "class:FR:DE"], "one country at a time"),
        (["--maximise", "class"], "give class:COUNTRY"),
        (["--maximise", "neuron:layer4:1"], "give class:COUNTRY"),
        (["--maximise", "channel:layer9:1"], "no layer 'layer9'"),
        (["--maximise", "class:IS"], "--maximise: this bundle"),
    ],
)
def test_what_cannot_be_maximised(folder: Path, tmp_path: Path, arguments: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        call(folder, "-o", tmp_path / "x.png", *arguments)


def test_a_method_that_does_not_fit(folder: Path, tmp_path: Path) -> None:
    (photo,) = make_photos(tmp_path, 1)
    with pytest.raises(UserError, match="gradcam"):
        call(folder, photo, "-o", tmp_path / "x.png", "--method", "rollout")
    with pytest.raises(UserError, match="layercam"):
        call(folder, photo, "-o", tmp_path / "x.png", "--method", "guesswork")


def test_pictures_never_share_a_name(tmp_path: Path) -> None:
    paths = ["a/x.jpg", "b/X.png", "s.parquet#1", "s.parquet#2", "z.zip#in/x.jpg"]
    names = [path.name for path in name_pictures(paths, str(tmp_path))]
    assert names == [f"{name}.explained.png" for name in ("x", "X-2", "s-1", "s-2", "x-3")]


def test_targets_are_read_as_people_write_them() -> None:
    assert find_target("us", countries(LABELS)) == "US"
    assert find_target("South Africa:NA", countries(LABELS)) == ("ZA", "NA")


def test_the_map_is_of_the_target_and_stays_inside_the_crop(folder: Path, tmp_path: Path) -> None:
    (photo,) = make_photos(tmp_path, 1)
    bundle = bundles.load(folder)
    maps = {code: explain(bundle, photo, code).map for code in LABELS}
    assert len({m.tobytes() for m in maps.values()}) > 3, "the maps must depend on the target"
    top = explain(bundle, photo)
    assert top.target == top.guesses[0].code
    np.testing.assert_array_equal(top.map, maps[top.target])
    assert top.map.shape == top.photo.shape[:2]


def test_the_sheet_shows_what_was_asked_about(folder: Path, tmp_path: Path) -> None:
    (photo,) = make_photos(tmp_path, 1)
    bundle = bundles.load(folder)
    top = explain(bundle, photo)
    assert top.shown == top.guesses
    best = [guess.code for guess in top.guesses]
    last, before = (code for code in LABELS if code not in best)
    assert [guess.code for guess in explain(bundle, photo, last).shown] == [*best[:4], last]
    both = explain(bundle, photo, (last, before))
    assert {guess.code for guess in both.shown} == {*best[:3], last, before}
    assert both.guesses == top.guesses
    second = top.guesses[1].code
    assert explain(bundle, photo, second).shown == top.guesses


def test_large_photos_are_reduced_to_be_shown(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.fromarray(pixels(0, 1900, 2500)).save(path)
    shown = explain(bundles.load(folder), path)
    assert SHORT_SIDE <= min(shown.photo.shape[:2]) < 2 * SHORT_SIDE
    assert shown.map.shape == shown.photo.shape[:2]


def test_the_overlay_covers_by_the_height_of_the_map() -> None:
    grey = np.full((1, 3, 3), 120, np.uint8)
    found = overlay(grey, np.array([[0.0, 0.5, 1.0]], np.float32), opacity=1.0)
    assert found[0, 0].tolist() == [120, 120, 120]
    assert found[0, 2].tolist() == [252, 255, 164]
    assert 120 < int(found[0, 1, 0]) < 210
    assert overlay(grey, np.ones((1, 3), np.float32), opacity=0.0).tolist() == grey.tolist()


def test_the_map_lands_where_the_model_looked() -> None:
    small = np.zeros((64, 64), np.float32)
    small[:32, 32:] = 1  # upper right quarter of what the model sees: the middle half of the photo
    placed = on_photo(small, View(box=part(HALF, 200, 400)), 200, 400)
    left, top, right, bottom = HALF.crop_box(200, 400)
    assert (left, top, right, bottom) == (150, 50, 250, 150)
    assert placed[60, 240] == 1
    assert placed[60, 160] == 0
    assert placed[140, 240] == 0
    assert not placed[:, :150].any()
    assert not placed[:, 250:].any()


def test_the_frame_dims_only_what_the_model_did_not_see() -> None:
    image = pixels(1, 100, 200)
    seen = framed(image, [(0.25, 0.1, 0.75, 0.9)])
    np.testing.assert_array_equal(seen[20:80, 60:140], image[20:80, 60:140])
    assert not np.array_equal(seen[:5], image[:5])
    assert framed(image, [(0.002, 0.0, 0.998, 1.0)]) is image, "a photo that was seen whole has no frame"


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (900, 3), (60, 100), (50, 200)])
def test_a_sheet_for_any_shape_of_photo(shape: tuple[int, int]) -> None:
    photo = pixels(2, *shape)
    empty = np.zeros(shape, np.float32)
    box = part(HALF, *shape)
    on_photo(np.ones((64, 64), np.float32), View(box=box), *shape)
    guesses = [Guess("GS", "South Georgia and the South Sandwich Islands", 0.7), Guess("NA", "Namibia", 0.3)]
    sheet = figure(photo, empty, guesses, boxes=[box], target=guesses)
    assert sheet.ndim == 3
    assert max(sheet.shape) < 3000


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_failed_write_leaves_the_old_picture(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_picture(pixels(0), tmp_path / f"x{suffix}")
    old = path.read_bytes()

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fail)
        with pytest.raises(UserError, match="disk full"):
            save_picture(pixels(1), path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_odds_are_never_rounded_to_certainty() -> None:
    assert [percent(share) for share in (0.9999, 0.994, 0.5, 0.004)] == ["> 99 %", "99 %", "50 %", "< 1 %"]
