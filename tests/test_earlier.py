"""Splits of earlier runs bind later ones, also through a merge and where a photo gives way to its copy."""

import polars as pl
import pytest

from curated import measured
from whichland.curate.check import check
from whichland.curate.clean import clean
from whichland.curate.merge import merge
from whichland.curate.split import SplitConfig, _earlier_split, certificate_of, split
from whichland.manifest import Manifest


def assigned(manifest: Manifest) -> dict[str, tuple[str, str]]:
    rows = manifest.frame.select("image_id", "group", "split").iter_rows()
    return {name: (group, part) for name, group, part in rows}


def test_two_components_never_share_a_name() -> None:
    """A drive leaves a group that bears its name, and comes back with other photos."""
    table = clean(
        measured(3, sequences=["a", "b", "a"], phash=[0, 1, 2**40 - 1], brightness=[0.5, 0.5, 0.9], contrast=[0.2])
    )
    both = split(Manifest(table.frame.head(2), table.history))
    assert both.frame["group"].to_list() == ["sequence/made/a"] * 2
    left = both.frame.with_columns(drop_reason=pl.when(pl.col("image_id") == "made/0-00000").then(pl.lit("dark")))
    alone = split(Manifest(left, both.history))
    assert alone.frame["group"].to_list() == [None, "sequence/made/a"]
    grown = pl.concat([alone.frame, table.frame.tail(1)], how="diagonal_relaxed")
    found = split(Manifest(grown, alone.history)).frame
    assert found["group"].to_list() == [None, "sequence/made/b", "sequence/made/a"]
    assert found["split"][1] == alone.frame["split"][1]


def test_merging_new_photos_in_moves_no_photo() -> None:
    """Countries of few groups, where the hash alone does not say where a group stands."""
    old = split(clean(measured(45, seed=1)))
    moved = certificate_of(old)
    assert moved is not None
    assert len(moved["moved"]) > 3
    new = measured(90, seed=2)
    grown = split(clean(merge([old, new])))
    before, after = assigned(old), assigned(grown)
    assert {name: after[name] for name in before} == before
    again = split(clean(merge([grown, measured(30, seed=3)])))
    assert {name: assigned(again)[name] for name in after} == after
    assert check_of(again) == []
    other = split(clean(merge([old, new])), SplitConfig(seed=1))
    assert any(assigned(other)[name][1] != part for name, (_, part) in before.items())


def check_of(manifest: Manifest) -> list[str]:
    return [line for line in check(manifest) if not line.startswith("files: ")]


def test_tables_split_in_different_ways_bind_nothing_and_train_wins_between_like_ones() -> None:
    one, other = (split(clean(measured(45, seed=seed)), SplitConfig(seed=seed)) for seed in (1, 2))
    scratch = [Manifest(table.frame.drop("group", "split"), table.history[:-1]) for table in (one, other)]
    assert assigned(split(clean(merge([one, other])))) == assigned(split(clean(merge(scratch))))
    parts = ({"a": "test", "b": "val", "c": "val"}, {"a": "test", "b": "train"})
    fell = {name: _earlier_split(name, parts, seed=0, val=0.3, test=0.3) for name in "abc"}
    assert fell["a"] == "test"
    assert fell["b"] == "train"
    assert fell["c"] in ("val", "train")  # where the other table's hash has it


@pytest.mark.parametrize("seed", range(8))
def test_a_better_copy_stands_where_the_photo_stood_that_gives_way_to_it(seed: int) -> None:
    """The model has seen these bytes: the drive they now turn out to be of belongs to train, too."""
    old = split(clean(measured(12, seed=seed)))
    trained = old.frame.filter(pl.col("split") == "train").row(0, named=True)
    copy = measured(
        2, countries=[trained["country"]], sequences=["drive"], seed=seed + 100, sha256=[trained["sha256"], "b"]
    )
    grown = split(clean(merge([old, copy])))
    found = {row["image_id"]: row for row in grown.frame.iter_rows(named=True)}
    assert found[trained["image_id"]]["drop_reason"] == "duplicate"
    assert found[trained["image_id"]]["split"] is None
    for name in copy.frame["image_id"]:
        assert (found[name]["split"], found[name]["group"]) == ("train", trained["image_id"])
    assert check_of(grown) == []
