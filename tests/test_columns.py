import polars as pl
import pytest

from whichland.sources.columns import details, heading, projection, utc


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1495427386932", "2017-05-22T04:29:46.932Z"),
        ("1495427386", "2017-05-22T04:29:46Z"),
        ("1495427386932.0", "2017-05-22T04:29:46.932Z"),
        ("2020-09-18 07:19:10+02:00", "2020-09-18T05:19:10Z"),
        ("2017-05-22 04:29:46.932000-05:30", "2017-05-22T09:59:46.932Z"),
        ("2020-09-18T07:19:10.5+0530", "2020-09-18T01:49:10.500Z"),
        ("2020-09-18 07:19", "2020-09-18T07:19:00Z"),
        ("2017:05:22 10:11:12", "2017-05-22T10:11:12Z"),
        ("2017-05-22", "2017-05-22T00:00:00Z"),
        ("1920-01-01T00:00:00Z", "1920-01-01T00:00:00Z"),
        ("2020-13-18", None),
        ("yesterday", None),
        ("12345", None),
        (None, None),
    ],
)
def test_times(text: str | None, time: str | None) -> None:
    made = pl.DataFrame({"t": pl.Series([text], dtype=pl.String)}).select(utc(pl.col("t")))
    assert made["t"].to_list() == [time]


def test_headings_and_projections() -> None:
    cells = pl.DataFrame(
        {"h": ["-90", "360", "12.5", "nan", "x", None], "p": ["SPHERE", "Plane", "brown", "", "fisheye", None]}
    )
    assert cells.select(heading(pl.col("h")))["h"].to_list() == [270.0, 0.0, 12.5, None, None, None]
    named = cells.select(projection(pl.col("p")))["p"].to_list()
    assert named == ["equirectangular", "perspective", "perspective", None, None, None]


def test_what_is_not_understood_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    rows = pl.DataFrame({"captured_at": ["noon", None], "projection": ["plane", "fisheye"], "license": ["CC0", "CC0"]})
    made = details(rows, "t.csv")
    assert made["captured_at"].to_list() == [None, None]
    said = capsys.readouterr().err
    assert "t.csv: 1 row with a time of capture that is not understood" in said
    assert "t.csv: 1 row with a projection that is not understood" in said


def test_a_licence_is_parted_from_its_note() -> None:
    rows = pl.DataFrame({"license": ["CC-BY-SA-4.0 (Mapillary contributors)", "CC0", "all rights (mostly) reserved"]})
    made = details(rows, "t.csv")
    assert made["license"].to_list() == ["CC-BY-SA-4.0", "CC0", "all rights (mostly) reserved"]
    assert made["attribution"].to_list() == ["Mapillary contributors", None, None]
    given = details(rows.with_columns(pl.lit("Ana").alias("attribution")), "t.csv")
    assert given["attribution"].to_list() == ["Ana"] * 3
