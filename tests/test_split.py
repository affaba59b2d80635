"""No group across splits, whatever the data; splits that stay as the data grows."""

import json
from collections import Counter
from math import ceil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageEnhance

from curated import measured, photo, save
from whichland.curate.balance import balance
from whichland.curate.check import check
from whichland.curate.clean import clean
from whichland.curate.links import read_features
from whichland.curate.measure import measure
from whichland.curate.pairs import connected_components, spanning_pairs
from whichland.curate.split import SLACK, SplitConfig, certificate_of, difference, split, split_at, stratify
from whichland.errors import UserError
from whichland.manifest import Manifest
from whichland.sources.columns import complete

sequences = st.lists(st.sampled_from([None, "a", "b", "c", "d", "e"]), min_size=1, max_size=40)


def assigned(manifest: Manifest) -> dict[str, tuple[str, str]]:
    rows = manifest.frame.select("image_id", "group", "split").iter_rows()
    return {name: (group, part) for name, group, part in rows}


def head(manifest: Manifest, rows: int) -> Manifest:
    return Manifest(manifest.frame.head(rows), manifest.history)


def linked(drives: list[str | None], seed: int) -> Manifest:
    """Photos of which some share a drive and some are near-duplicates."""
    random = np.random.default_rng(seed)
    scenes = random.integers(0, 2**64, len(drives), dtype=np.uint64)
    scene = random.integers(0, len(drives), len(drives))
    tone = random.uniform(0.3, 0.6, len(drives))[scene].tolist()
    return clean(
        measured(
            len(drives), sequences=drives, phash=scenes[scene].tolist(), brightness=tone, contrast=[0.2], seed=seed
        )
    )


@settings(max_examples=60, deadline=None)
@given(sequences, st.integers(0, 1000))
def test_no_tie_crosses_a_split(drives: list[str | None], seed: int) -> None:
    frame = split(linked(drives, seed), SplitConfig(seed=seed, val=0.3, test=0.3)).kept
    for tie in ("group", "sequence", "phash"):
        tied = frame.drop_nulls(tie).with_columns(tie=pl.col(tie)).group_by("tie")
        parts = tied.agg(pl.col("split", "group").n_unique())
        assert parts["split"].max() in (None, 1)
        assert parts["group"].max() in (None, 1)


@settings(max_examples=60, deadline=None)
@given(sequences, st.integers(0, 1000), st.integers(1, 39))
def test_growing_moves_no_group_that_is_not_merged(drives: list[str | None], seed: int, before: int) -> None:
    whole = linked(drives, seed)
    old = split(head(whole, min(before, len(drives))))
    earlier = old.frame.select("image_id", "group", "split")
    grown = whole.frame.join(earlier, on="image_id", how="left", maintain_order="left")
    new = assigned(split(Manifest(grown, old.history)))
    merged: dict[str, set[str]] = {}
    for name, (group, _) in assigned(old).items():
        merged.setdefault(new[name][0], set()).add(group)
    for name, (group, part) in assigned(old).items():
        if len(merged[new[name][0]]) == 1:
            assert new[name] == (group, part)
        if part == "train":
            assert new[name][1] == "train"


@settings(max_examples=40, deadline=None)
@given(sequences, st.integers(0, 1000))
def test_row_order_and_repetition_change_nothing(drives: list[str | None], seed: int) -> None:
    table = linked(drives, seed)
    once = split(table)
    assert split(once).frame.equals(once.frame)
    shuffled = Manifest(table.frame.sample(fraction=1, shuffle=True, seed=seed), table.history)
    assert assigned(split(shuffled)) == assigned(once)


def test_from_scratch_few_photos_move_when_others_join_and_none_from_train_to_test() -> None:
    table = clean(measured(1800))
    few, many = assigned(split(head(table, 600))), assigned(split(table))
    moves = [(found[1], many[name][1]) for name, found in few.items() if many[name] != found]
    assert len(moves) < 60
    assert ("train", "test") not in moves


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(0, 100), st.sampled_from([(0.15, 0.15), (0.3, 0.3), (0.0, 0.2)]))
def test_every_country_has_its_shares(count: int, seed: int, shares: tuple[float, float]) -> None:
    val, test = shares
    positions = np.random.default_rng(seed).random(count)
    groups = pl.DataFrame(
        {"country": "FR", "position": positions, "earlier": pl.Series([None] * count, dtype=pl.String)}
    )
    found = Counter(stratify(groups, val=val, test=test).to_list())
    assert found["train"] >= 1
    for part, share, least in (("test", test, 2), ("val", val, 3)):
        if count >= least and share:
            assert found[part] >= 1
        room = count - (1 if count < 3 else 2)
        assert found[part] <= max(1, min(ceil(share * count * (1 + SLACK)), room)) if share else found[part] == 0
        if count > 20:
            assert abs(found[part] - share * count) <= SLACK * share * count + 1


def test_positions_alone_decide_where_a_country_is_near_its_shares() -> None:
    positions = (np.arange(1000) + 0.5) / 1000
    groups = pl.DataFrame(
        {"country": "FR", "position": positions, "earlier": pl.Series([None] * 1000, dtype=pl.String)}
    )
    expected = [split_at(position, 0.15, 0.15) for position in positions]
    assert stratify(groups, val=0.15, test=0.15).to_list() == expected


def test_what_has_a_split_keeps_it_and_the_others_make_up_the_shares() -> None:
    earlier = pl.Series([*["train"] * 40, *[None] * 20], dtype=pl.String)
    groups = pl.DataFrame({"country": "FR", "position": np.random.default_rng(0).random(60), "earlier": earlier})
    found = stratify(groups, val=0.1, test=0.1).to_list()
    assert found[:40] == ["train"] * 40
    assert 5 <= found.count("test") <= 7
    assert 5 <= found.count("val") <= 7


def test_places_and_panoramas_tie() -> None:
    """Two photos 40 m apart, a view and the panorama it was cut from, and two views of another."""
    table = clean(
        measured(
            7,
            lat=[60.0, 60.0, 60.0, *[None] * 4],
            lon=[10.0, 10.0007, 10.01, *[None] * 4],
            panorama=[None, None, None, None, "made/0-00003", "gone", "gone"],
        )
    )
    frame = table.frame.with_columns(
        panorama=pl.Series([None, None, None, None, "made/0-00003", "gone", "gone"], dtype=pl.String)
    )
    groups = split(Manifest(frame, table.history)).frame["group"].to_list()
    tied = [0, 0, 2, 3, 3, 5, 5]
    assert groups == [f"made/0-0000{row}" for row in tied]
    apart = split(Manifest(frame, table.history), SplitConfig(radius_m=0)).frame["group"]
    assert apart.n_unique() == 5


def test_a_group_that_is_much_of_a_country_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A street of a photo every 30 m is one chain, however long."""
    street = [0.00027 * row for row in range(40)]
    split(clean(measured(120, countries=["FR"], lat=[*street, *[None] * 80], lon=[*[2.0] * 40, *[None] * 80])))
    assert "one group holds more than 10% of a country's photos" in capsys.readouterr().err


def test_the_certificate_says_what_was_done() -> None:
    table = split(clean(measured(300)), SplitConfig(seed=4))
    certificate = certificate_of(table)
    assert certificate is not None
    assert certificate["photos"] == table.kept.height
    assert certificate["groups"] == table.frame["group"].n_unique()
    assert certificate["rules"]["near_duplicate_distance"] == 12
    assert certificate["nearest_km"] == {"train-val": None, "train-test": None, "val-test": None}
    assert sum(sum(codes.values()) for codes in certificate["countries"].values()) == 300
    assert split(table, SplitConfig(seed=4)).history[-1].params["certificate"] == certificate
    assert json.loads(json.dumps(certificate)) == certificate


def test_a_model_is_told_apart_from_the_manifest_it_was_not_trained_from() -> None:
    table = split(clean(measured(60)))
    trained = certificate_of(table)
    assert difference(trained, table) is None
    assert difference(trained, balance(table)) is None
    assert difference(None, table) is None
    other = split(clean(measured(60)), SplitConfig(seed=1))
    assert "was trained from another split (seed 0, 60 groups" in str(difference(trained, other))
    assert "no split certificate" in str(difference(trained, clean(measured(60))))
    changed = table.frame.with_columns(
        split=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("test")).otherwise(pl.lit("train"))
    )
    assert difference(trained, Manifest(changed, table.history)) is not None


def test_the_distance_shrinks_as_strangers_become_many() -> None:
    config = SplitConfig()
    assert [config.distance_for(rows) for rows in (10, 150_001, 2_000_000)] == [12, 10, 8]
    assert [config.closer_for(rows)[0] for rows in (10, 150_001, 2_000_000)] == [(4, 1.0), (4, 1.0), (2, 1.0)]
    assert config.closer_for(10) == [(4, 1.0), (6, 0.1), (8, 0.02)]
    assert config.closer_for(2_000_000) == [(2, 1.0), (4, 0.1), (6, 0.02)]
    assert SplitConfig(near_duplicate_distance=5).distance_for(10**7) == 5
    assert SplitConfig(near_duplicate_distance=3).closer_for(10) == [(3, 1.0)]
    assert SplitConfig(near_duplicate_any_tone=-1).closer_for(10) == []


def test_shares_are_near_the_wanted_ones() -> None:
    config = SplitConfig(val=0.2, test=0.1, seed=3)
    counts = dict(split(clean(measured(4000)), config).frame["split"].value_counts().iter_rows())
    assert counts["val"] / 4000 == pytest.approx(0.2, abs=0.03)
    assert counts["test"] / 4000 == pytest.approx(0.1, abs=0.03)
    other = split(clean(measured(4000)), SplitConfig(val=0.2, test=0.1, seed=4)).frame
    assert dict(other["split"].value_counts().iter_rows()) != counts


def test_a_larger_val_takes_from_train_and_leaves_the_test_alone() -> None:
    table = clean(measured(500))
    small, large = (split(table, SplitConfig(val=share)).frame for share in (0.1, 0.3))
    assert (small["split"] == "test").equals(large["split"] == "test")
    assert set(large.filter(small["split"] == "val")["split"]) == {"val"}


def test_a_sequence_names_its_group_and_dropped_rows_have_none() -> None:
    table = clean(measured(4, sequences=["drive", None, None, "drive"], sharpness=[900.0, 900.0, 1.0, 900.0]))
    groups = split(table).frame["group"].to_list()
    assert groups == ["sequence/made/drive", "made/0-00001", None, "sequence/made/drive"]


def test_a_dropped_duplicate_still_ties_its_sequence_to_the_other_copy() -> None:
    table = clean(measured(4, countries=["FR"], sequences=["x", "x", "y", "y"], sha256=["1", "2", "2", "3"]))
    assert table.frame["drop_reason"].to_list() == [None, None, "duplicate", None]
    assert split(table).frame["group"].to_list() == ["sequence/made/x", "sequence/made/x", None, "sequence/made/x"]


def test_near_duplicates_need_like_hash_and_like_tone() -> None:
    two = {"phash": [0, 2**9 - 1], "contrast": [0.2]}
    alike = clean(measured(2, brightness=[0.5, 0.505], **two))
    unlike = clean(measured(2, brightness=[0.5, 0.6], **two))
    assert split(alike).frame["group"].n_unique() == 1
    assert split(unlike).frame["group"].n_unique() == 2
    for config in (SplitConfig(near_duplicate_distance=8), SplitConfig(near_duplicate_distance=-1)):
        assert split(alike, config).frame["group"].n_unique() == 2


@pytest.mark.parametrize(
    ("bits", "tone", "any_tone", "groups"),
    [
        *[(4, 0.4, 4, 1), (4, 0.4, 3, 2), (4, 0.4, -1, 2), (5, 0.4, 4, 2), (0, 0.4, 0, 1), (6, 0.09, 4, 1)],
        *[(6, 0.11, 4, 2), (8, 0.019, 4, 1), (8, 0.021, 4, 2), (6, 0.09, -1, 2), (7, 0.09, 4, 2)],
    ],
)
def test_the_closer_the_hashes_the_more_the_tones_may_differ(
    bits: int, tone: float, any_tone: int, groups: int
) -> None:
    table = clean(measured(2, phash=[0, 2**bits - 1], brightness=[0.3, 0.3 + tone], contrast=[0.2]))
    made = split(table, SplitConfig(near_duplicate_any_tone=any_tone))
    assert made.frame["group"].n_unique() == groups
    assert certificate_of(made)["rules"]["near_duplicate_any_tone"] == any_tone
    assert bool(certificate_of(made)["rules"]["near_duplicate_closer"]) == (any_tone >= 0)
    assert [line for line in check(made) if not line.startswith("files: ")] == []


def test_copies_made_lighter_or_harder_are_tied_to_their_photo(tmp_path: Path) -> None:
    kinds = {
        "plain": lambda picture: picture,
        "lighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.05),
        "harder": lambda picture: ImageEnhance.Contrast(picture).enhance(1.1),
    }
    rows = []
    for seed in range(12):
        for kind, made in kinds.items():
            uri = save(made(photo(seed)), tmp_path / f"{seed}-{kind}.jpg")
            rows.append({"image_id": f"made/{uri.stem}", "uri": str(uri), "source": "made", "label_country": "FR"})
    frame = complete(pl.DataFrame(rows))
    table = clean(measure(Manifest(frame.head(0)).with_step("ingest", frame), workers=1, progress=False))
    found = split(table).frame.group_by(pl.col("image_id").str.split("-").list.first()).agg(pl.col("group").n_unique())
    assert set(found["group"]) == {1}
    assert split(table).frame["group"].n_unique() == 12
    assert split(table, SplitConfig(near_duplicate_any_tone=-1)).frame["group"].n_unique() > 20


def test_features_tie_where_they_are_asked_for(tmp_path: Path) -> None:
    table = clean(measured(5))
    features = np.array([[1, 0], [0.1, 1], [0.99, 0.05], [np.nan, np.nan], [0, 1]], dtype=np.float32)
    config = SplitConfig(near_duplicate_cosine=0.99)
    names = split(table, config, features).frame["group"].to_list()
    assert names == [f"made/0-0000{row}" for row in (0, 1, 0, 3, 1)]
    assert split(table, SplitConfig(), features).frame["group"].n_unique() == 5
    with pytest.raises(UserError, match="give the photos' features"):
        split(table, config)
    assert certificate_of(split(table, config, features))["rules"]["near_duplicate_cosine"] == 0.99


def test_features_are_read_from_three_kinds_of_file(tmp_path: Path) -> None:
    frame = measured(4).frame
    vectors = np.arange(8, dtype=np.float32).reshape(4, 2)
    np.save(tmp_path / "a.npy", vectors)
    np.savez(tmp_path / "a.npz", keys=np.array(frame["sha256"].to_list())[[3, 0, 1]], vectors=vectors[[3, 0, 1]])
    turned = frame.select("image_id", features=pl.Series(vectors.tolist())).reverse().head(3)
    turned.write_parquet(tmp_path / "a.parquet")
    assert np.array_equal(read_features(tmp_path / "a.npy", frame), vectors)
    for name, missing in (("a.npz", 2), ("a.parquet", 0)):
        found = read_features(tmp_path / name, frame)
        assert np.isnan(found[missing]).all()
        assert np.array_equal(np.delete(found, missing, 0), np.delete(vectors, missing, 0))
    np.save(tmp_path / "short.npy", vectors[:3])
    turned.drop("features").write_parquet(tmp_path / "none.parquet")
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("short.npy", "none.parquet", "text.npz", "gone.parquet"):
        with pytest.raises(UserError, match=rf"{name}: no features of these photos \("):
            read_features(tmp_path / name, frame)


def test_when_groups_merge_train_wins() -> None:
    config = SplitConfig(val=0.3, test=0.3)
    table = split(clean(measured(60)), config)
    train, test = (table.frame.filter(pl.col("split") == part)["image_id"][0] for part in ("train", "test"))
    tied = table.frame.with_columns(
        sequence=pl.when(pl.col("image_id").is_in([train, test])).then(pl.lit("a")).otherwise(None)
    )
    merged = assigned(split(Manifest(tied, table.history), config))
    assert merged[test] == merged[train] == (train, "train")


def test_groups_come_apart_when_ties_are_taken_back() -> None:
    table = clean(measured(2, phash=[0, 1], brightness=[0.5], contrast=[0.2]))
    together = split(table)
    apart = split(together, SplitConfig(near_duplicate_distance=-1)).frame
    assert together.frame["group"].to_list() == ["made/0-00000"] * 2
    assert apart["group"].to_list() == ["made/0-00000", "made/0-00001"]


def test_kept_rows_that_were_never_measured_are_named() -> None:
    table = clean(measured(3, phash=[1, None, 2]))
    with pytest.raises(UserError, match="kept rows without a phash: 1"):
        split(table)


@pytest.mark.parametrize("column", ["sequence", "lat", "country"])
def test_a_table_without_a_column_is_told_which(column: str) -> None:
    table = clean(measured(3))
    less = Manifest(table.frame.drop(column), table.history)
    for step in (clean, split):
        with pytest.raises(UserError, match=f"no column {column}"):
            step(less)


def test_what_earlier_runs_have_given_away_leaves_the_last_group_for_training() -> None:
    groups = pl.DataFrame(
        {"country": "FR", "position": [0.1, 0.2, 0.3], "earlier": ["test", "test", None]},
        schema_overrides={"earlier": pl.String},
    )
    assert stratify(groups, val=0.3, test=0.3).to_list() == ["test", "test", "train"]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 1000))
def test_components_are_those_of_a_search(count: int, ties: int, seed: int) -> None:
    pairs = np.random.default_rng(seed).integers(0, count, (ties, 2))
    near: dict[int, set[int]] = {row: set() for row in range(count)}
    for a, b in pairs.tolist():
        near[a].add(b)
        near[b].add(a)
    expected = [-1] * count
    for row in range(count):
        stack = [row] if expected[row] < 0 else []
        while stack:
            at = stack.pop()
            if expected[at] < 0:
                expected[at] = row
                stack.extend(near[at])
    assert connected_components(count, pairs).tolist() == expected


def test_a_long_chain_is_one_component() -> None:
    order = np.random.default_rng(0).permutation(100_000)
    chain = np.column_stack([order[:-1], order[1:]])
    assert not connected_components(100_000, chain).any()
    thinned = spanning_pairs(100_000, np.concatenate([chain] * 3))
    assert len(thinned) == 99_999
    assert not connected_components(100_000, thinned).any()


def test_countries_without_test_photos_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    split(
        clean(measured(4, countries=["FR", "FR", "NA", "JP"], sequences=list("abcd"))), SplitConfig(val=0, test=0.001)
    )
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["warning: no test photo in 2 of 3 countries, having too few groups: JP, NA"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"val": 0.6, "test": 0.4},
        {"val": -0.1},
        {"test": float("nan")},
        {"near_duplicate_distance": 33},
        {"radius_m": 3},
    ],
)
def test_senseless_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"give|shares"):
        SplitConfig(**wrong)


def test_a_sequence_is_one_of_its_source_unless_its_name_is_unique_in_the_world() -> None:
    """Drive 1 of one collection is not drive 1 of another; a UUID or an id of Mapillary's is the same drive."""
    uuid, mapillary, digest = "0b6f7c1e-3d2a-4f4e-9a67-0c8c2f0a1b2c", "aE5o7bTMH0UtscOYxhVwID", "1a55b63323f32812"
    names = ["1", "2024-08-12_14-30-00", "GX010123", "frame_000123_of_drive_22", "20240812143000123", "1" * 22]
    for name, groups in [
        *((name, 2) for name in names),
        (uuid, 1),
        (mapillary, 1),
        (digest, 1),
        ("Mc-aWFxEgWQLAgZzMKShlg", 1),
    ]:
        table = clean(measured(4, sequences=[name], source=["a", "a", "b", "b"]))
        found = split(table).frame["group"].to_list()
        assert len(set(found)) == groups, name
        assert found[0] == found[1]
        assert not [line for line in check(split(table)) if not line.startswith("files:")]


def test_collections_that_only_looks_tie_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    split(clean(measured(6, sequences=["x", None], source=["a", "b"])))
    warned = [line for line in capsys.readouterr().err.splitlines() if "sequence" in line]
    assert len(warned) == 1
    assert "none of the 3 photos of 'b'" in warned[0]
    assert "column `sequence`" in warned[0]
