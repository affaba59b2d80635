"""The leak number on features whose leak is known, and the features themselves with their cache."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import timm
import torch
from safetensors.torch import save_file

from curated import measured, photo, save
from whichland.cli.commands import root
from whichland.curate.clean import clean
from whichland.curate.split import SplitConfig, split
from whichland.errors import UserError
from whichland.evaluation.leak import FOLDS, _arms, answers, drawn, grouped_folds, leak, random_folds
from whichland.manifest import Manifest, write
from whichland.model import features as seen
from whichland.model.features import BackboneConfig, features

TINY = BackboneConfig(arch="test_resnet", weights="none", size=64)


def world(groups: int, each: int, own: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of groups of photos in four countries: a country's mean, a group's own (times `own`), noise."""
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(groups), each)
    country = group % 4
    vectors = random.normal(size=(4, 32))[country] * 0.5
    vectors += own * random.normal(size=(groups, 32))[group] + random.normal(size=(group.size, 32))
    return vectors.astype(np.float32), country, group


def test_what_groups_share_is_found_and_nothing_else_is() -> None:
    vectors, country, group = world(120, 4, own=2.0)
    for right in answers(vectors, country, group):
        arms = _arms(right, group)
        assert arms.low > 0.1
        assert arms.leak == pytest.approx(arms.random - arms.grouped)
        assert arms.low < arms.leak < arms.high
    vectors, country, group = world(120, 4, own=0.0)
    for right in answers(vectors, country, group):
        arms = _arms(right, group)
        assert arms.low < 0.02
        assert abs(arms.leak) < 0.06


@pytest.mark.parametrize("seed", range(5))
def test_both_ways_have_the_same_counts_and_only_one_cuts_groups(seed: int) -> None:
    random = np.random.default_rng(seed)
    group = np.repeat(np.arange(60), random.integers(1, 9, 60))
    country = np.where(group < 40, 0, 1)
    grouped = grouped_folds(country, group, seed)
    mixed = random_folds(country, grouped, seed)
    for code in (0, 1):
        sizes = np.bincount(grouped[country == code], minlength=FOLDS)
        assert (sizes == np.bincount(mixed[country == code], minlength=FOLDS)).all()
        assert sizes.max() - sizes.min() <= 8
    assert all(len(set(grouped[group == number])) == 1 for number in range(60))
    assert any(len(set(mixed[group == number])) > 1 for number in range(60))


def test_a_larger_draw_holds_a_smaller_one_and_cuts_no_group() -> None:
    table = split(clean(measured(400, sequences=[f"drive{row // 5}" for row in range(400)]))).kept
    small, large = drawn(table, 100), drawn(table, 200)
    assert set(small["image_id"]) <= set(large["image_id"])
    assert set(small.group_by("group").len()["len"]) == {5}
    assert 90 <= small.height <= 105
    few = table.with_columns(
        country=pl.when(pl.col("group") < "sequence/made/drive12").then(pl.lit("NO")).otherwise("country")
    )
    assert "NO" not in set(drawn(few, 400)["country"])


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("photos")
    return [str(save(photo(seed, size=(96, 72)), folder / f"{seed}.jpg")) for seed in range(40)]


def test_features_are_kept_and_unreadable_photos_have_none(
    photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uris, keys = [*photos[:4], "/nowhere.jpg", photos[0]], ["a", "b", "c", "d", "gone", "a"]
    first = features(uris, keys, TINY, tmp_path)
    assert first.shape[0] == 6
    assert np.isnan(first[4]).all()
    assert np.isfinite(first[[0, 1, 2, 3, 5]]).all()
    assert (first[0] == first[5]).all()
    assert len({row.tobytes() for row in first[:4]}) == 4

    asked: list[str] = []
    see = seen._see
    monkeypatch.setattr(seen, "_see", lambda some, *rest: (asked.extend(key for _, key in some), see(some, *rest)))
    again = features([*photos[:5]], ["a", "b", "c", "d", "e"], TINY, tmp_path)
    assert asked == ["e"]
    assert (again[:4] == first[:4]).all()


def test_a_missing_file_of_weights_is_not_taken_for_none_and_a_broken_cache_is_named(
    photos: list[str], tmp_path: Path
) -> None:
    features(photos[:2], ["a", "b"], TINY, tmp_path)
    missing = BackboneConfig(arch="test_resnet", weights="/nowhere.safetensors", size=64)
    with pytest.raises(UserError, match="no such weights"):
        features(photos[:2], ["a", "b"], missing, tmp_path)
    (kept,) = tmp_path.glob("*.npz")
    for junk in (b"PK\3\4 cut short", b"junk", b""):
        kept.write_bytes(junk)
        with pytest.raises(UserError, match="delete it"):
            features(photos[:2], ["a", "b"], TINY, tmp_path)


def test_vectors_of_weights_normalised_in_another_way_are_not_found(photos: list[str], tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    given = BackboneConfig(arch="test_resnet", weights=str(tmp_path / "w.safetensors"), size=64)
    made = []
    for mean in (0.5, 0.1):
        (tmp_path / "w.json").write_text(json.dumps({"preprocessing": {"mean": [mean] * 3, "std": [0.5] * 3}}))
        made.append(features(photos[:2], ["a", "b"], given, tmp_path))
    assert not (made[0] == made[1]).all()


def test_countries_that_cannot_be_read_are_left_out_of_the_leak(photos: list[str], tmp_path: Path) -> None:
    table = clean(measured(40, countries=["FR", "JP"], uri=photos))
    uri = pl.when(pl.col("country") == "JP").then(pl.lit("/nowhere.jpg")).otherwise("uri")
    cut = split(Manifest(table.frame.with_columns(uri.alias("uri")), table.history))
    with pytest.raises(UserError, match="fewer than two countries"):
        leak(cut, TINY)


def test_the_leak_of_real_files_end_to_end(
    photos: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each photo stands in the table with a twin of its own bytes in its group: nearest neighbours find it."""
    table = measured(80, countries=["FR", "JP"], uri=[*photos, *photos], sha256=[str(row % 40) for row in range(80)])
    frame = table.frame.with_columns(drop_reason=pl.lit(None, dtype=pl.String))
    cut = split(Manifest(frame, table.history), SplitConfig(near_duplicate_distance=-1))
    found = leak(cut, TINY, cache=tmp_path / "features")
    assert (found.photos, found.groups, found.countries, found.shared) == (80, 40, 2, 1.0)
    assert found.nearest.low > 0.05
    assert (tmp_path / "features").is_dir()
    before, after = write(cut, tmp_path / "before.parquet"), tmp_path / "after.parquet"
    words = ["data", "split", before, "-o", after, "--report-leak", "--json", "--near-duplicate-distance", "-1"]
    words += ["--arch", "test_resnet", "--weights", "none", "--size", "64"]
    root()([*map(str, words)], prog_name="whichland", standalone_mode=False)
    printed = json.loads(capsys.readouterr().out)
    assert printed["nearest"] == asdict(found.nearest)
    assert (tmp_path / "after.features").is_dir()
    words[words.index(after)] = tmp_path / "never.parquet"
    with pytest.raises(UserError, match="size 8"):
        root()([*map(str, words[:-1]), "8"], prog_name="whichland", standalone_mode=False)
    assert not (tmp_path / "never.parquet").exists()
    with pytest.raises(UserError, match="fewer than two countries"):
        leak(split(clean(measured(6))), TINY)
