"""Sheets of real files: the borderline first, what was just kept, and a page that needs no other file."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from curated import measured, photo, save
from whichland.curate.clean import CleanConfig, clean
from whichland.curate.contact_sheet import Sheet, contact_sheets, sheets
from whichland.errors import UserError
from whichland.manifest import Manifest


def shown(manifest: Manifest, per_sheet: int = 24) -> dict[str, Sheet]:
    return {made.name: made for made in sheets(manifest, per_sheet)}


def test_the_borderline_comes_first_on_either_side() -> None:
    table = clean(measured(6, brightness=[0.01, 0.05, 0.03, 0.5, 0.07, 0.3]))
    found = shown(table)
    assert [example.value.split()[0] for example in found["dropped-dark"].examples] == ["0.05", "0.03", "0.01"]
    assert [example.value.split()[0] for example in found["kept-dark"].examples] == ["0.07", "0.3", "0.5"]
    assert found["dropped-dark"].rule == "below 0.06 brightness (--min-brightness)"
    assert found["kept-dark"].rule == "at least 0.06 brightness (--min-brightness)"
    assert len(shown(table, 2)["dropped-dark"].examples) == 2
    assert found["dropped-dark"].rows == 3
    assert "kept-off_street" not in found  # nobody has scored


def test_the_threshold_shown_is_the_one_that_was_used() -> None:
    table = clean(measured(4, sharpness=[5.0, 20.0, 40.0, 900.0]), CleanConfig(min_sharpness=30))
    assert [example.value for example in shown(table)["dropped-blurred"].examples] == ["20 sharpness", "5 sharpness"]
    assert "below 30" in shown(table)["dropped-blurred"].rule


def test_a_wrong_country_shows_both_and_the_nearest_to_a_border() -> None:
    columns = {"label_country": ["FR"], "country_conflict": [True], "border_km": [9.0, 0.5, 3.0, 0.1]}
    found = shown(clean(measured(4, countries=["BE"], **columns)))
    assert [example.value.split()[0] for example in found["dropped-wrong_country"].examples] == ["3", "9"]
    assert [example.value.split()[0] for example in found["kept-wrong_country"].examples] == ["0.5", "0.1"]
    assert found["dropped-wrong_country"].examples[0].country == "Belgium, label France"
    assert found["kept-wrong_country"].rule.startswith("at most 1 km")


def test_near_duplicates_stand_beside_what_is_kept() -> None:
    table = measured(
        4, countries=["FR"], phash=[0, 1, 7, 2**64 - 1], brightness=[0.5], contrast=[0.2], width=[640, 320, 320, 640]
    )
    found = shown(clean(table, CleanConfig(drop_near_duplicates=True)))["dropped-near_duplicate"]
    assert [example.image_id[-1] for example in found.examples] == ["2", "0", "1", "0"]
    assert found.examples[0].value == "left out, 3 bits from the next"


def test_pictures_and_page_are_written(tmp_path: Path) -> None:
    files = [save(photo(seed, size=(400, 200)), tmp_path / f"{seed}.jpg") for seed in range(4)]
    uris = [*map(str, files), str(tmp_path / "gone.jpg")]
    table = measured(
        5,
        uri=uris,
        countries=["FR", "JP"],
        brightness=[0.01, 0.02, 0.5, 0.5, 0.03],
        unreadable=[None, None, None, "broken JPEG <script>", None],
        attribution=["© a mapper, CC-BY-SA-4.0"],
    )
    (tmp_path / "sheets").mkdir()
    stale = tmp_path / "sheets" / "dropped-tiny.jpg"
    stale.write_bytes(b"of an earlier run")
    index = contact_sheets(clean(table), tmp_path / "sheets")
    page = index.read_text(encoding="utf-8")
    assert "5 rows, 1 kept" in page
    assert page.count("data:image/jpeg;base64,") > 2
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # self-contained
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "gone.jpg: " in page  # what cannot be shown says why
    assert "© a mapper" in page
    assert not stale.exists()
    picture = Image.open(index.parent / "dropped-dark.jpg")
    assert np.unique(np.asarray(picture.convert("L"))).size > 100
    assert not list(index.parent.glob("*.part"))


def test_panoramas_have_more_room(tmp_path: Path) -> None:
    for name, size in (("wide", (800, 200)), ("plain", (400, 300))):
        uris = [str(save(photo(seed, size=size), tmp_path / f"{name}-{seed}.jpg")) for seed in range(7)]
        table = clean(measured(7, uri=uris, brightness=[0.01 + seed / 1000 for seed in range(7)]))
        contact_sheets(table, tmp_path / name)
    wide = Image.open(tmp_path / "wide" / "dropped-dark.jpg")
    plain = Image.open(tmp_path / "plain" / "dropped-dark.jpg")
    assert wide.width == plain.width  # three a row, not six
    assert "class=wide" in (tmp_path / "wide" / "index.html").read_text(encoding="utf-8")
    assert "class=wide" not in (tmp_path / "plain" / "index.html").read_text(encoding="utf-8")


def test_what_was_not_cleaned_has_no_sheets(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="data clean"):
        contact_sheets(measured(2), tmp_path)
    table = measured(2)
    with pytest.raises(UserError, match="no cleaning"):
        contact_sheets(Manifest(table.frame.with_columns(drop_reason=pl.lit(None, dtype=pl.String))), tmp_path)
