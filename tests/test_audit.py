"""The audit: it finds what was planted, raises no alarm where nothing was, and says when it cannot tell."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from curated import measured
from whichland.evaluation.audit_checks import Check, Limits, Sample, adjust, by_country, country_means, skill, verdict
from whichland.evaluation.audit_files import (
    ReadPhotos,
    file_effects,
    forest_guesses,
    header_table,
    read_photos,
    size_effects,
    size_table,
    source_check,
    thumbnail_effect,
    thumbnail_guesses,
)
from whichland.evaluation.audit_rim import AREAS, SHARE, Ask, area_check, draw_donors, look, mirror_check
from whichland.evaluation.metrics import balanced_accuracy
from whichland.images.preprocess import Preprocess
from whichland.manifest import Manifest

NAMES = ("AU", "BR", "DE", "FR", "GB", "JP", "TH", "US")
SIDE = 40


def street(seed: int, mark: Callable[[np.ndarray], None] | None, photos: int = 320) -> tuple[np.ndarray, ...]:
    """Pictures with a clue of their country in the middle, most of the time, two a group; JP's have a mark too."""
    random = np.random.default_rng(seed)
    group = np.arange(photos) // 2
    truth = (group * 7) % len(NAMES)
    crops = random.integers(90, 160, (photos, SIDE, SIDE, 3), dtype=np.uint8)
    for at, country in enumerate(truth):
        shown = country if random.random() < 0.8 else random.integers(len(NAMES))
        crops[at, 14:26, 10:30] = 20 + 25 * shown
        if mark and NAMES[country] == "JP":
            mark(crops[at])
    return crops, truth, group


def reader(seed: int, seen: Callable[[np.ndarray], np.ndarray] | None) -> Ask:
    """A model that reads the clue, and what `seen` says of JP's mark (B, 0 to 1), which counts for more."""
    noise = np.random.default_rng(seed)

    def ask(crops: np.ndarray) -> np.ndarray:
        shade = crops[:, 14:26, 10:30].astype(float).mean(axis=(1, 2, 3))
        logits = np.maximum(-(((shade[:, None] - 20 - 25 * np.arange(len(NAMES))) / 18) ** 2), -5)
        logits += noise.normal(0, 0.5, logits.shape)
        if seen is not None:
            logits[:, NAMES.index("JP")] += 14 * seen(crops) - 7
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True), np.float32)

    return ask


def looked(seed: int, ask: Ask, mark: Callable[[np.ndarray], None] | None, photos: int = 320) -> dict[str, Check]:
    """The checks of areas, decided among themselves."""
    crops, truth, group = street(seed, mark, photos)
    donors = draw_donors(truth, seed)
    changed = look(ask, crops, donors, "other", np.full(3, 128, np.uint8), seed)
    sample = Sample(country=truth, group=group, names=NAMES)
    checks = [area_check(name, changed, sample, range(len(NAMES)), donors) for name in AREAS]
    effects = adjust([check.effects for check in checks])
    return {
        check.name: Check(**{**vars(check), "effects": part, "verdict": verdict(part)})
        for check, part in zip(checks, effects, strict=True)
    }


def bonnet(crop: np.ndarray) -> None:
    crop[-4:] = 10


def logo(crop: np.ndarray) -> None:
    crop[-4:, -10:] = 250


def line(crop: np.ndarray) -> None:
    crop[-2:, -10:] = 250


def edge(crop: np.ndarray) -> None:
    crop[:1], crop[-1:], crop[:, :1], crop[:, -1:] = 0, 0, 0, 0


MARKS = {
    "bottom": (bonnet, lambda crops: (crops[:, -4:].mean(axis=(1, 2, 3)) < 60).astype(float)),
    "corners": (logo, lambda crops: (crops[:, -4:, -10:].mean(axis=(1, 2, 3)) > 200).astype(float)),
    "text": (line, lambda crops: (crops[:, -2:, -10:].mean(axis=(1, 2, 3)) > 200).astype(float)),
    "frame": (edge, lambda crops: (crops[:, 5:35, [0, -1]].mean(axis=(1, 2, 3)) < 60).astype(float)),
}


@pytest.mark.parametrize("area", MARKS)
def test_a_mark_at_the_rim_is_found_in_its_area_and_country(area: str) -> None:
    mark, seen = MARKS[area]
    checks = looked(1, reader(1, seen), mark)
    assert checks[area].alarm
    assert checks[area].countries == ("JP",)
    assert checks["top"].verdict == "not found"
    shown = {e.what: e for e in checks[area].effects if e.country == "JP"}
    assert shown["probabilities lost"].value > 0.5
    assert shown["probabilities drawn"].value > 0.5


def test_clean_worlds_raise_no_alarm() -> None:
    alarms = [
        (seed, name)
        for seed in range(24)
        for name, check in looked(seed, reader(seed, None), None, 160).items()
        if check.alarm
    ]
    assert alarms == []


def test_a_mark_that_the_model_does_not_use_is_no_alarm() -> None:
    assert not any(check.alarm for check in looked(3, reader(3, None), bonnet).values())


def test_too_few_photos_are_said_to_be_too_few() -> None:
    few = looked(5, reader(5, None), None, photos=40)
    assert {check.verdict for check in few.values()} == {"inconclusive"}
    many = looked(5, reader(5, None), None)
    assert {check.verdict for check in many.values()} == {"not found"}


@pytest.mark.parametrize(("height", "width"), [(40, 40), (96, 128), (224, 224), (331, 768)])
def test_areas_and_places_elsewhere_are_equally_large_and_apart(height: int, width: int) -> None:
    random = np.random.default_rng(0)
    for name, area in AREAS.items():
        inside = area.at(height, width)
        assert inside.mean() == pytest.approx(SHARE / 2 if name == "text" else SHARE, abs=0.02)
        for _ in range(20):
            other = area.elsewhere(height, width, random)
            assert other.sum() == inside.sum()
            assert not (inside & other).any()


def test_pieces_come_from_other_countries() -> None:
    truth = np.arange(60) % 4
    donors = draw_donors(truth, 0)
    assert (truth[donors] != truth).all()
    assert set(np.bincount(truth[donors], minlength=4) > 5) == {True}


def test_an_effect_needs_groups_and_its_interval_holds_the_truth() -> None:
    """Of 200 redrawn worlds with a true effect of 0.3, about 95 % of the intervals hold it."""
    limits = Limits(trivial=0.1, relevant=0.3, trivial_mean=0.1, relevant_mean=0.3)
    held = []
    for seed in range(200):
        random = np.random.default_rng(seed)
        group = np.arange(48) // 2
        values = np.repeat(random.normal(0.3, 0.2, 24), 2) + random.normal(0, 0.1, 48)
        country = np.where(group < 22, 0, 1)  # the second has two groups only
        sample = Sample(country=country, group=group, names=("A", "B"))
        effects = by_country("x", country_means(values, sample), sample, limits)
        assert [effect.country for effect in effects] == [None, "A"]
        held.append(effects[1].low <= 0.3 <= effects[1].high)
    assert 0.91 <= np.mean(held) <= 0.99


def test_skill_is_zero_for_a_constant_guess_and_one_for_the_truth() -> None:
    truth = np.array([0, 0, 1, 1, 2, 2])
    once, sample = np.ones((1, 6)), Sample(country=truth, group=np.arange(6), names=("A", "B", "C"))
    assert skill(truth, sample)(once).tolist() == [[1, 1, 1]]
    assert skill(np.zeros(6, int), sample)(once).tolist() == [[0, 0, 0]]


# ---- thumbnails and files

CODES = ("FR", "JP", "NA", "US")


def stored(folder: Path, split: str, seed: int, **jp: object) -> ReadPhotos:
    """Grey noise with a faint tint of its country, as files; JP's may be written in a way of their own."""
    random = np.random.default_rng(seed)
    rows = []
    for at in range(80):
        country = CODES[at % 4]
        pixels = random.integers(60, 190, (48, 64, 3)).astype(float)
        pixels[..., at % 3] *= 1 + 0.02 * (at % 4)
        path = folder / f"{split}{at}.jpg"
        how = {"quality": int(random.integers(70, 92)), "subsampling": 2} | (jp if country == "JP" else {})
        Image.fromarray(pixels.astype(np.uint8)).save(path, **how)
        rows.append({"uri": str(path), "label": country, "group": f"{split}{at}"})
    seen = Preprocess(size=(48, 48), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    return read_photos(pl.DataFrame(rows), seen, crops=False)


def file_checks(folder: Path, **jp: object) -> dict[str, object]:
    train, judged = stored(folder, "train", 0, **jp), stored(folder, "val", 1, **jp)
    truth = np.arange(80) % 4
    header, leaned = forest_guesses(header_table(train), truth, header_table(judged))
    size, _ = forest_guesses(size_table(train, anew=False), truth, size_table(judged, anew=False))
    anew, _ = forest_guesses(size_table(train, anew=True), truth, size_table(judged, anew=True))
    sample = Sample(country=truth, group=np.arange(80), names=CODES)
    by_header, by_size = adjust([file_effects(header, sample), size_effects(size, anew, sample)])
    right = balanced_accuracy(header, truth, sample.group)
    return {"header": by_header, "size": by_size, "leaned": leaned, "right": right}


def test_a_way_of_writing_files_is_found_and_named(tmp_path: Path) -> None:
    found = file_checks(tmp_path, subsampling=0)
    assert verdict(found["header"]) == "found"
    assert max((e for e in found["header"] if e.found), key=lambda e: e.value).country == "JP"
    assert "subsampling" in found["leaned"]
    assert 0.3 < found["right"].value < 0.7


def test_a_number_of_bytes_is_found_where_the_pixels_do_not_explain_it(tmp_path: Path) -> None:
    found = file_checks(tmp_path, comment=b"a long story " * 700)
    assert max((e for e in found["size"] if e.found), key=lambda e: e.value).country == "JP"


def test_files_written_alike_tell_nothing(tmp_path: Path) -> None:
    found = file_checks(tmp_path)
    assert not any(e.found for e in (*found["header"], *found["size"]))
    assert found["right"].value == pytest.approx(0.25, abs=0.15)


def test_an_unreadable_photo_is_counted_and_left_out(tmp_path: Path) -> None:
    photos = stored(tmp_path, "val", 1)
    (tmp_path / "val3.jpg").write_bytes(b"no photo")
    seen = Preprocess(size=(48, 48), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    again = read_photos(photos.frame, seen, crops=True)
    assert (again.unreadable, again.frame.height) == (1, 79)
    assert again.crops is not None
    assert again.crops.shape == (79, 48, 48, 3)
    assert set(again.of(("FR", "NA")).frame["label"]) == {"FR", "NA"}


def test_thumbnails_that_explain_the_model_are_found_and_poor_ones_are_not(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    truth = np.arange(160) % 4
    base = stored(tmp_path, "train", 0)

    def tinted(strength: float) -> ReadPhotos:
        small = random.normal(120, 20, (160, 16, 16, 3)) + strength * truth[:, None, None, None]
        return ReadPhotos(
            frame=pl.concat([base.frame, base.frame]),
            crops=None,
            thumbnails=np.clip(small, 0, 255).astype(np.uint8),
            unreadable=0,
        )

    sample = Sample(country=truth, group=np.arange(160) // 2, names=CODES)
    model = np.where(random.random(160) < 0.9, truth, 0)
    for strength, found in ((30.0, True), (0.0, False)):
        guesses = thumbnail_guesses(tinted(strength), sample, tinted(strength))
        (effects,) = adjust([thumbnail_effect(guesses, model, sample)])
        assert [effect.found for effect in effects] == [found]


# ---- mirror and sources


def test_a_model_of_the_driving_side_swaps_and_a_blind_one_does_not() -> None:
    truth, group = np.arange(80) % 4, np.arange(80) // 2
    sample = Sample(country=truth, group=group, names=("GB", "JP", "DE", "US"))
    left = np.array([True, True, False, False])
    plain = np.where(left[None] == left[truth][:, None], 0.45, 0.05)
    uses = mirror_check(plain, plain[:, [2, 3, 0, 1]], sample, flipped=False)
    assert (uses.verdict, uses.alarm) == ("found", False)
    assert uses.score is not None
    assert uses.score.value == pytest.approx(0.8)
    blind = mirror_check(plain, plain, sample, flipped=True)
    assert blind.verdict == "not found"
    one = mirror_check(plain, plain, replace(sample, country=truth % 2), flipped=True)
    assert one.verdict == "inconclusive"


def of_sources(tied: bool) -> Manifest:
    random = np.random.default_rng(0)
    country = [NAMES[at % 8] for at in range(320)]
    source = [("a" if NAMES.index(c) < 4 else "b") if tied else random.choice(["a", "b"]) for c in country]
    table = measured(320, countries=country).frame
    return Manifest(table.with_columns(pl.Series("source", source), split=pl.lit("train"), group=pl.col("image_id")))


def test_sources_tied_to_countries_are_found_and_mixed_ones_are_not() -> None:
    tied = source_check(of_sources(True), NAMES, seed=0)
    (effects,) = adjust([tied.effects])
    assert effects[0].found
    assert tied.score is not None
    assert tied.score.value == pytest.approx(4 / 7, abs=0.01)  # of 28 pairs, 16 share no source
    assert dict(tied.facts)["countries that one source alone has"].startswith("8 of 8")
    assert tied.unless  # the files of this table do not exist, so nothing says that they tell the source
    mixed = source_check(of_sources(False), NAMES, seed=0)
    assert verdict(adjust([mixed.effects])[0]) == "not found"
    assert abs(mixed.effects[0].value) < 0.05
    frame = of_sources(True).frame.with_columns(source=pl.lit("a"))
    alone = source_check(Manifest(frame), NAMES, seed=0)
    assert (alone.verdict, alone.effects) == ("not found", ())
