"""Doubtful labels: found, decided on in a page, written into the manifest, and kept when it is made again."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import Browser

from browsing import browser as browser
from browsing import findings, needs_browser
from curated import photo, save
from whichland.cli.commands import root
from whichland.curate.check import check
from whichland.curate.clean import clean
from whichland.curate.review import apply_decisions
from whichland.errors import UserError
from whichland.evaluation.review import distances, label_doubt, review
from whichland.evaluation.review_page import write_page
from whichland.manifest import Manifest
from whichland.manifest import read as read_manifest


def test_confident_learning_on_examples_worked_by_hand() -> None:
    probs = np.array(
        [[0.9, 0.1, 0.0], [0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.55, 0.4, 0.05], [0.1, 0.1, 0.8], [0.5, 0.1, 0.4]]
    )
    labels = np.array([0, 0, 1, 0, 2, 2])
    # thresholds by hand: (0.9 + 0.7 + 0.55) / 3 = 0.717; 0.5; (0.8 + 0.4) / 2 = 0.6
    suspected, _ = label_doubt(probs, labels)
    assert suspected.tolist() == [False] * 6
    suspected, doubt = label_doubt(probs, np.array([0, 1, 1, 0, 2, 2]))
    # (0.9 + 0.55) / 2 = 0.725; (0.2 + 0.5) / 2 = 0.35; 0.6: the fourth passes the second's threshold alone
    assert suspected.tolist() == [False, False, False, True, False, False]
    # each label is a third of the photos
    assert doubt == pytest.approx([2.7, 0.6, 1.5, 1.65, 2.4, 1.2])


def clouds(*, groups: int = 30, of: int = 4, seed: int = 0) -> tuple[Manifest, pl.DataFrame]:
    """Photos that do not exist, of three countries that their features tell apart, in groups; and the features."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(3, 32)) * 2
    country = np.repeat(np.arange(3), groups * of)
    vectors = (centres[country] + random.normal(size=(len(country), 32))).astype(np.float32)
    names = [f"t/{at:04}" for at in range(len(country))]
    frame = pl.DataFrame({"image_id": names, "uri": [f"/x/{name}.jpg" for name in names], "source": "t"}).with_columns(
        country=pl.Series(np.array(["FR", "JP", "NA"])[country]),
        group=pl.Series([f"g{at // of}" for at in range(len(country))]),
    )
    shape = pl.Array(pl.Float32, 32)
    return Manifest(frame), frame.select(path="uri").with_columns(embedding=pl.Series(vectors, dtype=shape))


def with_countries(manifest: Manifest, changes: dict[str, str]) -> Manifest:
    changed = pl.col("image_id").replace_strict(changes, default=pl.col("country"))
    return Manifest(manifest.frame.with_columns(country=changed))


def test_swapped_labels_come_first_and_a_group_that_is_wrong_as_a_whole_is_found() -> None:
    manifest, vectors = clouds()
    swapped = {"t/0000": "JP", "t/0130": "NA", "t/0250": "FR"} | {f"t/{at:04}": "FR" for at in range(200, 204)}
    found = review(with_countries(manifest, swapped), vectors)
    assert set(found.rows["image_id"].gather(found.order["label"][:7])) == set(swapped)
    suspected = set(found.rows["image_id"].filter(pl.Series(found.suspected)))
    assert suspected <= set(swapped)
    assert len(suspected) >= 6
    assert found.judged == 360
    assert found.agree == pytest.approx(353 / 360)


def test_photos_that_have_been_reviewed_or_shown_are_not_shown_again() -> None:
    manifest, vectors = clouds()
    swapped = with_countries(manifest, {"t/0000": "JP", "t/0130": "NA"})
    done = pl.when(pl.col("image_id") == "t/0000").then(pl.lit("confirmed")).alias("review")
    found = review(Manifest(swapped.frame.with_columns(done)), vectors)
    shown = found.shown(50)
    ids = found.rows["image_id"].gather([row for _, row in shown]).to_list()
    assert ids[0] == "t/0130"
    assert "t/0000" not in ids
    assert len(set(ids)) == len(ids) == 150
    assert [name for name, _ in shown] == ["label"] * 50 + ["unsure"] * 50 + ["unlike"] * 50


def test_what_is_unlike_all_others_is_far_from_them_but_for_its_own_group() -> None:
    _, vectors = clouds()
    unit = vectors["embedding"].to_numpy().copy()
    unit[8:12] = -unit.mean(axis=0) * 5  # four photos of one group that look alike
    far = distances(unit, np.arange(360) // 4)
    assert set(np.argsort(-far)[:4].tolist()) == {8, 9, 10, 11}


def test_a_country_of_one_group_is_not_judged() -> None:
    manifest, vectors = clouds()
    found = review(with_countries(manifest, {f"t/{at:04}": "NO" for at in range(4)}), vectors)
    assert found.judged == 356
    assert np.isnan(found.probabilities[:4]).all()
    assert not set(found.order["label"].tolist()) & {0, 1, 2, 3}
    with pytest.raises(UserError, match="fewer than two countries"):
        review(with_countries(manifest, {f"t/{at:04}": "FR" for at in range(360)}), vectors)
    with pytest.raises(UserError, match="none of the manifest's photos has an embedding"):
        review(manifest, vectors.with_columns(path=pl.lit("other")))


def decided(folder: Path, *rows: tuple[str, ...]) -> Path:
    file = folder / "decisions.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("image_id", "decision", "country", "was"), *rows])
    return file


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A folder of photos by country, and the table that `data prepare` makes of it."""
    for at in range(12):
        save(photo(at), tmp_path / "photos" / ("France", "Japan", "Namibia")[at % 3] / f"{at}.jpg")
    return prepare(tmp_path)


def prepare(folder: Path) -> Path:
    table = folder / "m.parquet"
    root()(["data", "prepare", str(folder / "photos"), "-o", str(table), "-j", "1"], standalone_mode=False)
    return table


def row(table: Path, image_id: str) -> dict[str, Any]:
    return read_manifest(table).frame.row(by_predicate=pl.col("image_id") == image_id, named=True)


def test_decisions_are_columns_and_survive_preparing_again(tmp_path: Path, prepared: Path) -> None:
    one, two, three = "photos/France/0.jpg", "photos/Japan/1.jpg", "photos/Namibia/2.jpg"
    file = decided(
        tmp_path, (one, "corrected", "Norway", "FR"), (two, "dropped", "", "JP"), (three, "confirmed", "", "NA")
    )
    root()(["data", "review", str(prepared), "--apply", str(file), "-o", str(prepared)], standalone_mode=False)
    expected = {
        one: {"country": "NO", "review": "corrected", "review_country": "NO", "review_was": "FR", "drop_reason": None},
        two: {
            "country": "JP",
            "review": "dropped",
            "review_country": None,
            "review_was": "JP",
            "drop_reason": "review",
        },
        three: {
            "country": "NA",
            "review": "confirmed",
            "review_country": "NA",
            "review_was": "NA",
            "drop_reason": None,
        },
    }
    save(photo(50), tmp_path / "photos" / "Japan" / "50.jpg")
    for again in range(2):
        held = {
            image_id: {name: row(prepared, image_id)[name] for name in values} for image_id, values in expected.items()
        }
        assert held == expected, f"after {again} times"
        prepare(tmp_path)
    table = read_manifest(prepared)
    assert len(table) == 13
    problems = check(table)
    assert problems == [], problems
    assert row(prepared, one)["label_country"] == "FR"


def test_a_photo_whose_file_has_changed_is_to_be_reviewed_again(tmp_path: Path, prepared: Path) -> None:
    name = "photos/France/0.jpg"
    file = decided(tmp_path, (name, "dropped", "", "FR"))
    root()(["data", "review", str(prepared), "--apply", str(file), "-o", str(prepared)], standalone_mode=False)
    save(photo(99, size=(400, 300)), tmp_path / "photos" / "France" / "0.jpg")
    assert (row(prepare(tmp_path), name)["review"], row(prepared, name)["drop_reason"]) == (None, None)


def test_a_decision_can_be_taken_again(tmp_path: Path, prepared: Path) -> None:
    name, table = "photos/France/0.jpg", read_manifest(prepared)
    table = apply_decisions(table, decided(tmp_path, (name, "corrected", "NO", "FR")))
    table = apply_decisions(table, decided(tmp_path, (name, "corrected", "NO", "FR")))  # the same file again
    table = apply_decisions(table, decided(tmp_path, (name, "dropped", "", "NO")))
    table = apply_decisions(table, decided(tmp_path, (name, "corrected", "SE", "NO")))
    held = clean(table).frame.row(by_predicate=pl.col("image_id") == name, named=True)
    assert (held["country"], held["review_was"], held["drop_reason"]) == ("SE", "FR", None)
    assert [line.params["corrected"] for line in table.history if line.step == "review"] == [1, 1, 0, 1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("photos/France/0.jpg", "confirmed", "", "JP")], "has the country FR by now and not JP: make the page anew"),
        ([("photos/France/0.jpg", "perhaps", "", "FR")], "row 1 has no decision of confirmed, corrected, dropped"),
        ([("photos/France/0.jpg", "corrected", "", "FR")], "row 1 corrects to no country"),
        ([("photos/France/0.jpg", "corrected", "Atlantis", "FR")], "not a country: 'Atlantis'"),
        ([("photos/France/0.jpg", "dropped", "", "FR")] * 2, "row 1 decides on a photo that another row decides on"),
        ([("photos/France/none.jpg", "dropped", "", "FR")], "no decision is of a photo of this manifest"),
        ([], "no decisions"),
    ],
)
def test_decisions_that_cannot_hold_are_refused(
    tmp_path: Path, prepared: Path, rows: list[tuple[str, ...]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        apply_decisions(read_manifest(prepared), decided(tmp_path, *rows))


@needs_browser
def test_the_page_decides_by_keyboard_and_saves(tmp_path: Path, browser: Browser) -> None:
    manifest, vectors = clouds()
    swapped = {"t/0000": "JP", "t/0130": "NA", "t/0250": "FR"}
    files = [str(save(photo(at), tmp_path / f"{at}.jpg")) for at in range(3)]
    uris = {f"/x/{name}.jpg": file for name, file in zip(swapped, files, strict=True)}
    found = review(with_countries(manifest, swapped), vectors)
    found.rows.replace_column(found.rows.get_column_index("uri"), found.rows["uri"].replace(uris))
    assert write_page(found, tmp_path / "review.html", 4) == 12
    context = browser.new_context(accept_downloads=True)
    page, complaints = context.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if request.url.startswith("http") else None)
    page.goto((tmp_path / "review.html").as_uri())
    order = page.evaluate("items.map((item) => item.id)")
    assert set(order[:3]) == set(swapped)
    assert page.evaluate("document.querySelector('#photo img').naturalWidth") == 320
    page.keyboard.press("1")  # the likeliest other country
    page.keyboard.press("c")
    page.keyboard.type("Norway")
    page.keyboard.press("Enter")
    page.keyboard.press("d")
    page.keyboard.press("y")
    page.keyboard.press("d")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("u")
    page.reload()  # decisions are kept
    assert page.locator("#progress").inner_text() == "Photo 1 of 12, 4 decided"
    assert findings(page) == []
    with page.expect_download() as saved:
        page.keyboard.press("s")
    saved.value.save_as(tmp_path / "decisions.csv")
    context.close()
    assert complaints == []
    right = {"t/0000": "FR", "t/0130": "JP", "t/0250": "NA"}
    made = apply_decisions(with_countries(manifest, swapped), tmp_path / "decisions.csv").frame
    held = {name: rest for name, *rest in made.drop_nulls("review").select("image_id", "review", "country").rows()}
    assert held[order[0]] == ["corrected", right[order[0]]]
    assert held[order[1]] == ["corrected", "NO"]
    assert held[order[2]] == ["dropped", swapped[order[2]]]
    assert held[order[3]][0] == "confirmed"
    assert len(held) == 4


def test_the_command_by_a_bundles_features_and_by_a_file_of_them(
    tmp_path: Path, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tiny_bundle import make_bundle

    bundle, page = make_bundle(tmp_path / "bundle"), tmp_path / "review.html"
    arguments = ["data", "review", str(prepared), str(bundle), "-o", str(page), "--each", "3"]
    root()(arguments, standalone_mode=False)
    said = capsys.readouterr()
    assert "12 labels judged" in said.out, said
    assert page.read_text(encoding="utf-8").count("data:image/webp") >= 3
    kept = tmp_path / "review.embeddings.parquet"
    root()([*arguments[:3], str(kept), *arguments[4:], "--json"], standalone_mode=False)
    assert '"judged": 12' in capsys.readouterr().out
    with pytest.raises(UserError, match="was made by another bundle"):
        root()([*arguments[:3], str(make_bundle(tmp_path / "other")), *arguments[4:]], standalone_mode=False)
    with pytest.raises(UserError, match="no embeddings"):
        root()([*arguments[:3], str(prepared), *arguments[4:]], standalone_mode=False)
    with pytest.raises(UserError, match="name a bundle to make the page, or --apply"):
        root()(["data", "review", str(prepared)], standalone_mode=False)
