"""Counts against counting by hand, and a chart that is a picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curated import measured
from whichland.curate.charts import chart
from whichland.curate.clean import clean
from whichland.curate.split import split
from whichland.curate.stats import stats
from whichland.errors import UserError


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
