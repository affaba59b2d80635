"""Ranks, nested subsets, caps and weights of the training rows, and of no others."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curated import measured
from whichland.curate.balance import BalanceConfig, balance
from whichland.curate.clean import clean
from whichland.curate.split import SplitConfig, split
from whichland.errors import UserError
from whichland.manifest import Manifest

ALL_TRAIN = SplitConfig(val=0, test=0)


def ready(count: int, config: SplitConfig | None = None, **columns: list[object]) -> Manifest:
    return split(clean(measured(count, **columns)), config)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(["FR", "JP", "NA"]), min_size=1, max_size=60),
    st.integers(1, 10),
    st.integers(0, 99),
)
def test_ranks_count_and_weights_have_mean_one(countries: list[str], cap: int, seed: int) -> None:
    frame = balance(ready(len(countries), countries=countries), BalanceConfig(cap=cap, seed=seed)).frame
    train = frame.filter(pl.col("split") == "train")
    for (_,), rows in train.group_by("country"):
        assert sorted(rows["rank"]) == list(range(rows.height))
        assert (rows["weight"] > 0).to_list() == (rows["rank"] < cap).to_list()
    used = train.filter(pl.col("weight") > 0)["weight"]
    if used.len():
        assert used.mean() == pytest.approx(1)
    others = frame.filter(pl.col("split") != "train")
    assert others["rank"].null_count() == others["weight"].null_count() == others.height


@pytest.mark.parametrize(("power", "ratio"), [(0.0, 9.0), (0.5, 3.0), (1.0, 1.0)])
def test_power_says_how_far_countries_are_evened_out(power: float, ratio: float) -> None:
    table = ready(100, ALL_TRAIN, countries=["FR"] * 9 + ["JP"])
    frame = balance(table, BalanceConfig(power=power)).frame
    total = dict(frame.group_by("country").agg(pl.col("weight").sum()).iter_rows())
    assert total["FR"] / total["JP"] == pytest.approx(ratio)


def test_weights_follow_the_capped_counts() -> None:
    table = ready(100, ALL_TRAIN, countries=["FR"] * 9 + ["JP"])
    frame = balance(table, BalanceConfig(cap=10, power=1)).frame
    assert set(frame.filter(pl.col("weight") > 0)["weight"].round(9)) == {1.0}
    assert frame.filter(pl.col("weight") == 0).height == 80


def test_every_group_gives_one_photo_before_any_gives_a_second() -> None:
    drives = [f"drive-{min(row // 2, 5)}" for row in range(40)]  # five drives of two photos, one of thirty
    frame = balance(ready(40, ALL_TRAIN, countries=["FR"], sequences=drives)).frame.sort("rank")
    assert frame["group"].head(6).n_unique() == 6
    assert frame["group"].slice(6, 6).n_unique() == 6


def test_the_order_depends_on_the_seed_and_not_on_rows_or_cap() -> None:
    table = ready(60)
    ranks = balance(table).frame.select("image_id", "rank").sort("image_id")
    turned = Manifest(table.frame.reverse(), table.history)
    assert balance(turned).frame.select("image_id", "rank").sort("image_id").equals(ranks)
    assert balance(table, BalanceConfig(cap=5)).frame["rank"].equals(balance(table).frame["rank"])
    assert not balance(table, BalanceConfig(seed=1)).frame["rank"].equals(balance(table).frame["rank"])


def test_refuses_what_makes_no_sense() -> None:
    with pytest.raises(UserError, match="whichland data split"):
        balance(clean(measured(3)))
    with pytest.raises(UserError, match="cap"):
        BalanceConfig(cap=0)
    with pytest.raises(UserError, match="power"):
        BalanceConfig(power=2)
