"""Counts against counting by hand, and a chart that is a picture."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curated import measured
from whichland.cli.main import main
from whichland.curate.balance import BalanceConfig, balance
from whichland.curate.charts import before_and_after, chart, in_use
from whichland.curate.clean import clean
from whichland.curate.split import split
from whichland.curate.stats import drop_rates, excesses, stats
from whichland.errors import UserError
from whichland.geo.countries import COUNTRIES
from whichland.manifest import Manifest, write


def test_tables_count_what_is_there() -> None:
    table = split(clean(measured(90, countries=["FR", "FR", "NA"], sharpness=[1.0, *[900.0] * 8])))
    found = stats(table)
    frame = table.frame
    assert (found.rows, found.kept) == (90, 80)
    assert found.by_country["country"].to_list() == ["FR", "NA"]
    assert found.by_country["name"].to_list() == ["France", "Namibia"]
    france = found.by_country.row(0, named=True)
    assert (france["kept"], france["dropped"], france["groups"]) == (50, 10, 50)
    for part in ("train", "val", "test"):
        expected = ((frame["country"] == "FR") & (frame["split"] == part)).sum()
        assert france[part] == expected
    assert found.by_split["split"].to_list() == ["train", "val", "test"]
    assert found.by_split["photos"].sum() == found.by_split["groups"].sum() == 80
    assert found.by_drop_reason.rows() == [("blurred", 10, 10 / 90)]
    assert found.by_source.rows() == [("made", 90, 80, 2)]


def test_a_manifest_that_is_only_ingested_can_be_counted() -> None:
    found = stats(measured(4, countries=["FR", None]))
    assert (found.rows, found.kept) == (4, 4)
    assert set(found.by_country["name"]) == {"France", "(none)"}
    assert found.by_split.height == found.by_drop_reason.height == 0
    assert set(found.as_dict()) == {
        "rows",
        "kept",
        "by_country",
        "by_split",
        "by_source",
        "by_drop_reason",
        "by_reason_unreadable",
        "drop_rates",
        "excesses",
    }


@pytest.mark.parametrize("steps", ["kept", "split"])
def test_the_chart_has_a_bar_for_each_country(tmp_path: Path, steps: str) -> None:
    table = clean(measured(60))
    found = stats(split(table) if steps == "split" else table)
    picture = Image.open(chart(found, tmp_path / "chart.png")).convert("L")
    small = Image.open(chart(stats(clean(measured(60, countries=["FR"]))), tmp_path / "one.png"))
    assert picture.height > small.height
    assert np.unique(np.asarray(picture)).size > 10


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to draw"):
        chart(stats(measured(2, countries=[None])), tmp_path / "chart.png")


def dropped(rates: dict[str, tuple[int, int]], **columns: list[object]) -> Manifest:
    """A cleaned manifest with (dark, photos) of each country."""
    countries = [code for code, (_, photos) in rates.items() for _ in range(photos)]
    light = [0.01 if row < dark else 0.5 for dark, photos in rates.values() for row in range(photos)]
    return clean(measured(len(countries), countries=countries, brightness=light, **columns))


def test_a_country_that_loses_far_more_is_told() -> None:
    table = dropped({"NO": (30, 100), "BR": (10, 500), "KE": (10, 500), "NA": (1, 3)})
    (told,) = excesses(table, "country")
    assert (told.place, told.reason, told.dropped, told.photos) == ("Norway", "dark", 30, 100)
    assert told.rate == 0.3
    assert told.elsewhere == 21 / 1003
    assert told.p < 1e-12
    assert str(told) == "Norway: 30 of 100 photos dark (30.0%), elsewhere 2.09%"
    assert stats(table).as_dict()["excesses"][0]["place"] == "Norway"
    assert excesses(dropped({"NO": (4, 100), "BR": (10, 500)}), "country") == []


def test_chance_alone_is_hardly_ever_told() -> None:
    random = np.random.default_rng(0)
    codes = ["NO", "SE", "FR", "ES", "BR", "KE", "JP", "AU", "US", "CA"]
    told = 0
    for _ in range(40):
        told += len(excesses(dropped({code: (int(random.binomial(60, 0.05)), 60) for code in codes}), "country"))
    assert told <= 1


def test_rates_by_region_and_latitude() -> None:
    table = dropped({"NO": (2, 4), "SE": (1, 4), "NA": (0, 4)}, lat=[61.0, 70.0, 74.9, 75.0, *[60.0] * 4, *[-20.0] * 4])
    regions = drop_rates(table, "region")
    assert regions.select("region", "photos", "dropped", "rate", "dark").rows() == [
        ("Northern Europe", 8, 3, 0.375, 0.375),
        ("Southern Africa", 4, 0, 0.0, 0.0),
    ]
    bands = drop_rates(table, "latitude")
    assert bands.select("latitude", "photos", "dropped").rows() == [
        ("75–90° N", 1, 0), ("60–75° N", 7, 3), ("15–30° S", 4, 0),
    ]  # fmt: skip
    assert drop_rates(measured(3), "country").height == 0
    assert excesses(measured(3), "latitude") == []


def test_before_and_after_are_drawn(tmp_path: Path) -> None:
    table = split(clean(measured(300, countries=["FR"] * 8 + ["JP", "NA"])))
    balanced = balance(table, BalanceConfig(cap=20))
    before, after = in_use(table, "train"), in_use(balanced, "train")
    assert after == {code: min(20, count) for code, count in before.items()}
    assert in_use(balanced)["FR"] == in_use(table)["FR"] - before["FR"] + 20
    few = Image.open(before_and_after(before, after, tmp_path / "new" / "few.png", what="Photos"))
    many = {code: 3**5 + at for at, code in enumerate(list(COUNTRIES)[:124])}
    page = Image.open(before_and_after(many, dict.fromkeys(many, 100), tmp_path / "many.png", what="Photos"))
    assert page.height > few.height
    assert page.height < 1.6 * page.width  # so that it fits a sheet of paper
    assert before_and_after(before, after, tmp_path / "few.svg", what="Photos").read_text().startswith("<?xml")
    with pytest.raises(UserError, match=r"\.svg"):
        before_and_after(before, after, tmp_path / "few.xlsx", what="Photos")
    with pytest.raises(UserError, match="nothing to draw"):
        before_and_after({}, {}, tmp_path / "none.png", what="Photos")


def test_the_commands_draw_warn_and_show_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table, thin = tmp_path / "world.parquet", tmp_path / "thin.parquet"
    write(split(dropped({"NO": (30, 100), "BR": (2, 500)})), table)

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["whichland", "data", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert ended.value.code == (2 if "whichland: " in said.err else 0)
        return said.out + said.err

    said = run("balance", table, "-o", thin, "--cap", 20, "--chart", tmp_path / "balance.svg")
    assert "of train not used" in said
    assert "Norway" in (tmp_path / "balance.svg").read_text()
    sheets, drawn = tmp_path / "sheets", tmp_path / "both.png"
    said = run("stats", thin, "--before", table, "--chart", drawn, "--examples", sheets)
    assert "warning: Norway: 30 of 100 photos dark (30.0%), elsewhere 0.40%" in said
    assert "Dropped, by region" in said
    assert Image.open(drawn).width > 500
    assert "dark: 32 dropped" in (sheets / "index.html").read_text(encoding="utf-8")
    assert "give both" in run("stats", thin, "--before", table)


def test_a_latitude_that_is_no_number_is_left_out() -> None:
    made = measured(6, lat=[10.0, float("nan")])
    table = drop_rates(clean(made), "latitude")
    assert table.select("latitude", "photos").rows() == [("0–15° N", 3)]
