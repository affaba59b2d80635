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


def test_what_was_never_measured_is_not_called_unreadable() -> None:
    with pytest.raises(UserError, match="not measured: 1 of 3 photos"):
        clean(measured(3, sha256=["a" * 64, None, "b" * 64]))


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


def test_a_picture_in_many_countries_is_a_placeholder() -> None:
    said = {"phash": [7] * 5 + [8] * 4, "brightness": [0.9, 0.905, 0.9, 0.9, 0.5, *[0.9] * 4], "contrast": [0.2]}
    table = measured(9, countries=["FR", "JP", "NA", "FR", "NA", "FR", "FR", "JP", "JP"], **said)
    assert reasons(clean(table)) == ["placeholder"] * 4 + [None] * 5  # the fifth has other tones
    assert reasons(clean(table, CleanConfig(placeholder_countries=4))) == [None] * 9
    assert reasons(clean(table, CleanConfig(placeholder_countries=2)))[5:] == ["placeholder"] * 4
    off = CleanConfig(placeholder_countries=0, placeholder_sequences=0)
    assert reasons(clean(table, off)) == [None] * 9


def test_a_picture_in_many_sequences_is_a_placeholder() -> None:
    same = {"phash": [7], "brightness": [0.9], "contrast": [0.2]}
    drives = [f"drive-{row}" for row in range(10)]
    assert reasons(clean(measured(10, countries=["FR"], sequences=drives, **same))) == ["placeholder"] * 10
    assert reasons(clean(measured(10, countries=["FR"], sequences=drives[:9], **same))) == [None] * 10
    assert reasons(clean(measured(10, countries=["FR"], **same))) == [None] * 10


def test_equal_placeholders_in_two_countries_are_no_duplicates_first() -> None:
    table = measured(4, countries=["FR", "JP", "NA", "NA"], sha256=["a"], phash=[7], brightness=[0.9], contrast=[0.2])
    assert reasons(clean(table)) == ["placeholder"] * 4


def test_what_no_step_has_written_speaks_against_nobody() -> None:
    table = measured(2)
    bare = Manifest(table.frame.drop("entropy", "border_km", "country_conflict", strict=False), table.history)
    done = clean(bare)
    assert reasons(done) == [None, None]
    assert not {"entropy", "street", "border_km"} & set(done.frame.columns)


def test_low_information_and_off_street() -> None:
    scored = measured(3, entropy=[1.0, 7.0, 7.0])
    scored = Manifest(scored.frame.with_columns(street=pl.Series([0.9, 0.2, None])), scored.history)
    assert reasons(clean(scored)) == ["low_information", "off_street", None]
    assert reasons(clean(scored, CleanConfig(min_entropy=0, min_street=0))) == [None] * 3


def test_a_label_against_the_coordinates_is_wrong_away_from_borders() -> None:
    table = measured(5, country_conflict=[True, True, True, False, None], border_km=[0.5, 20.0, None, 20.0, 20.0])
    assert reasons(clean(table)) == [None, "wrong_country", "wrong_country", None, None]
    assert reasons(clean(table, CleanConfig(border_tolerance=30)))[1] is None


def near(count: int, **columns: list[object]) -> Manifest:
    return measured(count, **{"countries": ["FR"], "brightness": [0.5], "contrast": [0.2], **columns})


NEAR = CleanConfig(drop_near_duplicates=True, near_duplicate_bits=2)


def test_of_near_duplicates_the_best_is_kept() -> None:
    table = near(3, phash=[0, 1, 3], width=[640, 1280, 640])
    assert reasons(clean(table)) == [None] * 3
    assert reasons(clean(table, NEAR)) == ["near_duplicate", None, "near_duplicate"]
    table = near(2, phash=[0, 1], sharpness=[500.0, 800.0])
    assert reasons(clean(table, NEAR)) == ["near_duplicate", None]


def test_near_duplicates_of_two_countries_are_both_kept() -> None:
    table = near(4, countries=["FR", "JP", "JP", "JP"], phash=[0, 0, 0, 1])
    assert reasons(clean(table, NEAR)) == [None, None, "near_duplicate", "near_duplicate"]


def test_other_tones_are_another_scene() -> None:
    assert reasons(clean(near(2, phash=[0, 1], brightness=[0.5, 0.52]), NEAR)) == [None, None]


def test_a_chain_of_near_duplicates_keeps_more_than_one() -> None:
    chain = [2**n - 1 for n in range(12)]  # each a bit from the next, the ends eleven apart
    table = near(12, phash=chain, width=[640 + 12 - n for n in range(12)])
    kept = [row for row, reason in enumerate(reasons(clean(table, NEAR))) if reason is None]
    assert kept == [0, 3, 6, 9]


@pytest.mark.parametrize(
    "wrong",
    [
        {"placeholder_countries": 1},
        {"placeholder_sequences": -1},
        {"border_tolerance": -1.0},
        {"near_duplicate_bits": 40},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError):
        CleanConfig(**wrong)
