"""Answers within some labels, and rolled up to what is certain: right values from maps and by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tiny_bundle import LABELS, make_bundle, make_photos
from whichland.cli.commands import root
from whichland.errors import UserError
from whichland.model.answer import Answer, Certain
from whichland.model.label_sources import among, countries
from whichland.model.labels import Label, LabelSpace, labels_text
from whichland.model.model import Model, load

SPACE = countries(LABELS)  # DE, FR, JP, NA, NO, US, ZA
TOWNS = LabelSpace(
    kind="town",
    tree={
        "town": {"Oslo": Label("Oslo", "NO"), "York": Label("York", "GB"), "the sea": Label("the sea")},
        "country": {"NO": Label("Norway", "Northern Europe"), "GB": Label("United Kingdom", "Northern Europe")},
        "region": {"Northern Europe": Label("Northern Europe", "Europe")},
        "continent": {"Europe": Label("Europe")},
    },
)


@pytest.mark.parametrize(
    ("names", "codes"),
    [
        ("NA", "NA"),
        ("Namibia, Deutschland", "DE NA"),
        ("EU", "DE FR"),
        ("europe", "DE FR NO"),
        ("Southern Africa,JP", "JP NA ZA"),
        ("drives left", "JP NA ZA"),
        ("drives right", "DE FR NO US"),
        (["JP", "EU"], "DE FR JP"),
    ],
)
def test_names_cover_labels(names: str | list[str], codes: str) -> None:
    assert among(SPACE, names) == tuple(codes.split())


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("Europ", "no country 'Europ'; near: Europe"),
        ("drive left", "near: drives left"),
        ("Jappan", "near: Japan"),
        ("Oceania", "knows no country of 'Oceania'; it knows DE, FR"),
        ("Serbia", "does not know RS; it knows DE, FR"),
        ("FR,", "no country ''; this bundle knows DE, FR"),
    ],
)
def test_a_name_that_covers_none_is_one_line(name: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as raised:
        among(SPACE, name)
    assert "\n" not in str(raised.value)


def test_labels_that_are_no_countries_go_by_what_they_lie_in() -> None:
    assert among(TOWNS, "the sea,UK") == ("York", "the sea")
    assert among(TOWNS, "drives left") == ("York",)
    assert among(TOWNS, "northern europe") == ("Oslo", "York")
    with pytest.raises(UserError, match="no town 'Osslo'; near: Oslo"):
        among(TOWNS, "Osslo")
    plain = LabelSpace(kind="surface", tree={"surface": {"gravel": Label("gravel"), "EU": Label("EU")}})
    assert among(plain, "EU") == ("EU",)
    with pytest.raises(UserError, match="no surface 'drives left'"):
        among(plain, "drives left")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("run") / "bundle")


@pytest.fixture(scope="module")
def model(bundle: Path) -> Model:
    return load(bundle)


def answer_with(model: Model, **shares: float) -> Answer:
    probabilities = np.array([shares.get(code, 0) for code in LABELS], np.float32)
    return Answer(path="a.jpg", probabilities=probabilities, settings=model)


def test_probabilities_are_scaled_and_what_fell_outside_is_stated(model: Model) -> None:
    whole = answer_with(model, US=0.6, JP=0.2, FR=0.1, DE=0.1)
    found = whole.among("EU,JP")
    assert found.label == "JP"
    np.testing.assert_allclose(found.probabilities, [0.25, 0.25, 0.5, 0, 0, 0, 0], atol=1e-6)
    assert found.outside == pytest.approx(0.6)
    assert [guess.code for guess in found.top(99)] == ["JP", "DE", "FR"]
    assert [(one.code, round(one.probability, 3)) for one in found.at("continent")] == [("Asia", 0.5), ("Europe", 0.5)]
    assert repr(found).endswith("France (FR) 25.0%; 60.0% fell outside>")
    assert found.among("US").label == "US"  # the original one is restricted anew
    assert found.among("US").outside == pytest.approx(0.4)
    assert (whole.outside, whole.label) == (0.0, "US")
    nothing = whole.among("drives left,NO").among("NA,ZA")
    assert nothing.outside == pytest.approx(1)
    assert [guess.probability for guess in nothing.top()] == [0.5, 0.5]


def test_the_first_level_that_is_certain_is_the_answer(model: Model) -> None:
    answer = answer_with(model, FR=0.5, DE=0.3, NO=0.14, JP=0.06)
    assert answer.certain(0.5) == Certain("country", "FR", "France", 0.5)
    for certainty, name, probability in ((0.75, "Western Europe", 0.8), (0.9, "Europe", 0.94)):
        found = answer.certain(certainty)
        assert found is not None
        assert (found.name, round(found.probability, 6)) == (name, probability)
    assert answer.certain(0.95) is None
    assert answer.among("EU").certain(0.95) is None, "that they all lie in Western Europe is no answer"
    assert answer.among("FR").certain(0.95) == Certain("country", "FR", "France", 1.0)


def test_one_photo_several_and_an_iterator_are_restricted(model: Model, tmp_path: Path) -> None:
    photos = make_photos(tmp_path, 2)
    one = model.predict(photos[0], among="EU")
    assert set(one.labels) - set(one.within or ()) == {"JP", "NA", "NO", "US", "ZA"}
    assert one.probabilities.sum() == pytest.approx(1)
    assert one.original is not None
    np.testing.assert_array_equal(one.original.probabilities, model.predict(photos[0]).probabilities)
    several = model.predict([photos[0], tmp_path / "gone.jpg"], among="EU")
    assert several[0].label == one.label
    assert several[1].error is not None
    assert [answer.label for answer in model.predict(iter(photos), among=("NA",))] == ["NA", "NA"]
    with pytest.raises(UserError, match="near: Europe"):
        model.predict(iter(photos), among="Europ")


def test_the_command_line_says_it_in_words(
    bundle: Path, model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photo,) = make_photos(tmp_path, 1)
    answer = model.predict(photo, among="EU,Africa")
    main = root()
    main(["predict", str(bundle), str(photo), "--among", "EU,Africa", "--certainty", "99.99"], standalone_mode=False)
    line = capsys.readouterr().out.strip()
    assert line.startswith(f"{photo}: {answer.name} ({answer.label}) {answer.probability:.1%}, ")
    assert f"; {answer.outside:.1%} fell outside EU,Africa; certain to 99.99 %: " in line
    assert "Japan" not in line
    with pytest.raises(UserError, match="no country 'Afrika'; near: Africa"):
        main(["predict", str(bundle), str(photo), "--among", "Afrika"], standalone_mode=False)


def test_towns_in_no_one_country_are_certain_as_towns_alone(bundle: Path, model: Model, tmp_path: Path) -> None:
    labels = {code: Label(f"town {code}") for code in LABELS}
    text = labels_text(LabelSpace(kind="town", tree={"town": labels}))
    (tmp_path / "bundle").mkdir()
    for file in bundle.iterdir():
        (tmp_path / "bundle" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "bundle" / "labels.json").write_text(text, encoding="utf-8")
    towns = load(tmp_path / "bundle")
    answer = replace(answer_with(model, FR=0.7, DE=0.3), settings=towns)
    assert answer.certain(0.6) == Certain("town", "FR", "town FR", pytest.approx(0.7))
    assert answer.certain(0.8) is None
