"""The API: answers equal `predict`, in the order sent, with sets, pins and words; errors are one line of JSON."""

import base64
import io
import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from serving import bundle as bundle
from serving import create, running, service_of
from serving import photos as photos
from tiny_bundle import LABELS, make_bundle, pixels
from whichland.explanation.gradcam import gradcam
from whichland.model.bundle import load
from whichland.model.labels import read_labels
from whichland.model.model import predict
from whichland.model.pins import pin_table, pins
from whichland.serving.answers import WORDS, words
from whichland.serving.app import create_app


@pytest.fixture(scope="module")
def client(bundle: Path):
    with TestClient(create(bundle, explain="gradcam")) as client:
        yield client


def files(paths: list[Path]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (path.name, path.read_bytes())) for path in paths]


def test_every_answer_equals_predict_and_stands_in_its_place(client: TestClient, bundle: Path, photos: list[Path]):
    loaded = load(bundle)
    answer = client.post("/api/predict", files=files(photos[::-1]))
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["name"] for result in results] == [path.name for path in photos[::-1]]
    places = read_labels(bundle, LABELS)
    assert places.points is not None
    for result, own in zip(results, predict(loaded, photos[::-1]), strict=True):
        probs_K = own.probabilities
        assert np.allclose([result["probabilities"][label] for label in LABELS], probs_K, atol=2e-6)
        assert list(result["probabilities"].values()) == sorted(result["probabilities"].values(), reverse=True)
        assert [guess["country"] for guess in result["guesses"]] == list(result["probabilities"])[:5]
        assert result["words"] == words(float(probs_K.max()))
        assert result["set"] == {"percent": 90.0, "countries": list(own.set(0.9))}
        assert result["abstained"] == (probs_K.max() < 0.5)
        (point,), (expected,) = pins(probs_K[None], pin_table(places.points))
        assert (result["pin"]["lat"], result["pin"]["lon"]) == pytest.approx(tuple(point), abs=1e-4)
        assert result["pin"]["expected_score"] == pytest.approx(expected, abs=0.5)
    assert {result["abstained"] for result in results} == {True, False}  # or the threshold was not tried


def test_size_and_orientation_are_those_of_the_photo_as_it_is_seen(client: TestClient):
    exif = Image.Exif()
    exif[0x0112] = 6  # lying on its side
    exif[0x010F] = "a secret camera"
    file = io.BytesIO()
    Image.fromarray(pixels(1, height=60, width=90)).save(file, "JPEG", exif=exif)
    answer = client.post("/api/predict", files={"files": ("a.jpg", file.getvalue())})
    assert (answer.json()["results"][0]["width"], answer.json()["results"][0]["height"]) == (60, 90)
    assert "secret" not in answer.text


def test_a_photo_that_cannot_be_read_has_its_error_in_its_place(client: TestClient, photos: list[Path]):
    mixed = [("files", ("cut.jpg", photos[0].read_bytes()[:700])), *files(photos[:1])]
    answer = client.post("/api/predict", files=mixed, data={"top": "2"})
    cut, good = answer.json()["results"]
    assert answer.status_code == 200
    assert set(cut) == {"name", "error"}
    assert "\n" not in cut["error"]
    assert len(good["guesses"]) == 2
    alone = client.post("/api/predict", files=mixed[:1])
    assert alone.status_code == 422
    assert alone.json()["results"][0] == cut


def test_what_is_no_form_or_holds_no_photo_is_said_so(client: TestClient, photos: list[Path]):
    photo = photos[0].read_bytes()
    for asked in (
        {"json": {"files": []}},
        {"content": b"--x\r\nbroken", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"content": b"", "headers": {"content-type": "multipart/form-data"}},
        {"files": {"photo": ("a.jpg", photo)}},
        {"files": {"files": ("a.jpg", photo)}, "data": {"top": "0"}},
        {"files": {"files": ("a.jpg", photo)}, "data": {"top": "²"}},
        {"files": {"files": ("a.jpg", photo)}, "data": {"top": "5" * 2000}},
    ):
        answer = client.post("/api/predict", **asked)  # type: ignore[arg-type]
        assert answer.status_code == 422, asked
        assert list(answer.json()) == ["error"]


def test_limits_on_files_bytes_and_pixels(bundle: Path, photos: list[Path]):
    with TestClient(create(bundle, files=2, bytes=60_000, pixels=10_000)) as client:
        assert client.post("/api/predict", files=files(photos[:2])).status_code == 200
        many = client.post("/api/predict", files=files(photos[:3]))
        assert (many.status_code, many.json()) == (413, {"error": "at most 2 photos in one request"})
        large = client.post("/api/predict", files={"files": ("a.jpg", bytes(70_000))})
        assert large.status_code == 413
        assert "60,000" in large.json()["error"]
        file = io.BytesIO()
        Image.new("RGB", (101, 100)).save(file, "PNG")
        wide = client.post("/api/predict", files={"files": ("a.png", file.getvalue())})
        assert "101×100" in wide.json()["results"][0]["error"]


def test_a_photo_needs_no_file_name(client: TestClient, photos: list[Path]):
    """As `curl -F 'files=<a.jpg'` sends it: bytes that are no text, and more of them than a field may hold."""
    head = b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\n'
    fields = b'\r\n--x\r\nContent-Disposition: form-data; name="top"\r\n\r\n2\r\n--x--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.post("/api/predict", content=head + photos[0].read_bytes() + fields, headers=headers)
    (named,) = client.post("/api/predict", files=files(photos[:1])).json()["results"]
    (found,) = answer.json()["results"]
    assert found["probabilities"] == named["probabilities"]
    assert len(found["guesses"]) == 2


@pytest.mark.parametrize("cut", [1, 2, 5, 20, 500])
def test_a_form_that_is_cut_short_is_refused(client: TestClient, photos: list[Path], cut: int):
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    whole = head + photos[0].read_bytes() + b"\r\n--x--"
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post("/api/predict", content=whole, headers=headers).status_code == 200
    answer = client.post("/api/predict", content=whole[:-cut], headers=headers)
    assert answer.status_code == 422
    assert "ends before its last boundary" in answer.json()["error"]


def test_head_is_answered_as_get_without_a_body(bundle: Path):
    with running(create(bundle)) as (host, port), httpx.Client(base_url=f"http://{host}:{port}") as asking:
        for path in ("/", "/play", "/healthz", "/api/info", "/api/play/3", "/openapi.json", "/static/app.js"):
            head, get = asking.head(path), asking.get(path)
            assert (head.status_code, head.content) == (200, b""), path
            for name in ("content-type", "content-length", "content-security-policy", "cache-control"):
                assert head.headers[name] == get.headers[name], (path, name)
        assert asking.head("/nothing").status_code == 404
        assert asking.head("/api/predict").status_code == 405
        assert 'method="HEAD",route="/healthz",status="200"' in asking.get("/metrics").text
        assert set(asking.get("/openapi.json").json()["paths"]["/healthz"]) == {"get"}


def test_names_are_sent_back_without_what_no_name_should_hold(client: TestClient, photos: list[Path]):
    data = photos[0].read_bytes()
    sent = {"files": ("a\x1b[31m\u202e" + "b" * 500, data)}
    name = client.post("/api/predict", files=sent).json()["results"][0]["name"]
    assert name.isprintable()
    assert len(name) == 200


@pytest.mark.parametrize("method", ["gradcam", "layercam", "occlusion"])
def test_an_explanation_lies_over_what_the_model_saw(client: TestClient, photos: list[Path], method: str):
    sent = {"file": ("a.jpg", photos[0].read_bytes())}
    answer = client.post("/api/explain", files=sent, data={"method": method, "country": "JP"}).json()
    assert (answer["method"], answer["country"], answer["against"]) == (method, "JP", None)
    (view,) = answer["views"]
    left, top, right, bottom = view["box"]
    assert 0 <= left < right <= 1
    assert 0 <= top < bottom <= 1
    # a square of the 96×72 photo, which timm resizes to whole pixels before it cuts
    assert (right - left) * 96 == pytest.approx((bottom - top) * 72, abs=1)
    picture = Image.open(io.BytesIO(base64.b64decode(view["png"])))
    assert (picture.mode, picture.size) == ("RGBA", (64, 64))
    assert answer["evidence"] == (np.asarray(picture)[..., 3].max() == 255)
    rows = np.array(view["map"])
    assert rows.shape == (32, 32)
    assert 0 <= rows.min() <= rows.max() <= 1


def test_torch_explains_as_gradcam_does(bundle: Path, photos: list[Path]):
    import torch

    from whichland.images.decode import load as decode

    loaded = load(bundle)
    crop = loaded.preprocess.crop(decode(str(photos[1])))
    x_BCHW = torch.from_numpy(loaded.preprocess.normalise(crop[None]))
    for country, against, target in (("US", None, 5), ("US", "FR", (5, 1))):
        with TestClient(create(bundle, explain="gradcam")) as client:
            asked = {"country": country} | ({"against": against} if against else {})
            answer = client.post("/api/explain", files={"file": ("a", photos[1].read_bytes())}, data=asked)
        alpha = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer.json()["views"][0]["png"]))))[..., 3]
        assert np.abs(alpha / 255 - gradcam(loaded.model, x_BCHW, target)[0].numpy()).max() < 0.003


def test_an_explanation_of_nothing_there_is(client: TestClient, photos: list[Path]):
    good = {"file": ("a.jpg", photos[0].read_bytes())}
    guess = client.post("/api/explain", files=good).json()["country"]
    for data in (
        {"country": "XX"},
        {"against": "nowhere"},
        {"country": "FR", "against": "FR"},
        {"against": guess},
        {"method": "magic"},
        {"method": "rollout"},  # the model has no attention
    ):
        answer = client.post("/api/explain", files=good, data=data)
        assert answer.status_code == 422, data
        assert list(answer.json()) == ["error"]
    assert client.post("/api/explain", files={"file": ("a.jpg", b"no photo")}).status_code == 422
    assert client.post("/api/explain", files=[("file", ("a", b"1")), ("file", ("b", b"2"))]).status_code == 413


def test_info_says_what_is_there(client: TestClient, bundle: Path, tmp_path: Path):
    info = client.get("/api/info").json()
    assert [label["code"] for label in info["labels"]] == list(LABELS)
    assert {"code": "NA", "name": "Namibia"} in info["labels"]
    assert (info["engine"], info["torch"], info["sets"], info["calibrated"]) == ("torch", True, [80, 90, 95], True)
    assert (info["report"], info["atlas"], info["play"]) == (False, False, True)
    with TestClient(create(make_bundle(tmp_path / "plain"))) as plain:
        info = plain.get("/api/info").json()
        assert (info["torch"], info["methods"], info["calibrated"], info["sets"]) == (False, ["occlusion"], False, [])
        assert plain.get("/healthz").json() == {"status": "ok"}


def test_a_bundle_without_calibration_and_places_says_less(tmp_path: Path, photos: list[Path]):
    with TestClient(create(make_bundle(tmp_path / "plain"))) as client:
        result = client.post("/api/predict", files=files(photos[:1])).json()["results"][0]
    assert (result["set"], result["abstained"], result["pin"]) == (None, False, None)


def test_metrics_count_requests_photos_and_refusals(bundle: Path, photos: list[Path]):
    with TestClient(create(bundle)) as client:
        client.post("/api/predict", files=files(photos[:3]))
        client.post("/api/predict", files={"files": ("a", b"no photo")})
        client.get("/api/../../etc/passwd?name=secret")
        text = client.get("/metrics").text
    assert 'whichland_photos_total{result="judged"} 3.0' in text
    assert 'whichland_photos_total{result="unreadable"} 1.0' in text
    assert 'whichland_requests_total{method="POST",route="/api/predict",status="422"} 1.0' in text
    assert "whichland_photos_inside 0.0" in text
    assert "whichland_upload_bytes 0.0" in text
    assert "secret" not in text
    assert "passwd" not in text


def test_no_answer_holds_a_path_of_the_server(client: TestClient, bundle: Path, photos: list[Path]):
    answers = [
        client.get("/api/info"),
        client.post("/api/predict", files=files(photos[:1])),
        client.post("/api/explain", files={"file": ("a.jpg", photos[0].read_bytes())}, data={"method": "x"}),
        client.get("/nothing"),
        client.get("/metrics"),
        client.get("/openapi.json"),
    ]
    for answer in answers:
        assert str(bundle.parent) not in answer.text + json.dumps(dict(answer.headers))
        assert "site-packages" not in answer.text


def test_a_defect_is_an_answer_without_a_word_of_the_inside(bundle: Path, photos: list[Path]):
    from dataclasses import replace

    from whichland.serving.batching import Batcher

    def broken(crops: np.ndarray) -> np.ndarray:
        raise RuntimeError(f"/secret/place {crops.shape}")

    service = replace(service_of(bundle), batcher=Batcher(broken, batch=4))
    with TestClient(create_app(service), raise_server_exceptions=False) as client:
        answer = client.post("/api/predict", files=files(photos[:1]))
        assert answer.status_code == 500
        assert list(answer.json()) == ["error"]
        assert "secret" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert client.post("/api/predict", files={"files": ("a", b"")}).status_code == 422  # it lives on


def test_what_cannot_be_opened_to_explain_with_answers_all_the_same(
    bundle: Path, photos: list[Path], capsys: pytest.CaptureFixture[str]
):
    from dataclasses import replace

    from whichland.errors import UserError

    def damaged():
        raise UserError(f"{bundle}: damaged")

    service = replace(service_of(bundle), explaining=damaged)
    with TestClient(create_app(service)) as client:
        service.get_ready_to_explain()
        answer = client.post("/api/explain", files={"file": ("a.jpg", photos[0].read_bytes())})
        assert answer.status_code == 422
        assert "cannot be opened to explain with" in answer.json()["error"]
        assert str(bundle) not in answer.text
        assert client.post("/api/predict", files=files(photos[:1])).status_code == 200
    assert capsys.readouterr().err == f"warning: nothing can be explained: {bundle}: damaged\n"


def test_a_wide_photo_is_seen_in_several_views_as_predict_sees_it(client: TestClient, bundle: Path):
    from whichland.images.photo import open_photo
    from whichland.model.views import combined, cut_views

    file = io.BytesIO()
    Image.fromarray(pixels(3, height=80, width=320)).save(file, "PNG")
    crops = cut_views(open_photo(file.getvalue()), load(bundle).preprocess).crops
    assert len(crops) > 1
    expected = combined(service_of(bundle).model.probabilities(np.stack(crops)))
    result = client.post("/api/predict", files={"files": ("wide.png", file.getvalue())}).json()["results"][0]
    assert np.allclose([result["probabilities"][label] for label in LABELS], expected, atol=2e-6)


def test_words_cover_all_odds_and_rise_with_them():
    bounds = [least for least, _ in WORDS]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] == 0
    assert words(1.0) == "virtually certain"
    assert words(0.66) == "likely"
    assert words(0.659) == "more likely than not"
