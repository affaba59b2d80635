"""What a camera wrote into a file: how it was held counts, where it was does not, but for a comparison."""

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import ExifTags, Image

from tiny_bundle import make_bundle, pixels
from whichland.bulk.config import PredictConfig
from whichland.bulk.inputs import find_photos
from whichland.bulk.rows import ExifCount, answers, countries_at
from whichland.bulk.run import predict_to
from whichland.model.model import load
from whichland.sources.exif import stated_place

PARIS, TOKYO, OCEAN = (48.8566, 2.3522), (35.6764, 139.65), (-30.0, -120.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("run") / "bundle")


def exif(place: tuple[float, float] | None = None, orientation: int = 1) -> Image.Exif:
    made = Image.Exif()
    made[ExifTags.Base.Orientation] = orientation
    if place:
        gps = made.get_ifd(ExifTags.IFD.GPSInfo)
        for value, tag, names in zip(place, (1, 3), ("NS", "EW"), strict=True):
            gps[tag] = names[value < 0]
            gps[tag + 1] = (abs(value), 0.0, 0.0)
    return made


def saved(path: Path, picture: np.ndarray, **facts: object) -> Path:
    Image.fromarray(picture).save(path, exif=exif(**facts))  # type: ignore[arg-type]
    return path


def test_the_place_in_a_file_changes_no_answer_and_is_compared(bundle: Path, tmp_path: Path) -> None:
    seen = pixels(1)
    places = {"none.jpg": None, "paris.jpg": PARIS, "tokyo.jpg": TOKYO, "ocean.jpg": OCEAN, "zero.jpg": (0.0, 0.0)}
    for name, place in places.items():
        saved(tmp_path / name, seen, place=place)
    photos = find_photos(str(tmp_path / name) for name in places)
    done = predict_to(bundle, photos, tmp_path / "a.parquet", PredictConfig(check_exif=True, top=7))
    table = pl.read_parquet(tmp_path / "a.parquet")
    probabilities = table.select(pl.col("^(country|probability).*$")).unique()
    assert probabilities.height == 1
    assert table["exif_country"].to_list() == [None, "FR", "JP", None, None]
    np.testing.assert_allclose(table.select("exif_lat", "exif_lon")[1].row(0), PARIS, atol=1e-4)
    assert table["exif_lat"].is_null().to_list() == [True, False, False, False, True]
    guess = table["country"][0]
    assert table["agrees"].to_list() == [None, guess == "FR", guess == "JP", None, None]
    assert done.exif is not None
    assert (done.exif.photos, done.exif.placed, done.exif.agree) == (5, 2, int(guess in ("FR", "JP")))
    # without the comparison nothing of it is there
    predict_to(bundle, photos, tmp_path / "b.parquet", PredictConfig(top=7))
    plain = pl.read_parquet(tmp_path / "b.parquet")
    assert not [name for name in plain.columns if "exif" in name]
    assert plain.select(probabilities.columns).equals(table.select(probabilities.columns))


def test_a_photo_taken_sideways_is_seen_upright(bundle: Path, tmp_path: Path) -> None:
    upright = pixels(2)
    sideways = np.ascontiguousarray(np.rot90(upright))  # orientation 6 turns it back, clockwise
    paths = [
        saved(tmp_path / "upright.png", upright),
        saved(tmp_path / "sideways.png", sideways, orientation=6),
        saved(tmp_path / "lying.png", sideways),
    ]
    (batch,) = answers(load(bundle), list(map(str, paths)), PredictConfig(), addresses=False)
    first, second, third = (answer.probabilities for answer, _ in batch)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - third).max() > 0.001


def test_what_is_no_place_is_none() -> None:
    file = io.BytesIO()
    Image.fromarray(pixels(1)).save(file, "JPEG", exif=exif((95.0, 10.0)))
    assert stated_place(file.getvalue()) is None
    assert stated_place(b"no photo") is None
    assert countries_at([None, PARIS, OCEAN]) == [None, "FR", None]
    assert countries_at([]) == []


def test_the_count_in_words() -> None:
    count = ExifCount()
    count.add([None, None])
    assert str(count) == "EXIF: none of 2 photos says where it was taken"
    count.add([True, True, False])
    assert "3 of 5 photos say" in str(count)
    assert "2 of them (66.7%)" in str(count)
