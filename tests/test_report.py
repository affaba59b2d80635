"""The report: right numbers, whole files, nothing overwritten, and a page that stands alone."""

import json
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, f1_score

from tiny_bundle import LABELS, make_bundle, make_photos, pixels
from whichland.charts import Line, lines_svg
from whichland.cli.commands import root
from whichland.errors import UserError
from whichland.evaluation.evaluate import evaluate
from whichland.evaluation.figures import confusion_svg
from whichland.evaluation.page import shown_confusion
from whichland.evaluation.report import Report
from whichland.geo.countries import COUNTRIES
from whichland.manifest import Manifest, write
from whichland.model import bundle as bundles
from whichland.model.bundle import keep_calibration
from whichland.model.calibration import Abstention, Calibration
from whichland.model.label_sources import countries
from whichland.model.model import predict
from whichland.statistics import FEWEST

COUNTRY_OF = ("DE", "FR", "JP", "NA", "NO", "US")  # ZA is known and has no photos


def make_manifest(folder: Path) -> Manifest:
    """48 readable photos in 24 groups, and what a report must leave out and say so."""
    photos = make_photos(folder, 48)
    rows = [row(str(photo), COUNTRY_OF[n % 6], n, group=f"g{n // 2}") for n, photo in enumerate(photos)]
    broken = folder / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    rows.append(row(str(broken), "DE", 48))
    rows += [row(str(photos[0]), country, 49 + n) for n, country in enumerate(["IS", "IS", None])]
    rows.append(row(str(photos[1]), "FR", 60, split="train"))
    rows.append(row(str(photos[2]), "FR", 61, drop_reason="dark"))
    return Manifest(pl.DataFrame(rows, infer_schema_length=None)).with_step(
        "split", pl.DataFrame(rows, infer_schema_length=None), seed=7
    )


def row(uri: str, country: str | None, number: int, **cells: object) -> dict[str, object]:
    return {
        "image_id": f"t:{number:03}",
        "uri": uri,
        "source": "t",
        "country": country,
        "creator": "<script>alert(1)</script> & co" if number % 2 else None,
        "license": "CC-BY-SA-4.0",
        "group": None,
        "split": "test",
        "drop_reason": None,
        **cells,
    }


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return make_manifest(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def report(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Report:
    run = tmp_path_factory.mktemp("run")
    lines = [
        {
            "kind": "epoch",
            "epoch": e,
            "train_loss": 2 / e,
            "val_loss": 2.2 / e,
            "val_top1": 0.1 * e,
            "val_macro_f1": 0.09 * e,
        }
        for e in (1, 2, 3)
    ]
    (run / "log.jsonl").write_text("\n".join(map(json.dumps, [{"kind": "step", "loss": 1}, *lines])))
    bundle = make_bundle(
        run / "bundle", manifest_sha256=manifest.digest("country"), train={"arch": "test_resnet", "epochs": 3}
    )
    return evaluate(bundle, manifest, explanations=[(pixels(1), "why <b>not</b>")])


def test_scores_are_those_of_the_photos_that_could_be_judged(report: Report, manifest: Manifest) -> None:
    bundle = bundles.load(report.bundle.folder)
    photos = manifest.frame.head(48)
    probabilities = np.stack([answer.probabilities for answer in predict(bundle, photos["uri"])])
    truth = np.array([LABELS.index(country) for country in photos["country"]])
    guess = probabilities.argmax(axis=1)
    np.testing.assert_array_equal(report.confusion, confusion_matrix(truth, guess, labels=range(len(LABELS))))
    assert report.scores["top1"].value == pytest.approx((truth == guess).mean())
    present = f1_score(truth, guess, labels=np.unique(truth), average="macro", zero_division=0)
    assert report.scores["macro_f1"].value == pytest.approx(present)
    for score in report.scores.values():
        assert score.low <= score.value <= score.high
    assert report.floors["majority"]["top1"] == pytest.approx(8 / 48)
    assert report.floors["chance"]["top1"] == pytest.approx(1 / 7)


def test_what_is_left_out_is_said(report: Report) -> None:
    found = json.loads((report.folder / "metrics.json").read_text())
    assert (found["photos"], found["groups"], found["countries"], found["labels"]) == (48, 24, 6, 7)
    assert found["left_out"] == {"unknown_countries": {"IS": 2}, "without_country": 1, "unreadable": ["t:048"]}
    text = report.html.read_text()
    assert "2 photos of 1 country that the model does not know" in text
    assert "1 photo without a country" in text
    assert "1 photo that cannot be read" in text


def test_most_confused_pairs_are_the_most_frequent_wrong_answers(report: Report) -> None:
    found = report.predictions
    wrong = Counter(
        (LABELS[t], LABELS[g]) for t, g in zip(report.outcomes.truth, report.outcomes.guess, strict=True) if t != g
    )
    pairs = report.most_confused(5)
    assert [pair.photos for pair in pairs] == sorted(wrong.values(), reverse=True)[:5]
    for pair in pairs:
        assert wrong[pair.truth, pair.guess] == pair.photos == len(pair.rows)
        assert pair.of == 8
        sureness = found.probabilities[list(pair.rows)].max(axis=1)
        assert (np.diff(sureness) <= 0).all()
        assert set(found.frame["country"][list(pair.rows)]) == {pair.truth}
    assert len(report.most_confused(1000)) == len(wrong)


class Page(HTMLParser):
    """Checks that tags close in order, and collects what the page would fetch."""

    VOID = frozenset(("meta", "img", "br", "link", "input", "hr"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "data", "poster")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_small_and_asks_for_nothing_outside(report: Report) -> None:
    text = report.html.read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.addresses
    assert all(address.startswith("data:") for address in page.addresses)
    assert not re.search(r"url\(|@import|<link", text)
    assert set(re.findall(r"https?://[^\"'\s<]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert len(text) < 10_000_000
    assert page.tags["script"] == 1  # ours; none came in with a creator's name
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co, CC-BY-SA-4.0" in text
    assert "why &lt;b&gt;not&lt;/b&gt;" in text
    assert page.tags["img"] == 1 + sum(min(3, pair.photos) for pair in report.most_confused(10))


def test_the_page_says_what_was_tested(report: Report) -> None:
    text = report.html.read_text()
    assert report.predictions.identity.manifest_sha256 in text
    assert "the one the model was trained from" in text
    assert "seed 7" in text
    assert "Validation scores" in text
    assert "Namibia&nbsp;" in text
    assert f"{report.scores['top1'].value:.1%}" in text


def test_the_confusion_matrix_as_numbers_adds_up(report: Report) -> None:
    lines = [line.split(",") for line in (report.folder / "confusion.csv").read_text().splitlines()]
    order = lines[0][1:]
    assert set(order) == set(LABELS)
    counts = np.array([line[1:] for line in lines[1:]], int)
    at = [LABELS.index(code) for code in order]
    np.testing.assert_array_equal(counts, report.confusion[np.ix_(at, at)])
    assert counts.sum() == 48


def test_a_second_report_of_the_same_asks_no_photo_and_counts_no_second_look(
    manifest: Manifest, tmp_path: Path
) -> None:
    own = make_manifest(tmp_path / "photos")
    bundle = make_bundle(tmp_path / "run" / "bundle")
    first = evaluate(bundle, own)
    for photo in (tmp_path / "photos").iterdir():
        photo.unlink()
    again = evaluate(bundle, own)
    assert again.folder == first.folder
    assert again.evaluations == first.evaluations == 1
    assert again.scores == first.scores
    assert again.predictions.unreadable == first.predictions.unreadable
    assert "the photo can no longer be read" in again.html.read_text()
    assert "not the manifest the model was trained from" in again.html.read_text()


def test_a_new_grouping_counts_though_the_answers_are_kept(manifest: Manifest, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    single = Manifest(manifest.frame.with_columns(pl.lit(None, pl.String).alias("group")))
    by_group, by_photo = evaluate(bundle, manifest), evaluate(bundle, single)
    assert by_photo.folder == by_group.folder
    assert by_photo.scores["top1"].value == by_group.scores["top1"].value
    assert by_photo.scores["top1"] != by_group.scores["top1"]


def test_another_evaluation_is_never_written_over(manifest: Manifest, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    first = evaluate(bundle, manifest)
    before = first.html.read_bytes()
    fewer = Manifest(manifest.frame.head(30))
    second = evaluate(bundle, fewer)
    assert (first.folder.name, second.folder.name) == ("report", "report-2")
    assert first.html.read_bytes() == before
    assert (second.evaluations, second.elsewhere) == (1, 1)
    assert "put to this split once, and to the test split of other manifests once. Each" in second.html.read_text()
    with pytest.raises(UserError, match="choose another --out"):
        evaluate(bundle, fewer, out=first.folder)
    assert evaluate(bundle, fewer).folder == second.folder
    assert evaluate(bundle, manifest, "train").folder.name == "report-train"


def test_a_folder_with_someone_elses_report_is_left_alone(manifest: Manifest, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_text("mine")
    assert evaluate(bundle, manifest).folder.name == "report-2"
    assert (tmp_path / "report" / "report.html").read_text() == "mine"


def test_a_split_with_nothing_to_judge_is_an_error_that_says_so(manifest: Manifest, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    with pytest.raises(UserError, match="no kept photos in split 'val'"):
        evaluate(bundle, manifest, "val")
    with pytest.raises(UserError, match="country it knows"):
        evaluate(bundle, Manifest(manifest.frame.filter(pl.col("country") == "IS")))
    with pytest.raises(UserError, match="whichland data split"):
        evaluate(bundle, Manifest(manifest.frame.drop("split")))
    with pytest.raises(UserError, match="no photo can be read, of 1"):
        evaluate(bundle, Manifest(manifest.frame.filter(pl.col("image_id") == "t:048")))
    assert not (tmp_path / "report").exists()


def texts(svg: str) -> list[tuple[str, float, float, str]]:
    root = ElementTree.fromstring(svg)
    found = root.iter("{http://www.w3.org/2000/svg}text")
    return [(t.text or "", float(t.attrib["x"]), float(t.attrib["y"]), t.attrib.get("transform", "")) for t in found]


@pytest.mark.parametrize(
    ("many", "phone"), [(2, False), (22, False), (22, True), (26, True), (60, False), (240, False)]
)
def test_labels_of_the_matrix_do_not_overlap(many: int, phone: bool) -> None:
    codes = sorted(COUNTRIES)[:many]
    svg = confusion_svg(np.eye(many, dtype=np.int64), countries(codes), phone=phone)
    font = float(re.search(r'font-size="(\d+)"', svg)[1])
    shown = texts(svg)
    names = {code if phone else f"{COUNTRIES[code].name} {code}" for code in codes}
    left = min(x for text, x, *_ in shown if text in names)
    rows = sorted(y for text, x, y, _ in shown if text in names and x == left)
    columns = sorted(x for text, x, *_ in shown if text in codes and x > left)
    assert len(rows) == len(columns) == many
    assert np.diff(rows).min() >= font
    turned = any(turn for *_, turn in shown)
    assert np.diff(columns).min() >= (font if turned else 1.5 * font)
    if phone:
        assert float(re.search(r'width="(\d+)"', svg)[1]) <= 328  # a page of 360 px less its margins


def test_neighbours_stand_together_and_regions_are_parted(report: Report) -> None:
    counts, labels = shown_confusion(report)
    shown = [text for text, x, y, _ in texts(confusion_svg(counts, labels)) if text in labels]
    continents = [COUNTRIES[code].continent for code in shown]
    assert len([a for a, b in pairwise(continents) if a != b]) == len(set(continents)) - 1


def test_a_curve_of_one_epoch_and_of_equal_ends_draws() -> None:
    def line(name: str, *points: tuple[float, float]) -> Line:
        x, y = np.array(points, np.float64).T
        return Line(name=name, x=x, y=y)

    ElementTree.fromstring(lines_svg("Loss", [line("training", (1, 0.7))], end=1))
    both = [line("a", (1, 0.1), (9, 0.5)), line("b", (1, 0.2), (9, 0.5))]
    placed = texts(lines_svg("Scores", both, end=9, percent=True))
    heights = {text: y for text, _, y, _ in placed if text in "ab"}
    assert abs(heights["a"] - heights["b"]) >= 12


def test_a_faultless_result_is_not_said_to_be_sure(report: Report, tmp_path: Path) -> None:
    right = report.predictions.frame.filter(pl.Series(report.outcomes.truth == report.outcomes.guess))
    assert not right.is_empty()
    frame = report.manifest.frame.filter(pl.col("image_id").is_in(right["image_id"].to_list()))
    faultless = evaluate(make_bundle(tmp_path / "bundle"), Manifest(frame))
    top1, groups = faultless.scores["top1"], len(set(frame["group"]))
    assert groups >= FEWEST
    assert (top1.value, top1.high) == (1, 1)
    assert top1.low is not None
    assert top1.low <= binomtest(groups, groups).proportion_ci(method="exact").low


def test_a_test_of_a_few_drives_has_no_intervals_and_the_report_says_so(
    report: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drives = pl.col("image_id").cast(pl.String).hash() % 3
    table = Manifest(report.manifest.frame.with_columns(group=pl.format("drive{}", drives)))
    few = evaluate(make_bundle(tmp_path / "bundle"), table)
    text, said = few.html.read_text(), "no interval: 3 groups only"
    assert "There are no intervals" in text
    assert text.count(said) > 10
    assert "There are no intervals" not in report.html.read_text()
    written = json.loads((few.folder / "metrics.json").read_text())
    for score in (written["scores"]["top1"], written["probabilities"]["scores"]["ece"]):
        assert (score["low"], score["high"], score["groups"]) == (None, None, 3)
    root()(["evaluate", str(few.bundle.folder), str(write(table, tmp_path / "m.parquet"))], standalone_mode=False)
    assert capsys.readouterr().out.count(said) >= 5


def test_the_odds_of_a_bundle_without_calibration_are_judged_and_it_says_how_to_mend_them(report: Report) -> None:
    text = report.html.read_text()
    assert "has not been calibrated" in text
    assert "whichland calibrate BUNDLE MANIFEST" in text
    assert "Country sets" not in text
    kept = json.loads((report.folder / "metrics.json").read_text())["probabilities"]
    assert (kept["calibration"], kept["plain"], kept["sets"], kept["abstention"]) == (None, None, [], [])
    assert sum(part["photos"] for part in kept["bins"]) == 48
    assert text.count('aria-label="Right, by the probabilities given') == 1


def test_a_calibrated_bundle_shows_what_its_promises_are_worth(manifest: Manifest, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    plain = evaluate(bundle, manifest)
    never = Abstention(threshold=None, answered=0, right=0)
    abstention = {0.5: Abstention(threshold=0.3, answered=0.9, right=0.6), 0.9: never}
    kept = Calibration(temperature=2.0, photos=30, groups=20, sets={0.9: 0.1}, abstain=abstention)
    keep_calibration(bundle, kept)
    found = evaluate(bundle, manifest)
    assert found.folder != plain.folder  # the probabilities differ
    assert found.evaluations == 2  # but the model does not
    np.testing.assert_array_equal(found.outcomes.guess, plain.outcomes.guess)
    for name in ("ece", "brier", "nll"):  # at temperature 1 they are what they were
        before, again = getattr(plain.probabilities.scores, name), getattr(found.probabilities.plain, name)
        assert again.value == pytest.approx(before.value, rel=1e-3, abs=1e-3)
    (row,) = found.probabilities.sets
    truth = found.predictions.probabilities[np.arange(48), found.outcomes.truth]
    inside = (truth >= 0.1) | (found.outcomes.truth == found.outcomes.guess)
    assert row.coverage.value == pytest.approx(inside.mean())
    text = found.html.read_text()
    assert "set right on 30 validation photos in 20 groups" in text
    assert f"{row.coverage.value:.1%}<small>" in text
    assert "no threshold kept that on the validation photos" in text


def test_views_of_a_panorama_become_one_answer(manifest: Manifest, tmp_path: Path) -> None:
    panorama = pl.col("image_id").str.slice(2).cast(pl.Int64) // 2
    frame = manifest.frame.with_columns(pl.format("p{}", panorama).alias("panorama"), country=pl.lit("DE"))
    table = Manifest(frame.head(47))  # the last panorama has a single view
    bundle = make_bundle(tmp_path / "run" / "bundle")
    by_photo = evaluate(bundle, table)
    found = evaluate(bundle, table, per="panorama")
    assert found.folder == tmp_path / "run" / "report-panorama"
    assert found.evaluations == 1  # no photo was asked again
    assert (found.predictions.frame.height, found.predictions.views) == (24, 47)
    probabilities = by_photo.predictions.probabilities.astype(float)
    combined = np.sqrt(probabilities[0] * probabilities[1])
    np.testing.assert_allclose(found.predictions.probabilities[0], combined / combined.sum(), rtol=1e-5)
    np.testing.assert_allclose(found.predictions.probabilities[23], probabilities[46], rtol=1e-5)
    numbers = json.loads((found.folder / "metrics.json").read_text())
    assert (numbers["per"], numbers["photos"]) == ("panorama", 24)
    assert "24 street panoramas" in found.html.read_text()
    assert "47 views" in found.html.read_text()
    with pytest.raises(UserError, match="choose another --out"):
        evaluate(bundle, table, out=by_photo.folder, per="panorama")
    with pytest.raises(UserError, match="cuts panoramas into views"):
        evaluate(bundle, manifest, out=tmp_path / "other", per="panorama")
    alone = Manifest(table.frame.with_columns(panorama=pl.lit(None, pl.String)))
    with pytest.raises(UserError, match="none of these photos is a view"):
        evaluate(bundle, alone, per="panorama")
