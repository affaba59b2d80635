"""Reasons in their order, duplicates, and what is left of an earlier split."""

import polars as pl
import pytest

from curated import measured
from whichland.curate.balance import balance
from whichland.curate.clean import CleanConfig, clean
from whichland.curate.split import split
from whichland.errors import UserError
from whichland.manifest import Manifest


def reasons(manifest: Manifest) -> list[str | None]:
    return manifest.frame["drop_reason"].to_list()


def test_each_fault_has_its_reason() -> None:
    table = measured(
        7,
        countries=["FR", "FR", "FR", "FR", "FR", None, "NA"],
        unreadable=["broken JPEG", *[None] * 6],
        width=[640, 63, *[640] * 5],
        brightness=[0.5, 0.5, 0.05, 0.5, 0.5, 0.5, 0.5],
        contrast=[0.2, 0.2, 0.2, 0.01, 0.2, 0.2, 0.2],
        sharpness=[900.0, 900.0, 900.0, 900.0, 3.0, 900.0, 900.0],
    )
    done = clean(table)
    assert reasons(done) == ["unreadable", "tiny", "dark", "blank", "blurred", "no_country", None]
    assert done.history[-1].dropped["blank"] == 1
    assert len(done) == 7
    assert done.kept["country"].to_list() == ["NA"]


def test_the_first_reason_wins() -> None:
    one = {"width": [10], "brightness": [0.0], "contrast": [0.0], "sharpness": [0.0]}
    assert reasons(clean(measured(1, countries=[None], **one))) == ["tiny"]
    lax = CleanConfig(min_side=1, min_brightness=0)
    assert reasons(clean(measured(1, countries=[None], **one), lax)) == ["blank"]
    assert reasons(clean(measured(1, sha256=[None], unreadable=["no such file"]))) == ["unreadable"]


def test_thresholds_are_settings() -> None:
    table = measured(1, sharpness=[500.0])
    assert reasons(clean(table)) == [None]
    assert reasons(clean(table, CleanConfig(min_sharpness=501))) == ["blurred"]


def test_of_equal_bytes_the_best_known_row_is_kept() -> None:
    table = measured(4, countries=["FR"], sha256=["a" * 64], sequences=[None, None, "drive", None])
    assert reasons(clean(table)) == ["duplicate", "duplicate", None, "duplicate"]
    table = measured(3, countries=["FR"], sha256=["a" * 64])
    assert reasons(clean(table)) == [None, "duplicate", "duplicate"]
    assert reasons(clean(table, CleanConfig(drop_duplicates=False))) == [None] * 3


def test_equal_bytes_under_two_countries_are_all_dropped() -> None:
    table = measured(4, countries=["FR", "JP", "FR", "FR"], sha256=["a", "a", "a", "b"])
    assert reasons(clean(table)) == ["conflicting_label"] * 3 + [None]


def test_a_row_that_is_out_for_another_reason_takes_part_in_no_conflict() -> None:
    assert reasons(clean(measured(2, countries=["FR", None], sha256=["a"]))) == [None, "no_country"]


def test_row_order_changes_nothing() -> None:
    table = measured(30, sha256=["a", "b", "c", "d", "e", "f", "g"])
    turned = clean(Manifest(table.frame.reverse(), table.history)).frame
    assert turned.sort("image_id").equals(clean(table).frame.sort("image_id"))


def test_dropping_more_takes_rows_out_of_an_earlier_split() -> None:
    table = balance(split(clean(measured(40))))
    frame = table.frame.with_columns(
        sharpness=pl.when(pl.col("image_id") == table.frame["image_id"][0]).then(1.0).otherwise("sharpness")
    )
    again = clean(Manifest(frame, table.history)).frame
    assert again.row(0, named=True)["split"] is None
    assert again["split"][1:].equals(table.frame["split"][1:])
    assert not {"rank", "weight"} & set(again.columns)


def test_an_unmeasured_manifest_is_refused() -> None:
    table = measured(1)
    with pytest.raises(UserError, match="whichland data measure"):
        clean(Manifest(table.frame.drop("sha256")))
