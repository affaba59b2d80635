"""whichland compare on tiny bundles and on answers made by hand."""

import json
from pathlib import Path

import polars as pl
import pytest

from tiny_bundle import make_bundle, make_photos
from whichland.cli.commands import root
from whichland.errors import UserError
from whichland.evaluation.compare import Comparison, Guesses, compare, compare_answers
from whichland.evaluation.evaluate import LOG
from whichland.manifest import Manifest, write
from whichland.model import bundle as bundles


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos whose country is what the first tiny bundle thinks in three cases of four."""
    from whichland.model.model import predict

    folder = tmp_path_factory.mktemp("photos")
    photos = make_photos(folder, 32)
    first = bundles.load(make_bundle(folder / "first" / "bundle"))
    guesses = [answer.country for answer in predict(first, photos)]
    frame = pl.DataFrame(
        {
            "image_id": [path.stem for path in photos],
            "uri": [str(path) for path in photos],
            "source": "t",
            "country": [g if at % 4 else ("ZA", "NO")[at % 8 // 4] for at, g in enumerate(guesses)],
            "group": [f"g{at // 2}" for at in range(32)],
            "split": "test",
            "drop_reason": pl.Series([None] * 32, dtype=pl.String),
        }
    )
    return write(Manifest(frame), folder / "m.parquet")


@pytest.fixture
def others(tmp_path: Path) -> tuple[Path, Path]:
    """The same weights under other names for the labels: another model, and one that knows fewer countries."""
    turned = make_bundle(tmp_path / "turned" / "bundle", ("FR", "DE", "NA", "JP", "US", "ZA", "NO"))
    fewer = make_bundle(tmp_path / "fewer" / "bundle", ("DE", "FR", "JP", "US", "ZA"))
    return turned, fewer


def test_bundles_run_folders_and_reports_are_compared_alike(table: Path, others: tuple[Path, Path]) -> None:
    first = table.parent / "first"
    found = compare([first / "bundle", others[0]], table)
    assert [model.name for model in found.models] == ["first", "turned"]
    assert (found.photos, found.groups, found.left_out, found.grouped) == (32, 16, 0, True)
    best, pair = found.models[0], found.pairs[0]
    assert best.top1.value >= 0.75
    assert pair.top1.value == pytest.approx(best.top1.value - found.models[1].top1.value)
    assert pair.top1.low <= pair.top1.value <= pair.top1.high
    assert pair.p_mcnemar < pair.p_top1 < 0.05
    assert [model.ties_top1 for model in found.models] == ["a", "b"]
    again = compare([first, others[0].parent / "report"], table)
    assert again.models == found.models
    assert again.pairs == found.pairs
    asked = (first / LOG).read_text(encoding="utf-8").splitlines()
    assert len(asked) == 1, "the bundle was asked again"


def test_only_photos_that_all_answered_count(table: Path, others: tuple[Path, Path]) -> None:
    found = compare([table.parent / "first", others[1]], table)
    assert found.left_out == 32 - found.photos > 0
    assert {model.name: model.labels for model in found.models} == {"first": 7, "fewer": 5}


def answers(text: str, labels: str = "ABC", countries: str = "ABCABCABC") -> Guesses:
    frame = pl.DataFrame({"image_id": [str(n) for n in range(9)], "truth": list(countries), "group": None})
    return Guesses(kind="country", labels=tuple(labels), frame=frame.with_columns(guess=pl.Series(list(text))))


def test_a_model_has_several_runs() -> None:
    right, half = answers("ABCABCABC"), answers("ABCABAAAA")
    found = compare_answers({"two": [right, half], "one": [half]}, "test")
    assert {m.name: round(m.top1.value, 4) for m in found.models} == {"two": 0.8333, "one": 0.6667}
    assert found.pairs[0].top1.value == pytest.approx(1 / 6)
    assert not found.grouped


def test_reports_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(UserError, match="different labels for one photo"):
        compare_answers({"a": [answers("ABCABCABC")], "b": [answers("ABCABCABC", countries="BBCABCABC")]}, "test")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda folder: [folder / "first"], "two models or more"),
        (lambda folder: [folder / "first", folder], "is no bundle, run folder"),
        (lambda folder: [folder / "first", folder / "first"], "named twice"),
    ],
)
def test_what_cannot_be_compared_is_said(table: Path, wrong, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=message):
        compare(wrong(table.parent), table)


def test_a_report_of_another_split_is_refused(table: Path, others: tuple[Path, Path]) -> None:
    compare([table.parent / "first", others[0]], table)
    with pytest.raises(UserError, match="another manifest or split"):
        compare([others[0].parent / "report", table.parent / "first"], table, "val")


def test_the_command(table: Path, others: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    models = [str(table.parent / "first"), *map(str, others)]
    root()(["compare", *models, str(table)], standalone_mode=False)
    text = capsys.readouterr().out
    assert "first – turned" in text
    assert "models that share a letter were not distinguished" in text
    assert "McNemar's test takes the photos of a group for independent" in text
    root()(["compare", *models, str(table), "--json"], standalone_mode=False)
    numbers = json.loads(capsys.readouterr().out)
    assert len(numbers["pairs"]) == 3
    assert set(numbers) >= set(Comparison.__dataclass_fields__)
    with pytest.raises(UserError, match="name two models or more"):
        root()(["compare", models[0], str(table)], standalone_mode=False)
