"""Ranks, nested subsets, caps and weights of the training rows, and of no others."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curated import measured
from whichland.curate.balance import BalanceConfig, balance, keys, quotas
from whichland.curate.charts import in_use
from whichland.curate.check import check
from whichland.curate.clean import clean
from whichland.curate.split import SplitConfig, split
from whichland.errors import UserError
from whichland.manifest import Manifest
from whichland.training.config import TrainConfig
from whichland.training.data import choose_labels

ALL_TRAIN = SplitConfig(val=0, test=0)


def ready(count: int, config: SplitConfig | None = None, **columns: list[object]) -> Manifest:
    return split(clean(measured(count, **columns)), config)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["FR", "JP", "NA"]), min_size=1, max_size=60), st.integers(1, 10), st.integers(0, 99))
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
    table = ready(40, ALL_TRAIN, countries=["FR"], sequences=drives)
    frame = balance(table, BalanceConfig(poorest=0)).frame.sort("rank")
    assert frame["group"].head(6).n_unique() == 6
    assert frame["group"].slice(6, 6).n_unique() == 6


def test_the_order_depends_on_the_seed_and_not_on_rows_or_cap() -> None:
    table = ready(60)
    ranks = balance(table).frame.select("image_id", "rank").sort("image_id")
    turned = Manifest(table.frame.reverse(), table.history)
    assert balance(turned).frame.select("image_id", "rank").sort("image_id").equals(ranks)
    assert balance(table, BalanceConfig(cap=5)).frame["rank"].equals(balance(table).frame["rank"])
    assert not balance(table, BalanceConfig(seed=1)).frame["rank"].equals(balance(table).frame["rank"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 3000), min_size=1, max_size=40),
    st.floats(0, 1),
    st.integers(1, 30),
    st.integers(1, 40),
    st.data(),
)
def test_quotas_keep_to_cap_floor_and_total_and_are_nested(
    sizes: list[int], temper: float, floor: int, min_photos: int, data: st.DataObject
) -> None:
    counts = np.array(sizes)
    kept = counts >= min_photos
    least = int(np.minimum(counts, floor)[kept].sum())
    totals = sorted(data.draw(st.tuples(*[st.integers(max(least, 1), counts.sum() + 1)] * 2)))
    common = {"temper": temper, "floor": floor, "min_photos": min_photos}
    small, large = (quotas(counts, BalanceConfig(total=total, **common)) for total in totals)
    assert (small <= large).all()
    for found, total in ((small, totals[0]), (large, totals[1])):
        assert (found <= counts).all()
        assert (found[kept] >= np.minimum(counts, floor)[kept]).all()
        assert (found[~kept] == 0).all()
        assert found.sum() <= total
        assert found.sum() == min(total, counts[kept].sum())  # none is wasted
    caps = sorted(data.draw(st.tuples(*[st.integers(floor, 3000)] * 2)))
    small, large = (quotas(counts, BalanceConfig(cap=cap, **common)) for cap in caps)
    assert (small <= large).all()
    assert (large <= caps[1]).all()


def test_temper_goes_from_uniform_to_natural() -> None:
    counts = np.array([16, 100, 400, 1600, 6400])
    assert quotas(counts, BalanceConfig(cap=64)).tolist() == [16, 64, 64, 64, 64]
    assert quotas(counts, BalanceConfig(cap=640, temper=1)).tolist() == [2, 10, 40, 160, 640]
    assert quotas(counts, BalanceConfig(cap=640, temper=0.5)).tolist() == [16, 80, 160, 320, 640]
    assert quotas(counts, BalanceConfig(cap=640, temper=1, floor=30)).tolist() == [16, 30, 40, 160, 640]
    assert quotas(counts, BalanceConfig(cap=640, temper=1, min_photos=100)).tolist() == [0, 10, 40, 160, 640]
    assert quotas(counts, BalanceConfig(total=1000, temper=0)).tolist() == [16, 100, 294, 295, 295]
    assert quotas(counts, BalanceConfig(total=8516, temper=1)).tolist() == counts.tolist()


def test_ranks_are_the_same_under_every_setting_of_thinning() -> None:
    table = ready(200, countries=["FR"] * 5 + ["JP", "NA"])
    plain = balance(table).frame
    for config in (
        BalanceConfig(cap=20),
        BalanceConfig(total=60, temper=0.5),
        BalanceConfig(total=90, temper=1, floor=3, min_photos=5),
    ):
        thinned = balance(table, config).frame
        assert thinned["rank"].equals(plain["rank"])
        used = thinned.filter(pl.col("weight") > 0).group_by("country").agg(n=pl.len(), last=pl.col("rank").max())
        assert (used["last"] == used["n"] - 1).all()
        assert thinned.filter(pl.col("split") != "train").equals(plain.filter(pl.col("split") != "train"))
        if config.total:
            assert used["n"].sum() == config.total


def test_a_country_with_too_few_photos_is_left_out_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    table = ready(50, ALL_TRAIN, countries=["FR"] * 9 + ["JP"])
    few = BalanceConfig(min_photos=6)
    frame = balance(table, few).frame
    assert set(frame.filter(pl.col("country") == "JP")["weight"]) == {0.0}
    assert "JP: fewer than 6 training photos, left out" in capsys.readouterr().err
    balanced = balance(ready(50, ALL_TRAIN, countries=["FR"] * 4 + ["DE"] * 5 + ["JP"]), few)
    assert choose_labels(balanced, TrainConfig()).codes == ("DE", "FR")
    with pytest.raises(UserError, match="no country"):
        balance(table, BalanceConfig(min_photos=60))


def test_of_a_group_the_best_goes_first() -> None:
    drives = [f"drive-{row // 4}" for row in range(40)]
    dark = [0.1, 0.5, 0.4, 0.3]
    table = ready(40, ALL_TRAIN, countries=["FR"], sequences=drives, brightness=dark, contrast=[0.2])
    first = balance(table, BalanceConfig(poorest=0)).frame.filter(pl.col("rank") < 10)
    assert first["brightness"].to_list() == [0.5] * 10


def test_the_poorest_wait_a_round_and_each_third_of_a_country_has_as_many() -> None:
    north = {"lat": [float(row) for row in range(90)], "brightness": [0.7 - row / 200 for row in range(90)]}
    table = ready(
        90, ALL_TRAIN, countries=["NO"], contrast=[0.2], sharpness=[100.0 + row for row in range(90)], **north
    )
    frame = balance(table, BalanceConfig(poorest=0.2)).frame.sort("rank")
    last = frame.tail(18)
    assert [last["lat"].is_between(low, low + 29).sum() for low in (0, 30, 60)] == [6, 6, 6]
    good = frame.head(72)["lat"].to_list()
    assert good != sorted(good)  # what is not poor stands in the order of chance


def test_keys_are_the_same_for_ever() -> None:
    frame = pl.DataFrame({"image_id": ["a", "b"], "sha256": ["00000000000000ff" + "0" * 48, None]})
    assert keys(frame, 0)[0] == splitmix64(0xFF)
    assert keys(frame, 0)[1] == keys(frame.drop("sha256"), 0)[1]
    assert keys(frame, 1)[0] != keys(frame, 0)[0]


def splitmix64(state: int) -> int:
    """The generator's published form, in whole numbers of any size."""
    state = (state + 0x9E3779B97F4A7C15) % 2**64
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
    return state ^ (state >> 31)


def test_any_text_column_may_be_balanced() -> None:
    """Soils of two countries, one of them without; each soil is capped and ranked by itself."""
    table = ready(120, ALL_TRAIN, countries=["FR", "JP"])
    soils = pl.Series("soil", [None if row % 10 == 0 else "red" if row % 3 else "grey" for row in range(120)])
    table = Manifest(table.frame.with_columns(soils), table.history)
    made = balance(table, BalanceConfig(label="soil", cap=20))
    used = made.frame.filter(pl.col("weight") > 0)
    assert dict(used["soil"].value_counts().iter_rows()) == {"red": 20, "grey": 20}
    assert used["weight"].mean() == pytest.approx(1)
    assert set(made.frame.filter(pl.col("soil").is_null())["weight"]) == {0.0}
    for (_,), rows in made.frame.drop_nulls("soil").group_by("soil"):
        assert sorted(rows["rank"]) == list(range(rows.height))
    assert [line for line in check(made) if not line.startswith("files: ")] == []
    assert in_use(made, "train", label="soil") == {"red": 20, "grey": 20}
    same = balance(table, BalanceConfig(cap=20)).frame
    assert same.drop("soil").equals(balance(ready(120, ALL_TRAIN, countries=["FR", "JP"]), BalanceConfig(cap=20)).frame)
    few = balance(table, BalanceConfig(label="soil", min_photos=50))
    with pytest.raises(UserError, match="at least two labels of `soil`; the manifest has 1"):
        choose_labels(few, TrainConfig(label="soil"))
    with pytest.raises(UserError, match="no column stone: give a column of text"):
        balance(table, BalanceConfig(label="stone"))
    with pytest.raises(UserError, match="label width: the column holds Int64, not text"):
        balance(table, BalanceConfig(label="width"))
    with pytest.raises(UserError, match="no soil has so many"):
        balance(table, BalanceConfig(label="soil", min_photos=100))


def test_refuses_what_makes_no_sense() -> None:
    with pytest.raises(UserError, match="whichland data split"):
        balance(clean(measured(3)))
    with pytest.raises(UserError, match="cap"):
        BalanceConfig(cap=0)
    with pytest.raises(UserError, match="power"):
        BalanceConfig(power=2)
    with pytest.raises(UserError, match="total or cap"):
        BalanceConfig(temper=0.5)
    with pytest.raises(UserError, match="below floor"):
        BalanceConfig(cap=5, floor=6)
    with pytest.raises(UserError, match="make 30"):
        quotas(np.array([10, 20, 40]), BalanceConfig(total=29, floor=10))


def test_numbers_grow_with_the_total_and_with_a_cap_that_alone_decides() -> None:
    """Of a fixed total, a higher cap gives to the large countries what it takes from the small ones."""
    counts = np.array([1000, 300, 100, 20, 20, 3])
    for temper in (0.0, 0.5, 1.0):
        by_total = [quotas(counts, BalanceConfig(total=total, temper=temper)) for total in range(6, 1500, 7)]
        assert all((more >= less).all() for less, more in pairwise(by_total))
        by_cap = [quotas(counts, BalanceConfig(cap=cap, temper=temper)) for cap in range(1, 1100, 7)]
        assert all((more >= less).all() for less, more in pairwise(by_cap))
    bound = [quotas(np.array([100, 20, 20, 20]), BalanceConfig(cap=cap, total=80, temper=1.0)) for cap in (20, 60)]
    assert [found.sum() for found in bound] == [80, 80]
    assert bound[1][0] > bound[0][0]
    assert (bound[1][1:] < bound[0][1:]).all()
