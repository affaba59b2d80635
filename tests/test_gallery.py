"""The gallery: only photos that may be shown, nothing of them but the picture, and only beside their own model."""

import base64
import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import forked
from curated import measured
from serving import create
from shown import SECRET, TRAIN, Shown, training_photos
from shown import shown as shown
from tiny_bundle import LABELS, make_bundle, make_photos, pixels
from whichland.errors import UserError
from whichland.images.preprocess import Preprocess
from whichland.manifest import Manifest
from whichland.model import gallery as module
from whichland.model.bundle import GALLERY as FILE
from whichland.model.export import ExportConfig, export
from whichland.model.gallery import Gallery, photos_to_show, read_gallery
from whichland.model.label_sources import countries
from whichland.model.model import load as open_model
from whichland.serving import service as service_module
from whichland.serving.answers import PhotoAnswers
from whichland.whole_file import file_sha256


def copied(shown: Shown, folder: Path) -> Path:
    return Path(shutil.copytree(shown.bundle, folder / "bundle"))


def train(count: int, **columns: Any) -> Manifest:
    made = measured(count, **({"countries": LABELS} | columns))
    return made.with_step("split", made.frame.with_columns(pl.lit("train").alias("split")))


def changed(manifest: Manifest, **columns: Any) -> Manifest:
    return manifest.with_step("test", manifest.frame.with_columns(**columns))


@pytest.mark.parametrize(
    ("license", "creator", "attribution", "open_"),
    [
        ("CC0-1.0", None, None, True),
        ("CC-PDDC", None, None, True),
        ("PDDL-1.0", None, None, True),
        ("CC-BY-4.0", "contributor 7", None, True),
        ("CC-BY-SA-4.0", None, "contributor 7, CC BY-SA 4.0", True),
        ("cc-by-sa-3.0-de", "contributor 7", None, True),
        ("CC-BY-4.0", None, None, False),  # it asks for a name, and there is none
        ("CC-BY-NC-4.0", "contributor 7", None, False),
        ("CC-BY-ND-4.0", "contributor 7", None, False),
        ("CC-BY-4.0-NC", "contributor 7", None, False),
        ("CC-BY-NC-SA-4.0", "contributor 7", None, False),
        ("all rights reserved", "contributor 7", None, False),
        (None, "contributor 7", "© contributor 7", False),
    ],
)
def test_what_an_open_licence_is(
    license: str | None, creator: str | None, attribution: str | None, open_: bool
) -> None:
    made = train(7, license=[license], creator=[creator], attribution=[attribution])
    if open_:
        assert photos_to_show(made, countries(LABELS), "open", 100).height == 7
    else:
        with pytest.raises(UserError, match="--gallery any"):
            photos_to_show(made, countries(LABELS), "open", 100)
    assert photos_to_show(made, countries(LABELS), "any", 100).height == 7


def test_only_what_may_be_shown_is_and_the_rest_is_told_in_one_line() -> None:
    made = train(14, license=["CC-BY-NC-4.0", "CC0-1.0"])
    assert photos_to_show(made, countries(LABELS), "open", 100)["license"].unique().to_list() == ["CC0-1.0"]
    with pytest.raises(UserError) as told:
        photos_to_show(train(14, license=["CC-BY-NC-4.0", "CC-BY-NC-4.0", None]), countries(LABELS), "open", 100)
    assert "none of the 14 training photos" in str(told.value)
    assert "CC-BY-NC-4.0 (10), no licence (4)" in str(told.value)
    assert "\n" not in str(told.value)


def test_only_kept_training_photos_of_countries_that_the_model_knows() -> None:
    made = train(40, countries=[*LABELS, "BR"], license=["CC0-1.0"])
    split, reason = (pl.Series(["train"] * 20 + ["val", "test"] * 10), pl.Series([None, None, None, "dark"] * 10))
    made = changed(made, split=split, drop_reason=reason)
    found = photos_to_show(made, countries(LABELS), "any", 100)
    assert set(found["split"]) == {"train"}
    assert found["drop_reason"].null_count() == found.height > 0
    assert "BR" not in set(found["country"])


def test_countries_have_as_many_and_drives_come_one_by_one() -> None:
    common = train(200, countries=["FR"] * 16 + ["JP", "NA", "NO", "US"], license=["CC0-1.0"])
    common = changed(common, group=pl.format("drive-{}", pl.int_range(pl.len()) // 20 % 4))
    found = photos_to_show(common, countries(LABELS), "open", 30)
    counts = dict(found["country"].value_counts().iter_rows())
    assert counts == {"FR": 6, "JP": 6, "NA": 6, "NO": 6, "US": 6}
    assert found.filter(pl.col("country") == "FR").head(4)["drive"].n_unique() == 4
    assert found["image_id"].to_list() == photos_to_show(common, countries(LABELS), "open", 30)["image_id"].to_list()


def test_nothing_of_a_photo_goes_into_the_file_but_what_is_shown(shown: Shown) -> None:
    frame = pl.read_parquet(shown.bundle / FILE)
    assert frame.columns == ["country", "license", "credit", "features", "thumbnail", "drive"]
    assert sorted(frame["country"]) == sorted([*LABELS] * 3)
    assert set(frame["credit"]) == {
        "contributor 7, Mapillary, CC BY-SA 4.0",
        "contributor 7, CC0-1.0",
        "contributor 7, CC-BY-4.0",
    }
    plain = io.BytesIO()  # as it is when nothing is compressed
    frame.write_parquet(plain, compression="uncompressed")
    metadata = pl.read_parquet_metadata(shown.bundle / FILE)
    everything = plain.getvalue() + json.dumps(metadata).encode() + (shown.bundle / FILE).read_bytes()
    secrets = [SECRET, "secret-path", "60.1", *shown.manifest.frame["image_id"], "drive-", str(shown.bundle.parent)]
    for secret in secrets:
        assert secret.encode() not in everything, secret
    for thumbnail in frame["thumbnail"]:
        picture = Image.open(io.BytesIO(thumbnail))
        assert picture.format == "JPEG"
        assert picture.size == (64, 64)  # all that this model sees
        assert not picture.getexif()
        assert not {"exif", "comment", "icc_profile"} & set(picture.info)


def test_the_nearest_of_a_training_photo_is_itself_and_then_come_other_drives(shown: Shown) -> None:
    gallery, runner = read_gallery(shown.bundle), open_model(shown.bundle, engine="torch")
    assert gallery is not None
    seen = [runner.preprocess.crop(np.asarray(Image.open(path))) for path in shown.photos]
    for judged, crop in zip(runner.judged(np.stack(seen)), seen, strict=True):
        assert judged.features is not None
        (first, row), *rest = gallery.nearest(judged.features, 4)
        assert first == pytest.approx(1, abs=1e-3)
        own = np.asarray(Image.open(io.BytesIO(gallery.photos["thumbnail"][row])), float)
        assert np.abs(own - crop).mean() < 12, "the thumbnail is of the photo itself"
        rows = [row, *(at for _, at in rest)]
        assert len({gallery.photos["drive"][at] for at in rows}) == 4
        similarities = [first, *(near for near, _ in rest)]
        assert similarities == sorted(similarities, reverse=True)
    assert len(gallery.nearest(judged.features, 100)) == TRAIN // 3


def test_near_is_the_cosine_of_features_at_length_one_less_their_mean() -> None:
    random = np.random.default_rng(0)
    features_NF = (random.normal(size=(30, 7)) * random.uniform(1, 9, (30, 1)) + 2).astype(np.float32)
    gallery = Gallery.of(pl.DataFrame({"drive": range(30)}), features_NF)
    unit_NF = features_NF / np.linalg.norm(features_NF, axis=1, keepdims=True)
    own_F = random.normal(size=7)
    one_F, middle_NF = own_F / np.linalg.norm(own_F) - unit_NF.mean(axis=0), unit_NF - unit_NF.mean(axis=0)
    wanted = middle_NF @ one_F / np.linalg.norm(middle_NF, axis=1) / np.linalg.norm(one_F)
    found = gallery.nearest(own_F.astype(np.float32), 30)
    assert [row for _, row in found] == np.argsort(-wanted).tolist()
    assert [near for near, _ in found] == pytest.approx(np.sort(wanted)[::-1], abs=1e-5)


def test_a_new_temperature_leaves_it_and_other_weights_hide_and_remove_it(
    shown: Shown, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(shown, tmp_path)
    before = (folder / FILE).read_bytes()
    info = json.loads((folder / "whichland.json").read_text(encoding="utf-8"))
    (folder / "whichland.json").write_text(json.dumps(info | {"temperature": 3.0}), encoding="utf-8")
    assert read_gallery(folder) is not None
    assert export(folder).written == ("model.onnx",)
    assert read_gallery(folder) is not None
    assert (folder / FILE).read_bytes() == before
    weights = bytearray((folder / "model.safetensors").read_bytes())
    (folder / "model.safetensors").unlink()  # where only model.onnx was copied along
    assert read_gallery(folder) is not None
    assert capsys.readouterr().err == ""

    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert read_gallery(folder) is None
    told = capsys.readouterr().err
    assert "made with another model, so it is not shown" in told
    assert told.count("\n") == 1
    with TestClient(create(folder, engine="torch")) as client:
        assert client.get("/api/info").json()["neighbours"] is False
    with pytest.raises(UserError, match="exported from other weights"):
        create(folder)
    assert export(folder).written == ("model.onnx",)
    assert not (folder / FILE).exists()
    assert FILE not in json.loads((folder / "whichland.json").read_text(encoding="utf-8"))["export"]["files"]


def note_hash(folder: Path) -> None:
    """Let the record say that gallery.parquet is as it was written."""
    info = json.loads((folder / "whichland.json").read_text(encoding="utf-8"))
    info["export"]["files"][FILE]["sha256"] = file_sha256(folder / FILE)
    (folder / "whichland.json").write_text(json.dumps(info), encoding="utf-8")


def test_a_damaged_file_is_one_clear_line(shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copied(shown, tmp_path)
    path, whole = folder / FILE, (folder / FILE).read_bytes()
    for damaged in (whole[:-100], b"", whole[:5000] + b"\0" + whole[5001:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="SHA-256 differs"):
            create(folder)
    path.write_bytes(whole[:-100])
    note_hash(folder)
    assert read_gallery(folder) is None, "what it was made with cannot be told"
    made_with = pl.read_parquet_metadata(shown.bundle / FILE)
    pl.DataFrame({"country": ["FR"]}).write_parquet(path, metadata=made_with)
    note_hash(folder)
    with pytest.raises(UserError, match="not the photos of a gallery"):
        read_gallery(folder)
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    path.write_bytes(whole)
    with pytest.raises(UserError, match="over 0; remove it"):
        read_gallery(folder)
    with pytest.raises(UserError, match="--gallery-photos"):
        export(folder, shown.manifest, ExportConfig(gallery="any"))
    assert path.read_bytes() == whole


def test_the_record_counts_and_a_file_of_somebody_else_stays(shown: Shown, tmp_path: Path) -> None:
    folder = copied(shown, tmp_path)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(shown.photos[0].read_bytes()[:300])
    manifest = training_photos([broken, *shown.photos[1:]])
    done = export(folder, manifest, ExportConfig(gallery="any", gallery_photos=20))
    assert done.written == (FILE,)
    kept = done.record["files"][FILE]
    assert (kept["photos"] + kept["unreadable"], kept["gallery"]) == (20, "any")
    assert pl.read_parquet(folder / FILE).height == kept["photos"]
    none = changed(manifest, uri=pl.lit(str(broken)))
    with pytest.raises(UserError, match="no photo for the gallery can be read, of 21"):
        export(folder, none, ExportConfig(gallery="any"))
    with pytest.raises(UserError, match="--photos"):
        export(folder, None, ExportConfig(gallery="open"))
    with pytest.raises(UserError, match="gallery_photos"):
        ExportConfig(gallery_photos=0)
    plain = make_bundle(tmp_path / "plain")
    (plain / FILE).write_bytes(b"mine")
    with pytest.raises(UserError, match="--force"):
        export(plain, manifest, ExportConfig(gallery="open"))
    with pytest.raises(UserError, match="not the file that was exported"):
        read_gallery(plain)
    assert (plain / FILE).read_bytes() == b"mine"


def test_the_command_says_what_it_wrote(shown: Shown, tmp_path: Path) -> None:
    from whichland.manifest import write

    folder = copied(shown, tmp_path)
    write(shown.manifest, tmp_path / "photos.parquet")
    command = ["export", str(folder), "--photos", str(tmp_path / "photos.parquet"), "--gallery", "open"]
    done = forked.run(["-m", "whichland", *command])
    assert done.returncode == 0, done.stderr
    assert "21 training photos: " in done.stdout
    assert "CC-BY-SA-4.0 (7)" in done.stdout


@pytest.mark.parametrize(
    ("crop_mode", "size", "expected"),
    [
        ("center", (224, 224), (160, 160)),
        ("center", (200, 464), (320, 138)),  # as wide as the model sees
        ("squash", (224, 224), (213, 160)),  # in the shape of the photo, not of what the model sees
    ],
)
def test_a_thumbnail_has_the_shape_of_what_the_model_saw(
    tmp_path: Path, crop_mode: Any, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    Image.fromarray(pixels(1, 480, 640)).save(tmp_path / "a.jpg")
    zero, one = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    preprocess = Preprocess(size=size, mean=zero, std=one, crop_mode=crop_mode)
    seen = module._seen(preprocess, str(tmp_path / "a.jpg"))
    assert not isinstance(seen, Exception)
    views, thumbnail = seen
    assert len(views.crops) == 1
    assert Image.open(io.BytesIO(thumbnail)).size == expected


def test_the_api_gives_neighbours_to_who_asks_for_them(shown: Shown) -> None:
    with TestClient(create(shown.bundle)) as client:
        assert client.get("/api/info").json()["neighbours"] is True

        def answer(**fields: str) -> Any:
            sent = {"files": ("a.jpg", shown.photos[4].read_bytes())}
            return client.post("/api/predict", files=sent, data=fields)

        assert answer().json()["results"][0]["neighbours"] is None
        assert answer(neighbours="0").json()["results"][0]["neighbours"] is None
        asked = answer(neighbours="3").json()
        PhotoAnswers.model_validate(asked, strict=True)
        found = asked["results"][0]["neighbours"]
        assert len(found) == 3
        assert len(answer(neighbours="12").json()["results"][0]["neighbours"]) == TRAIN // 3
        assert found[0]["similarity"] == pytest.approx(1, abs=1e-3)
        assert (found[0]["country"], found[0]["license"]) == ("FR", "CC0-1.0")
        assert found[0]["credit"] == "contributor 7, CC0-1.0"
        assert set(found[0]) == {"country", "similarity", "credit", "license", "thumbnail"}
        assert Image.open(io.BytesIO(base64.b64decode(found[0]["thumbnail"]))).format == "JPEG"
        for wrong in ("13", "-1", "six", "1.5", ""):
            refused = answer(neighbours=wrong)
            assert refused.status_code == 422, wrong
            assert refused.json() == {"error": "neighbours: not a whole number from 0 to 12"}


def test_the_engine_without_features_shows_none(shown: Shown) -> None:
    model = open_model(shown.bundle, engine="onnx")
    assert service_module._gallery(model) is not None
    assert service_module._gallery(replace(model, engine="int8")) is None


def test_a_bundle_without_a_gallery_has_no_neighbours(tmp_path: Path) -> None:
    (photo,) = make_photos(tmp_path / "photos", 1)
    with TestClient(create(make_bundle(tmp_path / "plain"))) as client:
        assert client.get("/api/info").json()["neighbours"] is False
        sent = {"files": ("a.jpg", photo.read_bytes())}
        (result,) = client.post("/api/predict", files=sent, data={"neighbours": "6"}).json()["results"]
        assert result["neighbours"] is None
        assert result["guesses"]


LIGHT = """
import sys
heavy = ("torch", "torchvision", "timm", "safetensors", "onnx", "onnxscript", "sklearn", "matplotlib")
sys.modules.update(dict.fromkeys(heavy))
import numpy as np
from whichland.serving.answers import neighbours
from whichland.serving.service import open_service
service = open_service(sys.argv[1])
(judged,) = service.model.judged(np.zeros((1, 64, 64, 3), np.uint8))
print(len(neighbours(service, judged.features, 6)), service.model.engine)
service.close()
"""


def test_it_is_shown_without_torch(shown: Shown) -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT, shown.bundle], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["6", "onnx"], done.stderr
