"""Each invariant, broken on purpose, is found; a sound manifest has no problem."""

from pathlib import Path

import polars as pl
import pytest

from curated import measured, photo, save
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
        pl.when(index)
        .then(pl.lit(value, dtype=manifest.frame.schema[name]))
        .otherwise(pl.col(name))
        .alias(name)
        for name, value in values.items()
    )
    return check(Manifest(frame, manifest.history))


def kept_in(manifest: Manifest, part: str) -> int:
    return int((manifest.frame["split"] == part).arg_max() or 0)


def test_a_sound_manifest_has_no_problem(sound: Manifest) -> None:
    assert check(sound) == []
    assert check(sound, all_files=True) == []
    assert sound.frame["group"].n_unique() == 11


def test_every_step_leaves_a_sound_manifest() -> None:
    table = measured(50)
    files = "files: "
    for step in (clean, split, balance):
        table = step(table)
        assert [line for line in check(table) if not line.startswith(files)] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"country": None}, "countries: 1 kept rows have no country"),
        ({"country": "XX"}, "countries: not ISO"),
        ({"split": None}, "groups: 1 kept rows have no split"),
        ({"group": None}, "groups: 1 kept rows have no group"),
        ({"drop_reason": "dark"}, "groups: 1 dropped rows have a split"),
        ({"rank": 77}, "balance: ranks do not count from 0"),
        ({"weight": None}, "balance: 1 train rows have no weight"),
        ({"weight": -3.0}, "balance: 1 weights are negative"),
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
    assert any(
        line.startswith("split: 1 groups are not where the hash of seed 2 puts them") for line in found
    )


def test_torn_sequences_groups_and_near_duplicates_are_found(sound: Manifest) -> None:
    first, twin = sound.frame.row(0, named=True), sound.frame.row(11, named=True)
    assert first["group"] == twin["group"] == "sequence/drive"
    other = next(part for part in ("train", "val", "test") if part != first["split"])
    found = broken(sound, 11, split=other, group="made/elsewhere")
    assert any(line.startswith("near-duplicates: 1 pairs") for line in found), found
    found = broken(sound, 11, split=other, sequence="drive")
    assert any("1 groups stand in several splits" in line for line in found), found
    assert any("1 sequences stand in several splits" in line for line in found), found


def test_repeated_bytes_and_lost_rows_are_found(sound: Manifest) -> None:
    found = broken(sound, 1, sha256=sound.frame["sha256"][2])
    assert any(line.startswith("duplicates: 2 kept rows") for line in found), found
    shorter = check(Manifest(sound.frame.head(11), sound.history))
    assert any(line.startswith("history: steps never add or delete rows") for line in shorter)
    assert any(line.startswith("history: there is none") for line in check(Manifest(sound.frame)))


def test_rows_outside_train_have_no_weight(sound: Manifest) -> None:
    found = broken(sound, kept_in(sound, "test"), weight=1.0, rank=0)
    assert "balance: 1 rows outside train have a rank" in found


def test_only_a_full_check_reads_every_file(tmp_path: Path) -> None:
    paths = [save(photo(seed, size=(64, 64)), tmp_path / f"{seed}.png") for seed in range(130)]
    names = [str(path) for path in paths]
    frame = pl.DataFrame({"image_id": names, "uri": names, "source": "made"})
    table = measure(Manifest(frame.head(0)).with_step("ingest", frame), workers=1, progress=False)
    save(photo(999, size=(64, 64)), paths[1])
    assert check(table) == []
    assert len(check(table, all_files=True)) == 1
