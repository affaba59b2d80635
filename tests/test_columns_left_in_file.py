"""A step that reads only the columns it needs makes the table that it makes of all of them."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curated import measured
from whichland.curate import balance, clean, geocode, split
from whichland.curate.check import check
from whichland.curate.stats import stats
from whichland.errors import UserError
from whichland.manifest import Manifest, read, write

STEPS: list[tuple[str, Callable[[Manifest], Manifest], Iterable[str]]] = [
    ("clean", clean.clean, clean.READ),
    ("geocode", geocode.geocode, geocode.READ),
    ("clean again", clean.clean, clean.READ),
    ("split", split.split, split.READ),
    ("balance", balance.balance, {*balance.READ, "country"}),
    ("balance again", balance.balance, {*balance.READ, "country"}),
    ("split again", split.split, split.READ),
    ("balance once more", balance.balance, {*balance.READ, "country"}),
    ("clean harder", lambda table: clean.clean(table, clean.CleanConfig(min_sharpness=900)), clean.READ),
]


def full_table(path: Path) -> Path:
    """A measured table in which every column that a step reads says something."""
    random = np.random.default_rng(5)
    made = measured(240, sequences=[None, "a", "b", "c", "d", None], countries=["FR", "FR", "NA", "FR", None])
    rows = pl.int_range(pl.len())
    tie = pl.when(rows % 40 == 1)
    frame = made.frame.with_columns(
        lat=pl.when(rows == 22).then(45.8326).when(rows % 3 > 0).then(pl.Series(random.uniform(44, 48, 240))),
        lon=pl.when(rows == 22).then(6.8652).when(rows % 3 > 0).then(pl.Series(random.uniform(0, 5, 240))),
        width=pl.when(rows == 13).then(20).otherwise("width"),
        height=pl.when(rows == 14).then(20).otherwise("height"),
        brightness=pl.when(rows == 16).then(0.01).otherwise("brightness"),
        contrast=pl.when(rows == 17).then(0.001).otherwise("contrast"),
        sharpness=pl.Series(random.uniform(5, 2000, 240)),
        entropy=pl.when(rows % 50 == 3).then(1.0).otherwise(pl.Series(random.uniform(4, 8, 240))),
        street=pl.when(rows % 60 == 5).then(0.1).otherwise(0.9),
        review=pl.when(rows == 10).then(pl.lit("dropped")).when(rows == 11).then(pl.lit("corrected")),
        review_country=pl.when(rows == 11).then(pl.lit("DE")),
        review_was=pl.when(rows.is_in([10, 11])).then(pl.lit("FR")),
        unreadable=pl.when(rows == 12).then(pl.lit("cut off")),
        sha256=tie.then(pl.col("sha256").shift(1)).otherwise("sha256").reverse(),
        phash=pl.when(rows % 30 == 2).then(pl.col("phash").shift(2)).otherwise("phash"),
        panorama=pl.when(rows % 20 < 2).then(pl.format("pano-{}", rows // 20)),
        license=pl.lit("CC0-1.0"),
        camera=pl.format("camera {}", rows % 3),
    )
    return write(Manifest(frame).with_step("ingest", frame), path)


def test_a_step_needs_no_column_but_those_that_it_reads(tmp_path: Path) -> None:
    whole, part = full_table(tmp_path / "whole.parquet"), tmp_path / "part.parquet"
    shutil.copy(whole, part)
    for name, step, needed in STEPS:
        before = read(part, needed)
        assert {"license", "camera"} & set(before.frame.columns) == set(), name
        write(step(read(whole)), whole)
        write(step(before), part)  # into the file that it reads from
        made, expected = read(part), read(whole)
        assert made.frame.equals(expected.frame, null_equal=True), name
        assert made.history == expected.history, name
        found = check(expected)
        assert check(read(part, ["image_id"])) == found, name
        assert str(stats(read(part, ["image_id"]))) == str(stats(expected)), name
    assert len(found) > 2  # photos that are not there, and what cleaning took from the split: the check sees all of it
    reasons = {"unreadable", "low_information", "no_country", "off_street", "review", "duplicate"}
    assert reasons <= set(made.frame["drop_reason"])


def test_a_table_of_which_no_row_is_kept_says_why_from_its_file(tmp_path: Path) -> None:
    table = clean.clean(read(full_table(tmp_path / "table.parquet")), clean.CleanConfig(min_side=10_000))
    part = read(write(table, tmp_path / "table.parquet"), ["image_id"])
    assert (part.kept_count, part.kept.height) == (0, 0)
    assert check(part) == check(table)
    assert any("no row is kept: left out: 240 of 240 rows" in line for line in check(part))


def test_columns_of_other_rows_are_not_put_beside_the_rest(tmp_path: Path) -> None:
    table = read(full_table(tmp_path / "table.parquet"), ["image_id"])
    with pytest.raises(pl.exceptions.PolarsError):
        write(Manifest(table.frame.head(3), table.history, table.rest), tmp_path / "out.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["table.parquet"]


def test_a_file_that_another_command_has_written_meanwhile_is_not_mixed_with(tmp_path: Path) -> None:
    path = full_table(tmp_path / "table.parquet")
    table = geocode.geocode(read(path, geocode.READ))
    write(read(path), path)
    with pytest.raises(UserError, match="changed while it was worked on, by another command; run this one again"):
        write(table, path)
    path.unlink()
    with pytest.raises(UserError, match="changed while"):
        write(table, tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []
