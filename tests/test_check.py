"""Each invariant, broken on purpose, is found; a sound manifest has no problem."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from curated import measured, photo, save
from whichland.curate import check as checking
from whichland.curate.balance import BalanceConfig, balance
from whichland.curate.check import check
from whichland.curate.clean import clean
from whichland.curate.measure import measure
from whichland.curate.split import SplitConfig, split
from whichland.manifest import SCHEMA, Manifest


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Twelve photos that exist, two of them near-duplicates, through all steps."""
    folder = tmp_path_factory.mktemp("photos")
    paths = [save(photo(seed, size=(160, 120)), folder / f"{seed}.jpg") for seed in range(11)]
    paths.append(save(photo(0, size=(160, 120)), folder / "again.jpg", quality=60))
    made = measured(12, countries=["FR", "JP", "NA", "JP"], sequences=["drive", *[None] * 10, None]).frame
    sources = made.drop([column.name for column in SCHEMA if column.writer == "measure"])
    frame = sources.with_columns(uri=pl.Series([str(path) for path in paths]))
    begun = Manifest(frame.head(0)).with_step("ingest", frame, origin=str(folder))
    config = SplitConfig(val=0.3, test=0.3, seed=2)
    return balance(split(clean(measure(begun, workers=1, progress=False)), config), BalanceConfig(cap=2))


def broken(manifest: Manifest, row: int, **values: object) -> list[str]:
    """The problems found once some cells of a row are changed."""
    index = pl.int_range(pl.len()) == row
    frame = manifest.frame.with_columns(
        pl.when(index).then(pl.lit(value, dtype=manifest.frame.schema[name])).otherwise(pl.col(name)).alias(name)
        for name, value in values.items()
    )
    return check(Manifest(frame, manifest.history))


def kept_in(manifest: Manifest, part: str) -> int:
    return int((manifest.frame["split"] == part).arg_max() or 0)


def test_a_sound_manifest_has_no_problem(sound: Manifest) -> None:
    assert check(sound) == []
    assert check(sound, all_files=True) == []
    assert sound.frame["group"].n_unique() == 11


def test_a_table_of_which_nothing_is_kept_is_a_problem() -> None:
    nowhere = Manifest(measured(6).frame.with_columns(country=pl.lit(None, pl.String)), measured(6).history)
    assert "countries: no row is kept: left out: 6 of 6 rows (6 no_country)" in check(clean(nowhere))


def test_every_step_leaves_a_sound_manifest() -> None:
    table = measured(50)
    files = "files: "
    for step in (clean, split, balance):
        table = step(table)
        assert [line for line in check(table) if not line.startswith(files)] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"country": None}, "countries: kept rows without a country: 1"),
        ({"country": "XX"}, "countries: not ISO"),
        ({"split": None}, "groups: kept rows without a split: 1"),
        ({"group": None}, "groups: kept rows without a group: 1"),
        ({"drop_reason": "dark"}, "groups: dropped rows with a split: 1"),
        ({"rank": 77}, "balance: ranks do not count from 0"),
        ({"weight": None}, "balance: train rows without a weight: 1"),
        ({"weight": -3.0}, "balance: negative weights: 1"),
        ({"sha256": "0" * 64}, "has changed since it was measured"),
        ({"uri": "/nowhere/at/all.jpg"}, "files: "),
        ({"split": "holdout"}, "schema: column split has values outside"),
    ],
)
def test_a_changed_cell_is_found(sound: Manifest, change: dict[str, object], said: str) -> None:
    found = broken(sound, kept_in(sound, "train"), **change)
    assert any(said in line for line in found), found


def test_a_photo_moved_to_another_split_is_found(sound: Manifest) -> None:
    row = kept_in(sound, "train")
    found = broken(sound, row, split="test", rank=None, weight=None)
    assert any(line.startswith("split: 1 group is not where the hash of seed 2 puts them") for line in found)


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_the_certificate_rejects_one_changed_split(sound: Manifest, part: str) -> None:
    other = "val" if part == "test" else "test"
    found = broken(sound, kept_in(sound, part), split=other)
    assert any(line.startswith("certificate: the hash of the assignment differs") for line in found), found
    assert any(line.startswith("certificate: it states") and "photos of" in line for line in found), found


def forged(manifest: Manifest, **values: object) -> list[str]:
    """The problems found once fields of the certificate are changed."""
    history = list(manifest.history)
    at = next(row for row, line in enumerate(history) if line.step == "split")
    certificate = history[at].params["certificate"] | values
    history[at] = replace(history[at], params=history[at].params | {"certificate": certificate})
    return check(Manifest(manifest.frame, tuple(history)))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("groups", 7, "certificate: it states 7 groups"),
        ("seed", 9, "certificate: it names another seed"),
        ("largest_group", {"name": "x", "photos": 12}, "the largest of 12 photos; the rows give 11 and 2"),
        ("photos", 13, "certificate: of its 13 photos 1 left out since"),
        ("nearest_km", {"train-val": 1.0, "train-test": None, "val-test": None}, "states 1 km between train"),
    ],
)
def test_a_forged_field_of_the_certificate_is_found(sound: Manifest, field: str, value: object, said: str) -> None:
    found = forged(sound, **{field: value})
    assert len(found) == 1
    assert said in found[0]


def test_a_split_without_a_certificate_is_told(sound: Manifest) -> None:
    history = tuple(
        replace(line, params={k: v for k, v in line.params.items() if k != "certificate"}) for line in sound.history
    )
    found = check(Manifest(sound.frame, history))
    assert any(line.startswith("certificate: the split has none; run") for line in found)


def test_cleaning_after_the_split_asks_for_another_split_which_moves_nothing(sound: Manifest) -> None:
    worse = sound.frame.with_columns(sharpness=pl.when(pl.int_range(pl.len()) == 5).then(0.5).otherwise("sharpness"))
    cleaned = clean(Manifest(worse, sound.history))
    (problem,) = check(cleaned)
    assert problem.startswith("certificate: of its 12 photos 1 left out since; run `whichland")
    again = split(cleaned, SplitConfig(val=0.3, test=0.3, seed=2))
    assert check(again) == []
    moved = again.frame["split"].drop_nulls().ne(sound.frame.filter(again.frame["split"].is_not_null())["split"])
    assert moved.sum() == 0


def test_places_are_derived_anew() -> None:
    """Forty places a kilometre apart, two photos 30 m apart at each; then one photo stands where another does."""
    lat = [row // 2 * 0.01 + row % 2 * 0.0003 for row in range(80)]
    table = split(clean(measured(80, countries=["FR"], lat=lat, lon=[2.0])))
    assert table.frame["group"].n_unique() == 40
    assert [line for line in check(table) if not line.startswith("files: ")] == []
    stated = table.history[-1].params["certificate"]["nearest_km"]
    assert stated["train-test"] == pytest.approx((0.01 - 0.0003) * 111.195, abs=1e-3)
    test = table.frame.filter(pl.col("split") == "test")["lat"][0]
    row = kept_in(table, "train")
    found = broken(table, row, lat=test + 0.0001)
    assert any(line.startswith("certificate: a photo of train and one of test are 0.011") for line in found), found
    assert any("certificate: it states 1.07" in line for line in found), found


def test_places_that_are_no_numbers_and_distances_that_are_too_short() -> None:
    lat = [row * 0.01 for row in range(20)] + [float("nan")]
    table = split(clean(measured(21, countries=["FR"], lat=lat, lon=[2.0])))
    assert [line for line in check(table) if not line.startswith("files: ")] == []
    stated = table.history[-1].params["certificate"]["nearest_km"]
    found = forged(table, nearest_km=stated | {"train-test": 0.2})
    (line,) = [line for line in found if line.startswith("certificate: it states")]
    assert line.endswith("0.2 km between train and test; the rows give 1.11195 km"), found


def test_torn_sequences_groups_and_near_duplicates_are_found(sound: Manifest) -> None:
    first, twin = sound.frame.row(0, named=True), sound.frame.row(11, named=True)
    assert first["group"] == twin["group"] == "sequence/made/drive"
    other = next(part for part in ("train", "val", "test") if part != first["split"])
    found = broken(sound, 11, split=other, group="made/elsewhere")
    assert any(line.startswith("near-duplicates: 1 pair in different splits") for line in found), found
    found = broken(sound, 11, split=other, sequence="drive")
    assert any("1 groups stand in several splits" in line for line in found), found
    assert any("1 sequences stand in several splits" in line for line in found), found


def test_near_duplicates_of_other_tones_are_found_by_plain_comparison_and_by_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A split of an older version, which looked at the tones of all pairs, is judged by its own rules."""
    table = split(clean(measured(20, countries=["FR"])), SplitConfig(val=0.3, test=0.3))
    one, other = kept_in(table, "train"), kept_in(table, "test")
    close = table.frame["phash"][one] ^ 0b1111
    for rows in (40_000, 0):
        monkeypatch.setattr(checking, "PLAIN_SEARCH", rows)
        assert any(
            line.startswith("near-duplicates: 1 pair in different splits") for line in broken(table, other, phash=close)
        )
        assert not any(line.startswith("near-duplicates") for line in broken(table, other, phash=close ^ 0b111110000))
    params = {name: value for name, value in table.history[-1].params.items() if name != "near_duplicate_closer"}
    old = Manifest(table.frame, (*table.history[:-1], replace(table.history[-1], params=params)))
    assert not any(line.startswith("near-duplicates") for line in broken(old, other, phash=close))


@pytest.mark.parametrize("column", ["split", "group", "drop_reason", "phash", "country", "lat"])
def test_a_column_that_a_step_wrote_and_is_gone_is_told(sound: Manifest, column: str) -> None:
    found = check(Manifest(sound.frame.drop(column), sound.history))
    assert any(line.startswith("history: ") and line.endswith(f"no column {column}") for line in found), found


def test_repeated_bytes_and_lost_rows_are_found(sound: Manifest) -> None:
    found = broken(sound, 1, sha256=sound.frame["sha256"][2])
    assert any(line.startswith("duplicates: kept rows with the bytes of another kept row: 2") for line in found), found
    shorter = check(Manifest(sound.frame.head(11), sound.history))
    assert any(line.startswith("history: steps never add or delete rows") for line in shorter)
    assert any(line.startswith("history: there is none") for line in check(Manifest(sound.frame)))


def test_rows_outside_train_have_no_weight(sound: Manifest) -> None:
    found = broken(sound, kept_in(sound, "test"), weight=1.0, rank=0)
    assert "balance: rows outside train with a rank: 1" in found


def test_only_a_full_check_reads_every_file(tmp_path: Path) -> None:
    paths = [save(photo(seed, size=(64, 64)), tmp_path / f"{seed}.png") for seed in range(130)]
    names = [str(path) for path in paths]
    frame = pl.DataFrame({"image_id": names, "uri": names, "source": "made"})
    table = measure(Manifest(frame.head(0)).with_step("ingest", frame), workers=1, progress=False)
    save(photo(999, size=(64, 64)), paths[1])
    assert check(table) == []
    assert len(check(table, all_files=True)) == 1
