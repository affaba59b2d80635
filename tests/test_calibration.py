"""Calibration: what is fitted is right for simulated models, kept whole in the bundle, and used by `predict`."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tiny_bundle import LABELS, make_bundle, make_photos
from whichland.cli.commands import root
from whichland.errors import UserError
from whichland.evaluation.calibration import CalibrateConfig, calibrate, temperature_interval
from whichland.manifest import Manifest, write
from whichland.model import bundle as bundles
from whichland.model.bundle import Info
from whichland.model.calibration import (
    Abstention,
    Calibration,
    abstention,
    fit,
    fit_temperature,
    group_weights,
    log_softmax,
    set_threshold,
)
from whichland.model.model import predict, softmax


def simulated(photos: int, seed: int, *, too_sure: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits N×7 and truths that follow their softmax at the temperature `too_sure`."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (photos, 7))
    probabilities = np.exp(log_softmax(logits))
    return logits * too_sure, (probabilities.cumsum(axis=1) > random.random((photos, 1))).argmax(axis=1)


@pytest.mark.parametrize("too_sure", [0.5, 1.0, 2.5])
def test_the_temperature_of_a_model_that_is_too_sure_or_not_sure_enough_is_found(too_sure: float) -> None:
    logits, truth = simulated(6000, 0, too_sure=too_sure)
    found = fit_temperature(logits, truth)
    assert found == pytest.approx(too_sure, rel=0.06)
    score = temperature_interval(logits, truth, np.arange(6000), found)
    assert score.low < too_sure < score.high
    assert score.high - score.low < 0.2 * too_sure
    losses = [-log_softmax(logits, found * factor)[np.arange(6000), truth].mean() for factor in (0.98, 1.0, 1.02)]
    assert losses[1] == min(losses)


def test_a_few_photos_that_are_all_right_do_not_make_a_model_sure_of_everything() -> None:
    logits = np.eye(7)[np.arange(70) % 7] * 2
    few, many = (fit_temperature(logits[:n], np.arange(n) % 7) for n in (5, 70))
    assert 0.35 < few < 1
    assert 0.2 < many < few
    assert fit_temperature(-logits, np.arange(70) % 7) == pytest.approx(10, rel=1e-6)  # always wrong


def test_a_group_counts_once_however_many_photos_it_has() -> None:
    assert group_weights(["a", "a", None, "b", None, "a"]).tolist() == pytest.approx([1 / 3, 1 / 3, 1, 1, 1, 1 / 3])
    logits, truth = simulated(300, 1)
    probabilities = np.exp(log_softmax(logits))
    repeated = np.repeat(np.arange(300), np.where(np.arange(300) < 20, 50, 1))  # twenty drives of fifty frames
    once = set_threshold(probabilities, truth, np.ones(300), 0.9)
    assert set_threshold(probabilities[repeated], truth[repeated], group_weights(repeated), 0.9) == once
    assert set_threshold(probabilities[repeated], truth[repeated], np.ones(len(repeated)), 0.9) != once


def test_the_threshold_of_sets_leaves_room_for_one_group_that_was_not_seen() -> None:
    truth = np.zeros(19, np.int64)
    probabilities = np.linspace(0.05, 0.95, 19)[:, None] * np.array([1, 0]) + np.array([0, 0.01])
    # 18 of 19 + 1 are 90 %
    assert set_threshold(probabilities, truth, np.ones(19), 0.9) == pytest.approx(0.10)
    assert set_threshold(probabilities, truth, np.ones(19), 0.95) == pytest.approx(0.05)
    assert set_threshold(probabilities, truth, np.ones(19), 0.96) == 0  # too few groups: all countries


def test_sets_hold_the_truth_as_often_as_they_say() -> None:
    held = []
    for seed in range(60):
        logits, truth = simulated(400, seed, too_sure=2)
        found = fit(logits[:200], truth[:200], [None] * 200)
        within = found.set_of(np.exp(log_softmax(logits[200:], found.temperature)), 0.9)
        held.append(within[np.arange(200), truth[200:]].mean())
        assert within.sum(axis=1).min() >= 1
    assert np.mean(held) == pytest.approx(0.9, abs=0.012)  # three standard errors of the mean of sixty


def test_abstention_keeps_the_accuracy_and_says_when_it_cannot() -> None:
    logits, truth = simulated(4000, 3)
    probabilities = np.exp(log_softmax(logits))
    right = probabilities.argmax(axis=1) == truth
    found = abstention(probabilities, truth, np.ones(4000), 0.9)
    answered = probabilities.max(axis=1) >= found.threshold
    assert found.answered == pytest.approx(answered.mean())
    assert found.right == pytest.approx(right[answered].mean())
    assert found.right >= 0.9
    looser = probabilities.max(axis=1) >= found.threshold - 0.03
    assert (~right[looser]).sum() + 1 > 0.1 * (looser.sum() + 1)
    assert abstention(probabilities[:20], 1 - right[:20].astype(int), np.ones(20), 0.95).threshold is None
    everything = abstention(probabilities, probabilities.argmax(axis=1), np.ones(4000), 0.9)
    assert everything.answered == 1


def test_the_share_that_is_answered_is_at_most_one_however_sums_are_rounded() -> None:
    sizes = np.random.default_rng(0).integers(1, 9, 90)
    weights = np.repeat(1 / sizes, sizes)
    probs = np.column_stack([np.linspace(0.6, 0.9, len(weights)), np.linspace(0.4, 0.1, len(weights))])
    found = abstention(probs, np.zeros(len(weights), np.int64), weights, 0.8)
    assert np.cumsum(weights[::-1])[-1] > weights.sum(), "these are rounded so"
    assert found.answered == 1.0


@pytest.mark.parametrize("accuracy", [0.1, 0.4, 0.6, 0.8, 0.95])
def test_a_threshold_to_answer_keeps_its_promise_whatever_the_model(accuracy: float) -> None:
    """The truth is known: photos of probability p are right with chance r(p). At most a tenth of thresholds break."""
    random = np.random.default_rng(round(accuracy * 100))

    def drawn(photos: int) -> tuple[np.ndarray, np.ndarray]:
        skill = np.log(accuracy / (1 - accuracy)) + random.normal(0, 1.5, photos)
        first = np.clip(1 / (1 + np.exp(-0.7 * skill)), 0.26, 0.999)  # too sure or not sure enough
        rest = (1 - first[:, None]) / 4 * np.ones(4)
        right = random.random(photos) < 1 / (1 + np.exp(-skill))
        return np.column_stack([first, rest]), np.where(right, 0, 1)

    unseen, truth = drawn(100_000)
    given = broken = 0
    for _ in range(120):
        found = abstention(*drawn(200), np.ones(200), 0.8)
        if found.threshold is not None:
            given += 1
            broken += bool((truth[unseen[:, 0] >= found.threshold] == 0).mean() < 0.8)
    assert broken <= 0.1 * 120 + 3 * np.sqrt(0.09 * 120)  # three standard errors above a tenth
    assert given == 0 if accuracy <= 0.1 else given > 100 if accuracy >= 0.95 else True


def test_photos_that_are_answered_alike_are_covered_as_promised() -> None:
    """Few distinct outputs tie at the threshold, which is fitted in float64 and compared in float32."""
    random = np.random.default_rng(0)
    for _ in range(60):
        logits = np.repeat(random.normal(0, 1, (1, 10)).astype(np.float32), 600, axis=0)
        served = softmax(logits, 1.0)
        truth = random.choice(10, p=served[0] / served[0].sum(dtype=np.float64), size=600)
        found = fit(np.log(served.astype(np.float64)), truth, np.arange(600))
        answered = softmax(logits, found.temperature)
        assert found.set_of(answered, 0.9)[np.arange(600), truth].mean() >= 0.9


def world(folder: Path, photos: int = 48) -> Manifest:
    """Validation photos in pairs, of the countries that a model for tests guesses and of others; a test photo."""
    made = make_photos(folder, photos + 1)
    rows = [
        {
            "image_id": f"t:{n:03}", "uri": str(photo), "source": "t", "country": LABELS[n // 2 % 7],
            "group": f"g{n // 2}", "split": "val" if n < photos else "test",
        }
        for n, photo in enumerate(made)
    ]  # fmt: skip
    return Manifest(pl.DataFrame(rows))


def test_the_bundle_keeps_the_calibration_whole_and_answers_by_it(tmp_path: Path) -> None:
    table = world(tmp_path / "photos")
    bundle = make_bundle(tmp_path / "bundle", temperature=1.0, train={"arch": "test_resnet"})
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    plain = [answer.probabilities for answer in predict(bundles.load(bundle), table.frame["uri"])]
    found = calibrate(bundle, table, CalibrateConfig(levels=(0.5, 0.9), accuracies=(0.3,)))
    changed = [name for name, content in before.items() if (bundle / name).read_bytes() != content]
    assert changed == ["whichland.json"]
    assert {path.name for path in bundle.iterdir()} == set(before)
    loaded = bundles.load(bundle)
    assert loaded.info.train == {"arch": "test_resnet"}
    assert loaded.info.temperature == found.calibration.temperature != 1
    assert loaded.info.calibration == found.calibration
    assert (found.calibration.photos, found.calibration.groups) == (48, 24)
    assert set(found.calibration.sets) == {0.5, 0.9}
    probabilities = [answer.probabilities for answer in predict(loaded, table.frame["uri"])]
    np.testing.assert_allclose(
        probabilities, np.exp(log_softmax(np.log(plain), found.calibration.temperature)), rtol=1e-3, atol=1e-6
    )
    assert found.change.nll.value == pytest.approx(found.fitted.nll.value - found.plain.nll.value)
    again = calibrate(bundle, table, CalibrateConfig(levels=(0.5, 0.9), accuracies=(0.3,)))
    assert again.calibration == found.calibration  # what was fitted before does not count twice


def test_test_photos_do_not_count(tmp_path: Path) -> None:
    table = world(tmp_path / "photos")
    bundle = make_bundle(tmp_path / "bundle")
    found = calibrate(bundle, table)
    other = table.frame.filter(pl.col("split") == "val")
    assert calibrate(bundle, Manifest(other)).calibration == found.calibration
    with pytest.raises(UserError, match="no kept photos in split 'val'"):
        calibrate(bundle, Manifest(table.frame.filter(pl.col("split") == "test")))
    with pytest.raises(UserError, match="give a share between 0 and 1"):
        CalibrateConfig(levels=(90,))


def run(*arguments: object) -> None:
    root()([*map(str, arguments)], prog_name="whichland", standalone_mode=False)


def test_predict_names_the_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write(world(tmp_path / "photos"), tmp_path / "m.parquet")
    bundle = make_bundle(tmp_path / "bundle")
    photo = tmp_path / "photos" / "photo_0003.jpg"
    with pytest.raises(UserError, match="is not calibrated; run `whichland calibrate"):
        run("predict", bundle, photo, "--sets", 90)
    run("calibrate", bundle, table, "--levels", "0.5,0.9", "--json")
    kept = json.loads(capsys.readouterr().out)["sets"]
    with pytest.raises(UserError, match="keeps sets of 50, 90 %, not 80 %"):
        run("predict", bundle, photo, "--sets", 80)

    loaded = bundles.load(bundle)
    answer = predict(loaded, photo)
    probabilities = answer.probabilities
    for level in (0.5, 0.9):
        named = answer.set(level)
        assert set(named) == {c for c, p in zip(LABELS, probabilities, strict=True) if p >= kept[f"{level}"]} | {
            named[0]
        }
        run("predict", bundle, photo, "--sets", 100 * level, "--json")
        assert json.loads(capsys.readouterr().out)["set"] == list(named)
    run("predict", bundle, photo, "--sets", 90)
    assert capsys.readouterr().out.endswith(f"; one of {', '.join(named)} at 90 %\n")
    run("predict", bundle, photo, "--sets", 90, "--csv", "--top", 1)
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["set_90"].split() == list(named)


def test_the_command_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write(world(tmp_path / "photos"), tmp_path / "m.parquet")
    bundle = make_bundle(tmp_path / "bundle", split_certificate={"seed": 0, "groups": 9, "assignment_sha256": ""})
    run("calibrate", bundle, table)
    out = capsys.readouterr().out
    kept = bundles.load(bundle).info.calibration
    assert "48 validation photos in 24 groups" in out
    assert f"temperature {kept.temperature:.3f} (" in out
    assert "no threshold keeps 95 % of the answers right" in out
    assert "may have been trained on" in out


def test_a_calibration_survives_json() -> None:
    kept = {0.8: Abstention(threshold=None, answered=0, right=0), 0.9: Abstention(threshold=0.7, answered=0.2, right=1)}
    before = Calibration(temperature=1.25, photos=9, groups=7, sets={0.9: 0.1}, abstain=kept)
    info = Info.model_validate(json.loads(json.dumps(Info().calibrated(before).written)))
    assert (info.calibration, info.temperature) == (before, 1.25)
    assert Info.model_validate({"temperature": 1.0}).calibration is None


def test_validation_of_one_country_is_said_to_determine_nothing(tmp_path: Path) -> None:
    table = world(tmp_path / "photos")
    one = table.frame.filter((pl.col("country") == LABELS[0]) | (pl.col("split") == "test"))
    found = calibrate(make_bundle(tmp_path / "bundle"), Manifest(one))
    assert found.doubt is not None
    assert "show 1 of 7 labels" in found.doubt
