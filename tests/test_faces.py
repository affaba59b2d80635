"""One photo has one answer, whichever way it is asked for: ten kinds of photo, to the last bit."""

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import whichland as wl
from serving import calibrated_bundle, create
from tiny_bundle import LABELS, pixels
from whichland.cli.commands import load
from whichland.cli.main import COMMANDS
from whichland.evaluation.predictions import FILE
from whichland.explanation.explain import explain
from whichland.images.containers import ImageError
from whichland.manifest import Manifest
from whichland.model.answer import DECIMALS
from whichland.model.model import Model

SPHERE = b'<x:xmpmeta><rdf:Description GPano:ProjectionType="equirectangular"/></x:xmpmeta>'


def picture(number: int, width: int = 96, height: int = 72) -> Image.Image:
    return Image.fromarray(pixels(number, height, width))


def sideways() -> dict[str, Any]:
    exif = Image.Exif()
    exif[0x0112] = 6
    return {"exif": exif}


def sixteen_bit() -> Image.Image:
    grey = np.asarray(picture(7).convert("L")).astype(np.uint16) * 257
    return Image.fromarray(grey)


Kind = tuple[str, Callable[[], Image.Image], dict[str, Any], int]  # name, picture, how it is saved, views
KINDS: list[Kind] = [
    ("wide.jpg", lambda: picture(0, 400, 80), {}, 5),
    ("tall.jpg", lambda: picture(1, 60, 300), {}, 1),
    ("sphere.jpg", lambda: picture(2, 400, 200), {"xmp": SPHERE}, 4),
    ("turned.jpg", lambda: picture(3, 80, 400), sideways(), 5),
    ("tiny.png", lambda: picture(4, 3, 2), {}, 1),
    ("palette.png", lambda: picture(5).convert("P"), {}, 1),
    ("grey.jpg", lambda: picture(6).convert("L"), {}, 1),
    ("deep.png", sixteen_bit, {}, 1),
    ("cmyk.jpg", lambda: picture(8).convert("CMYK"), {}, 1),
    ("moving.gif", lambda: picture(9), {"save_all": True, "append_images": [picture(10)]}, 1),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return calibrated_bundle(tmp_path_factory.mktemp("run") / "bundle")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("kinds")
    for name, make, how, _ in KINDS:
        make().save(folder / name, **how)
    return [folder / name for name, *_ in KINDS]


@pytest.fixture(scope="module")
def model(bundle: Path) -> Model:
    return wl.load(bundle)


@pytest.fixture(scope="module")
def answers(model: Model, photos: list[Path]) -> list[wl.Answer]:
    return [model.predict(photo) for photo in photos]


@pytest.fixture(scope="module")
def together(model: Model, photos: list[Path]) -> list[wl.Answer]:
    """The same in one batch: the network itself may differ in the last bit by how many crops it takes at once."""
    return model.predict(photos)


def expected_of(answers: list[wl.Answer]) -> list[Any]:
    """What is written of the probabilities, up to its last digit, which may go with that last bit."""
    written = [{code: float(one.probabilities[at]) for at, code in enumerate(one.labels)} for one in answers]
    return [pytest.approx(own, abs=10**-DECIMALS, rel=0) for own in written]


def test_the_kinds_are_what_they_are_called(answers: list[wl.Answer]) -> None:
    assert [len(answer.views) for answer in answers] == [views for *_, views in KINDS]
    assert len({answer.probabilities.tobytes() for answer in answers}) == len(KINDS)
    assert (answers[3].width, answers[3].height) == (400, 80)
    for answer in answers:
        assert answer.probabilities.dtype == np.float32
        assert answer.probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_python_answers_alike_however_photos_come(
    model: Model, photos: list[Path], answers: list[wl.Answer], together: list[wl.Answer]
) -> None:
    given = [wl.predict(model, photo.read_bytes()) for photo in photos]
    opened = [model.predict(Image.open(photo)) for photo in photos]
    texts = model.predict([str(photo) for photo in photos])
    streamed = list(wl.predict(model, iter(photos)))
    for found, expected in ((given, answers), (opened, answers), (texts, together), (streamed, together)):
        for one, own in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.probabilities, own.probabilities)
            assert one.views == own.views
    for one, own in zip(together, answers, strict=True):
        np.testing.assert_allclose(one.probabilities, own.probabilities, rtol=2e-6)
    for at in (0, 4):  # whose arrays say all that their files do
        array = np.asarray(Image.open(photos[at]).convert("RGB"))
        np.testing.assert_array_equal(model.predict(array).probabilities, answers[at].probabilities)


def test_the_command_line_and_its_files_answer_so(
    bundle: Path, photos: list[Path], answers: list[wl.Answer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*arguments: object) -> None:
        command = load("predict", COMMANDS["predict"])
        command.main([str(bundle), *map(str, photos), *map(str, arguments)], standalone_mode=False)

    expected = expected_of(answers)
    call("--json", "--top", len(LABELS), "--pin", "--sets", 90)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [{one["country"]: one["probability"] for one in line["top"]} for line in lines] == expected
    assert [line["set"] for line in lines] == [list(answer.set(0.9)) for answer in answers]
    assert [line["pin"]["lat"] for line in lines] == [round(answer.pin.lat, 4) for answer in answers]  # type: ignore[union-attr]
    call("--top", len(LABELS), "-o", tmp_path / "a.parquet", "--batch-size", 4)
    for row, own in zip(pl.read_parquet(tmp_path / "a.parquet").iter_rows(named=True), expected, strict=True):
        codes = ["country", *(f"country_{n}" for n in range(2, len(LABELS) + 1))]
        assert {row[name]: row[name.replace("country", "probability")] for name in codes} == own


def test_the_service_answers_so(bundle: Path, photos: list[Path], answers: list[wl.Answer]) -> None:
    with TestClient(create(bundle)) as client:
        sent = [("files", (photo.name, photo.read_bytes())) for photo in photos]
        found = client.post("/api/predict", files=sent).json()["results"]
    assert [one["probabilities"] for one in found] == expected_of(answers)
    assert [(one["width"], one["height"]) for one in found] == [(one.width, one.height) for one in answers]
    assert [one["set"]["countries"] for one in found] == [list(one.set(0.9)) for one in answers]
    assert [one["abstained"] for one in found] == [one.abstains for one in answers]


def test_the_report_stores_these_answers(
    bundle: Path, photos: list[Path], together: list[wl.Answer], tmp_path: Path
) -> None:
    rows = [
        {"image_id": f"{n:02}", "uri": str(photo), "source": "t", "country": LABELS[n % len(LABELS)], "split": "test"}
        for n, photo in enumerate(photos)
    ]
    wl.evaluate(bundle, Manifest(pl.DataFrame(rows)), out=tmp_path / "report")
    stored = pl.read_parquet(tmp_path / "report" / FILE).sort("image_id")["probabilities"].to_numpy()
    np.testing.assert_array_equal(stored, np.stack([answer.probabilities for answer in together]))


def test_the_same_pixels_as_jpeg_and_as_png_have_one_answer(
    bundle: Path, model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fine texture, in which a picture that is made smaller without a filter is another one."""
    tolerances = {130: 0.0, 200: 0.0, 500: 0.0, 1200: 0.01}  # short side: the decoder scales the last alone
    paths = []
    for side in tolerances:
        texture = np.random.default_rng(side).integers(-60, 60, (side, side + 40, 3))
        mixed = np.clip(np.asarray(picture(side, side + 40, side)) + texture, 0, 255).astype(np.uint8)
        jpeg, png = tmp_path / f"{side}.jpg", tmp_path / f"{side}.png"
        Image.fromarray(mixed).save(jpeg, quality=100, subsampling=0)
        Image.open(jpeg).save(png)
        paths += [jpeg, png]
    answers = model.predict(paths)
    for jpeg, png, tolerance in zip(answers[::2], answers[1::2], tolerances.values(), strict=True):
        assert jpeg.country == png.country
        np.testing.assert_allclose(jpeg.probabilities, png.probabilities, atol=tolerance + 1e-6, rtol=0)
    command = load("predict", COMMANDS["predict"])
    command.main([str(bundle), *map(str, paths), "--json"], standalone_mode=False)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["country"] for line in lines] == [answer.country for answer in answers]


@pytest.mark.parametrize("method", ["gradcam", "occlusion"])
def test_what_is_explained_is_what_was_answered(
    model: Model, photos: list[Path], answers: list[wl.Answer], method: str
) -> None:
    for photo, own in zip(photos, answers, strict=True):
        found = explain(model, photo, method=method)
        np.testing.assert_array_equal(found.answer.probabilities, own.probabilities)
        assert tuple(one.view for one in found.views) == own.views
        assert found.target == own.country
        assert found.map.shape == found.photo.shape[:2]


def test_the_service_explains_every_view_where_it_lies(
    bundle: Path, photos: list[Path], answers: list[wl.Answer]
) -> None:
    with TestClient(create(bundle)) as client:
        for photo, own in zip(photos, answers, strict=True):
            found = client.post("/api/explain", files={"file": (photo.name, photo.read_bytes())}).json()
            assert found["country"] == own.country
            assert [tuple(view["box"]) for view in found["views"]] == [view.box for view in own.views]
            assert [view["heading"] for view in found["views"]] == [view.heading for view in own.views]


def test_boxes_of_a_wide_photo_stand_side_by_side_and_those_of_a_sphere_go_round(answers: list[wl.Answer]) -> None:
    wide = [view.box for view in answers[0].views]
    assert [box[0] for box in wide] == sorted(box[0] for box in wide)
    assert all(0 <= box[0] < box[2] <= 1 for box in wide)
    np.testing.assert_allclose([box[2] - box[0] for box in wide], 0.2 * 0.95, atol=0.02)
    sphere = answers[2].views
    assert [view.heading for view in sphere] == [0, 90, 180, 270]
    middles = [(view.box[0] + view.box[2]) / 2 % 1 for view in sphere]
    np.testing.assert_allclose(middles, [0.5, 0.75, 0.0, 0.25], atol=1e-9)


def test_a_text_is_one_photo_and_what_is_no_photo_says_so(model: Model, photos: list[Path], tmp_path: Path) -> None:
    assert isinstance(wl.predict(model, str(photos[0])), wl.Answer)
    with pytest.raises(ImageError, match="gone"):
        model.predict(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="height × width × 3"):
        model.predict(np.zeros((4, 4), np.uint8))
    good, bad = model.predict((photos[1], tmp_path / "gone.jpg"))
    assert good.error is None
    assert np.isnan(bad.probabilities).all()
    assert repr(bad) == f"<Answer {str(tmp_path / 'gone.jpg')!r}: not read ({bad.reason})>"
    for use in (
        lambda: bad.country,
        lambda: bad.top(3),
        lambda: bad.set(0.9),
        lambda: bad.pin,
        lambda: bad.probability,
    ):
        with pytest.raises(ImageError, match="gone"):
            use()


def test_model_and_answer_are_one_line_and_a_notebook_shows_no_metadata(model: Model, tmp_path: Path) -> None:
    assert repr(model) == f"<Model run: test_resnet, {len(LABELS)} labels, torch>".replace("run", model.name, 1)
    exif = Image.Exif()
    exif[0x010F] = "a secret camera"
    path = tmp_path / "<b>&.jpg"
    picture(1).save(path, exif=exif)
    answer = model.predict(path)
    assert "\n" not in repr(answer)
    assert answer.name in repr(answer)
    shown = answer._repr_html_()
    assert "<b>" not in shown
    assert "&lt;b&gt;&amp;.jpg" in shown
    data = shown.partition("base64,")[2].partition("'")[0]
    with Image.open(io.BytesIO(base64.b64decode(data))) as small:
        assert not small.getexif()
        assert max(small.size) <= 640


def test_an_answer_sums_up(model: Model, photos: list[Path]) -> None:
    answer = model.predict(photos[0])
    best = answer.top(3)
    assert best[0] == (answer.country, answer.name, answer.probability)
    assert [guess.probability for guess in best] == sorted((guess.probability for guess in best), reverse=True)
    assert answer.country in answer.set(0.8)
    assert answer.abstains == (answer.probability < 0.5)
    assert answer.guess(answer.country) == best[0]
    with pytest.raises(wl.UserError, match="'XX'"):
        answer.guess("XX")


def test_the_documented_python_runs(
    bundle: Path, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).resolve().parent.parent / "docs" / "how-to" / "answers.md"
    code = "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
    assert code.count("wl.load") == 1
    monkeypatch.chdir(tmp_path)
    Path("photo.jpg").write_bytes(photos[0].read_bytes())
    exec(code.replace("runs/mine/bundle", str(bundle)), {})
    assert Path("why.png").stat().st_size > 1000


def test_every_face_restricts_and_rolls_up_alike(
    bundle: Path, model: Model, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = [model.predict(photo, among="Europe,ZA") for photo in photos]
    assert {answer.label for answer in own} <= {"DE", "FR", "NO", "ZA"}

    def check(found: list[tuple[str, float, float]]) -> None:
        assert [code for code, *_ in found] == [answer.label for answer in own]
        expected = [(answer.probability, answer.outside) for answer in own]
        np.testing.assert_allclose([numbers for _, *numbers in found], expected, atol=2 * 10.0**-DECIMALS)

    certain = [found and (found.level, found.code) for found in (answer.certain(0.9) for answer in own)]
    assert {found and found[0] for found in certain} == {"continent", None}

    def call(*arguments: object) -> None:
        asked = (bundle, *photos, "--among", "Europe,ZA", "--certainty", 90, *arguments)
        load("predict", COMMANDS["predict"]).main([*map(str, asked)], standalone_mode=False)

    call("--json")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    check([(one["country"], one["probability"], one["outside"]) for one in lines])
    assert [one["certain"] and (one["certain"]["level"], one["certain"]["code"]) for one in lines] == certain
    for name, read in (("a.parquet", pl.read_parquet), ("a.csv", pl.read_csv)):
        call("-o", tmp_path / name, "--batch-size", 4)
        rows = read(tmp_path / name).rows(named=True)
        check([(row["country"], row["probability"], row["outside"]) for row in rows])
        assert [row["certain"] and (row["certain_level"], row["certain"]) for row in rows] == certain
        assert "country_5" not in rows[0], "no more guesses than there are labels"
    with TestClient(create(bundle)) as client:
        sent = [("files", (photo.name, photo.read_bytes())) for photo in photos]
        asked = {"among": "Europe,ZA", "certainty": "90"}
        found = client.post("/api/predict", files=sent, data=asked).json()["results"]
        refused = client.post("/api/predict", files=sent[:1], data={"among": "Afrika"})
        groups = client.get("/api/info").json()["among"]
    check([(*(one["guesses"][0][name] for name in ("country", "probability")), one["outside"]) for one in found])
    assert [set(one["probabilities"]) for one in found] == [{"DE", "FR", "NO", "ZA"}] * len(found)
    assert [one["certain"] and (one["certain"]["level"], one["certain"]["code"]) for one in found] == certain
    assert refused.status_code == 422
    assert refused.json()["error"] == "among: no country 'Afrika'; near: Africa"
    assert groups["drives left"] == ["JP", "NA", "ZA"]
    assert groups["EU"] == ["DE", "FR"]
    assert "Oceania" not in groups
