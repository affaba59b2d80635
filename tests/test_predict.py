"""Prediction in batches: order, errors in their places, one model's answer however the photos come."""

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_bundle import LABELS, make_bundle, make_photos
from whichland.images.decode import ImageError, load
from whichland.model import bundle as bundles
from whichland.model.model import predict
from whichland.model.views import BATCHES_AHEAD


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> bundles.Bundle:
    return bundles.load(make_bundle(tmp_path_factory.mktemp("run") / "bundle"))


def test_answers_come_in_input_order_and_do_not_depend_on_the_batch(bundle: bundles.Bundle, tmp_path: Path) -> None:
    photos = make_photos(tmp_path, 11)
    photos = [*photos[5:], *photos[:5], photos[0]]
    together = list(predict(bundle, photos, batch_size=4))
    assert [answer.path for answer in together] == [str(photo) for photo in photos]
    for photo, answer in zip(photos, together, strict=True):
        probabilities, alone = answer.probabilities, predict(bundle, photo).probabilities
        np.testing.assert_allclose(probabilities, alone, atol=1e-5)
        assert probabilities.shape == (len(LABELS),)
        assert probabilities.sum() == pytest.approx(1, abs=1e-5)
    # the photos must differ in their answers, or the order above proves nothing
    assert len({tuple(answer.probabilities.round(4)) for answer in together}) == 11


def test_it_is_the_softmax_of_the_model_on_the_cropped_photo(bundle: bundles.Bundle, tmp_path: Path) -> None:
    (photo,) = make_photos(tmp_path, 1)
    crop = bundle.preprocess.crop(load(str(photo)))
    mean, std = torch.tensor(bundle.preprocess.mean), torch.tensor(bundle.preprocess.std)
    x_BCHW = ((torch.from_numpy(crop.copy()) / 255 - mean) / std).permute(2, 0, 1)[None]
    with torch.no_grad():
        wanted = torch.softmax(bundle.model(x_BCHW), dim=1)[0].numpy()
    probabilities = predict(bundle, photo).probabilities
    np.testing.assert_allclose(probabilities, wanted, atol=1e-5)


def test_an_unreadable_photo_keeps_its_place_and_the_rest_go_on(bundle: bundles.Bundle, tmp_path: Path) -> None:
    photos = make_photos(tmp_path, 5)
    broken, gone = tmp_path / "broken.jpg", tmp_path / "gone.jpg"
    broken.write_bytes(photos[0].read_bytes()[:300])
    everything = [broken, *photos[:3], gone, *photos[3:]]
    results = list(predict(bundle, everything, batch_size=2))
    assert [isinstance(result.error, ImageError) for result in results] == [True, *[False] * 3, True, *[False] * 2]
    assert str(results[0].error).startswith(str(broken))
    alone = [answer.probabilities for answer in predict(bundle, photos)]
    np.testing.assert_allclose([r.probabilities for r in results if r.error is None], alone, atol=1e-5)


def test_a_batch_of_errors_only_needs_no_model(bundle: bundles.Bundle, tmp_path: Path) -> None:
    results = list(predict(bundle, [tmp_path / "a.jpg", tmp_path / "b.jpg"], batch_size=1))
    assert all(isinstance(result.error, ImageError) for result in results)


def test_no_more_than_a_few_batches_are_taken_ahead_and_stopping_early_stops_the_threads(
    bundle: bundles.Bundle, tmp_path: Path
) -> None:
    (photo,) = make_photos(tmp_path, 1)
    taken = itertools.count()
    endless = (photo for _ in taken)
    results = predict(bundle, endless, batch_size=2)
    next(results)
    assert next(taken) <= (BATCHES_AHEAD + 1) * 2 + 1
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_temperature_softens_the_odds(tmp_path: Path) -> None:
    (photo,) = make_photos(tmp_path / "photos", 1)
    plain = bundles.load(make_bundle(tmp_path / "plain"))
    soft = bundles.load(make_bundle(tmp_path / "soft", temperature=3.0))
    probabilities = predict(plain, photo).probabilities
    softer = predict(soft, photo).probabilities
    wanted = probabilities ** (1 / 3)
    np.testing.assert_allclose(softer, wanted / wanted.sum(), rtol=1e-4)
    assert softer.max() < probabilities.max()
