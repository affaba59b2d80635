import json
import subprocess
from pathlib import Path

import polars as pl
import pytest

import forked
from curated import measured
from whichland import manifest
from whichland.curate.check import check
from whichland.curate.clean import clean
from whichland.curate.merge import MergeConfig, lone_countries, merge, source_by_country, source_guessed_by_country
from whichland.curate.split import split
from whichland.errors import UserError
from whichland.manifest import Manifest


def named(source: str, countries: tuple[str | None, ...], count: int = 12, seed: int = 0) -> Manifest:
    made = measured(count, countries=countries, seed=seed)
    frame = made.frame.with_columns(
        pl.lit(source).alias("source"), pl.col("image_id").str.replace("made", source, literal=True)
    )
    return Manifest(frame, made.history)


@pytest.fixture
def two() -> tuple[Manifest, Manifest]:
    return named("kaggle", ("FR", "JP", "NA")), named("pano", ("FR", "NA", "HU", "HU"), 8, seed=1)


def test_rows_and_columns_are_united(two: tuple[Manifest, Manifest]) -> None:
    left, right = two
    right = Manifest(right.frame.drop("lat").with_columns(pl.lit("x").alias("note")), right.history)
    merged = merge((left, right))
    assert merged.frame["image_id"].to_list() == [*left.frame["image_id"], *right.frame["image_id"]]
    assert merged.frame["note"].to_list() == [None] * 12 + ["x"] * 8
    assert manifest.problems(merged.frame) == []
    assert "NA" in merged.frame["country"].to_list()


def test_history_of_the_inputs_is_carried(two: tuple[Manifest, Manifest], tmp_path: Path) -> None:
    read = manifest.read(manifest.write(merge(two), tmp_path / "m.parquet"))
    (line,) = read.history
    assert (line.step, line.rows) == ("merge", 20)
    assert [entry["rows"] for entry in line.params["inputs"]] == [12, 8]
    assert [step["step"] for step in line.params["inputs"][1]["history"]] == ["ingest", "measure"]


def test_check_knows_what_the_inputs_went_through(two: tuple[Manifest, Manifest]) -> None:
    twice = merge((merge(two), named("third", ("FR",), seed=2)))
    assert [line for line in check(twice) if line.startswith("history")] == []
    unmeasured = [Manifest(table.frame, table.history[:1]) for table in two]
    assert "no step 'measure'" in next(line for line in check(merge(unmeasured)) if line.startswith("history"))


@pytest.mark.parametrize(
    ("countries", "kept"), [("all", {"FR", "JP", "NA", "HU"}), ("shared", {"FR", "NA"}), ("first", {"FR", "JP", "NA"})]
)
def test_label_space(two: tuple[Manifest, Manifest], countries: str, kept: set[str]) -> None:
    merged = merge(two, MergeConfig(countries=countries))  # type: ignore[arg-type]
    assert set(merged.frame["country"].drop_nulls()) == kept
    assert set(merged.frame["label_country"]) == {"FR", "JP", "NA", "HU"}
    reasons = clean(merged).frame.filter(pl.col("country").is_null())["drop_reason"].unique().to_list()
    assert reasons == ([] if countries == "all" else ["no_country"])


def test_no_country_in_common_is_refused() -> None:
    with pytest.raises(UserError, match="no country in common"):
        merge((named("a", ("FR",)), named("b", ("JP",), seed=1)), MergeConfig(countries="shared"))


def test_what_was_judged_on_one_table_goes_but_groups_stay(two: tuple[Manifest, Manifest]) -> None:
    done = split(clean(two[0]))
    merged = merge((done, two[1]))
    assert not {"drop_reason", "split", "weight", "rank"} & set(merged.frame.columns)
    again = split(clean(merged)).frame.head(12)
    assert again["split"].to_list() == done.frame["split"].to_list()
    with pytest.raises(UserError, match="run `whichland data clean`"):
        split(merged)


def test_ids_that_stand_twice_are_refused_or_renamed() -> None:
    twins = named("photos", ("FR",)), named("photos", ("FR",))
    with pytest.raises(UserError, match=r"12 image_id occur in more than one manifest.*--sources"):
        merge(twins)
    merged = merge(twins, MergeConfig(sources=("old", "new")))
    assert merged.frame["image_id"].n_unique() == 24
    assert merged.frame.group_by("source").len().sort("source").rows() == [("new", 12), ("old", 12)]
    assert merged.frame["image_id"][0] == "old/0-00000"
    with pytest.raises(UserError, match="1 names of sources for 2 manifests"):
        merge(twins, MergeConfig(sources=("old",)))


def test_source_by_country_and_its_warnings(two: tuple[Manifest, Manifest]) -> None:
    table = source_by_country(merge(two).frame)
    assert table.rows() == [
        ("FR", "France", 4, 2, None),
        ("NA", "Namibia", 4, 2, None),
        ("HU", "Hungary", 0, 4, "pano"),
        ("JP", "Japan", 4, 0, "kaggle"),
    ]
    lines = lone_countries(table)
    assert len(lines) == 2
    assert "from 'kaggle' alone come 1 of all 4 countries: JP;" in lines[0]
    # FR and NA: 4 of 6 each, HU and JP: all
    assert source_guessed_by_country(table) == (16 / 20, 12 / 20)


def test_one_source_alone_warns_of_nothing() -> None:
    table = source_by_country(named("a", ("FR", "JP")).frame)
    assert table["only_in"].null_count() == 2
    assert lone_countries(table) == []
    assert source_guessed_by_country(table) is None


def command(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = forked.run(["-m", "whichland", "data", *words])
    assert done.returncode == code, done.stderr
    return done


def test_command(two: tuple[Manifest, Manifest], tmp_path: Path) -> None:
    paths = [str(manifest.write(table, tmp_path / f"{n}.parquet")) for n, table in enumerate(two)]
    out = tmp_path / "m.parquet"
    done = command("merge", *paths, "-o", out, "--json")
    said = json.loads(done.stdout)
    assert (said["rows"], said["views"], said["source_from_country"]) == (20, 0, 0.8)
    assert said["countries"][2] == {"country": "HU", "name": "Hungary", "kaggle": 0, "pano": 4, "only_in": "pano"}
    assert "'pano' alone come 1 of all 4 countries: HU" in done.stderr
    assert len(manifest.read(out)) == 20


def test_command_wants_a_folder_for_pictures(two: tuple[Manifest, Manifest], tmp_path: Path) -> None:
    path = str(manifest.write(two[0], tmp_path / "a.parquet"))
    done = command("merge", path, "-o", path, "--harmonise", code=2)
    assert "--images FOLDER" in done.stderr


def test_renamed_views_still_belong_to_their_panorama() -> None:
    made = named("pano", ("FR",), 3)
    whole = made.frame["image_id"][0]
    cut = made.frame.with_columns(panorama=pl.when(pl.int_range(pl.len()) > 0).then(pl.lit(whole)))
    other = Manifest(cut, made.history)
    merged = merge((other, other), MergeConfig(sources=("a", "b")))
    assert merged.frame["panorama"].to_list() == [
        None, *[whole.replace("pano", "a")] * 2, None, *[whole.replace("pano", "b")] * 2
    ]  # fmt: skip
    assert set(merged.frame["panorama"].drop_nulls()) <= set(merged.frame["image_id"])


def test_own_columns_that_do_not_go_together_are_named(two: tuple[Manifest, Manifest]) -> None:
    left, right = (
        Manifest(table.frame.with_columns(extra), table.history)
        for table, extra in zip(two, (pl.struct("lat", "lon").alias("mine"), pl.lit(3).alias("mine")), strict=True)
    )
    with pytest.raises(UserError, match=r"mine .*Int32.*Struct"):
        merge((left, right))


def test_a_source_named_like_a_column_is_refused(two: tuple[Manifest, Manifest]) -> None:
    with pytest.raises(UserError, match="'country': give other names"):
        merge((two[0], named("country", ("FR",), seed=3)))
