"""The one table: read, written, validated, with its history; Namibia stays Namibia."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichland import __version__
from whichland.errors import UserError
from whichland.manifest import COLUMNS, SCHEMA, Manifest, problems, read, write


def table(**columns: list[object]) -> pl.DataFrame:
    rows = len(next(iter(columns.values()))) if columns else 2
    base = {
        "image_id": [f"test:{row}" for row in range(rows)],
        "uri": [f"/photos/{row}.jpg" for row in range(rows)],
        "source": ["test"] * rows,
    } | columns
    return pl.DataFrame(base, schema_overrides={n: COLUMNS[n].dtype for n in base if n in COLUMNS})


def test_a_manifest_is_one_line_in_a_shell_and_its_first_rows_in_a_notebook() -> None:
    frame = table(country=["NA", "NO", None, "NA"], split=["train", "test", None, "train"])
    dropped = frame.with_columns(pl.Series("drop_reason", [None, None, "dark", None]))
    made = Manifest(frame).with_step("clean", dropped)
    assert repr(made) == "<Manifest 4 rows, 3 kept, 2 countries, train 2, val 0, test 1; last step: clean>"
    assert made._repr_html_().startswith("<p>&lt;Manifest 4 rows")
    assert "test:3" in made._repr_html_()
    assert repr(Manifest(table())) == "<Manifest 2 rows>"


def test_what_is_written_is_read_with_its_history(tmp_path: Path) -> None:
    frame = table(country=["NA", "NO", None], label_country=["NA", None, "NL"], lat=[-22.5, None, 1.0])
    manifest = Manifest(frame).with_step("ingest", frame, origin="photos/", skip_unknown=False)
    dropped = frame.with_columns(pl.Series("drop_reason", [None, "dark", "dark"]))
    manifest = manifest.with_step("clean", dropped, min_side=64)
    again = read(write(manifest, tmp_path / "new" / "world.parquet"))
    assert again.frame.equals(manifest.frame)
    assert again.history == manifest.history
    assert again.frame["country"].to_list() == ["NA", "NO", None]
    first, last = again.history
    assert (first.step, first.params) == ("ingest", {"origin": "photos/", "skip_unknown": False})
    assert (last.rows, last.dropped, last.version) == (3, {"dark": 2}, __version__)
    assert again.kept["country"].to_list() == ["NA"]
    assert len(again) == 3


def test_namibia_survives_other_readers_of_the_file(tmp_path: Path) -> None:
    path = write(Manifest(table(country=["NA", "NA"])), tmp_path / "m.parquet")
    assert pl.scan_parquet(path).filter(pl.col("country") == "NA").collect().height == 2


def test_columns_stand_in_schema_order_and_foreign_ones_last() -> None:
    frame = table(split=["train", "val"], extra=[1, 2], country=["NA", "US"])
    names = Manifest(frame).with_step("x", frame).frame.columns
    assert names == ["image_id", "uri", "source", "country", "split", "extra"]
    assert [column.name for column in SCHEMA][:3] == names[:3]


def test_a_step_leaves_the_manifest_it_came_from_as_it_was() -> None:
    old = Manifest(table())
    new = old.with_step("x", old.frame.with_columns(country=pl.lit("NA")))
    assert old.history == ()
    assert "country" not in old.frame.columns
    assert len(new.history) == 1


@given(
    st.lists(
        st.tuples(st.text(max_size=8), st.none() | st.floats(allow_nan=False), st.none() | st.booleans()), max_size=6
    )
)
def test_any_values_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, float | None, bool | None]]
) -> None:
    frame = table(
        creator=[name.encode("utf-8", "replace").decode() for name, _, _ in rows],
        lat=[lat for _, lat, _ in rows],
        country_conflict=[flag for _, _, flag in rows],
    )
    path = write(Manifest(frame), tmp_path_factory.getbasetemp() / "any.parquet")
    assert read(path).frame.equals(frame)


def test_phash_keeps_all_64_bits(tmp_path: Path) -> None:
    frame = table(phash=[2**64 - 1, 0])
    assert read(write(Manifest(frame), tmp_path / "m.parquet")).frame["phash"].to_list() == [2**64 - 1, 0]


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (table().drop("uri"), "uri is missing"),
        (table().with_columns(lat=pl.Series(["1", "2"])), "lat is String"),
        (table(split=["train", "dev"]), "dev"),
        (table().with_columns(image_id=pl.lit("same")), "'same' first"),
        (table().with_columns(source=pl.lit(None, pl.String)), "source has 2 empty"),
    ],
    ids=["missing", "type", "values", "repeated", "empty"],
)
def test_what_breaks_the_schema_is_refused_in_one_line(tmp_path: Path, frame: pl.DataFrame, says: str) -> None:
    path = tmp_path / "bad.parquet"
    frame.write_parquet(path)
    assert any(says in problem for problem in problems(frame))
    with pytest.raises(UserError, match=r"bad\.parquet: not a valid manifest") as raised:
        read(path)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "middle", "history"])
def test_a_damaged_file_is_one_line(tmp_path: Path, damage: str) -> None:
    path = write(Manifest(table(country=["NA"] * 500)), tmp_path / "bad.parquet")
    data = path.read_bytes()
    broken = {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "text": b"image_id,uri\n1,a.jpg\n",
        "middle": data[:4] + bytes(len(data) - 8) + data[-4:],
        "history": data,
    }[damage]
    path.write_bytes(broken)
    if damage == "history":
        pl.DataFrame(table()).write_parquet(path, metadata={"whichland.history": '[{"step": "x"}]'})
    with pytest.raises(UserError, match=r"bad\.parquet") as raised:
        read(path)
    assert "\n" not in str(raised.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="whichland data prepare PHOTOS"):
        read(tmp_path / "none.parquet")


def test_a_step_that_comes_too_early_says_what_to_run_first() -> None:
    with pytest.raises(UserError, match=r"phash.*run `whichland data measure` first"):
        Manifest(table()).require("uri", "phash", hint="run `whichland data measure` first")


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(Manifest(table(country=["NA", "NO"])), tmp_path / "m.parquet")
    before = path.read_bytes()

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fail)
        with pytest.raises(UserError, match=r"cannot be written \(disk full\)"):
            write(Manifest(table(country=["US", "US"])), path)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["m.parquet"]
