"""Settings as TOML and back, and what is said of wrong ones."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Interval
from hypothesis import given
from hypothesis import strategies as st

from whichland.config import (
    ABOVE_0,
    AT_LEAST_0,
    BETWEEN_0_AND_1,
    SHARE,
    TOML_ONLY,
    Config,
    build,
    differences,
    read_settings,
    read_toml,
    recipe_file,
    settings,
    to_toml,
)
from whichland.errors import UserError

RECIPES = Path(__file__).parents[1] / "recipes"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One field of every kind."""

    name: Annotated[str, "what it is called"]
    epochs: Annotated[int, "passes"] = 3
    rate: Annotated[float, "step"] = 1e-3
    flip: Annotated[bool, "mirror"] = False
    freeze: Annotated[Literal["none", "front"], "what rests"] = "none"
    head: Annotated[tuple[int, ...], "widths"] = ()
    countries: Annotated[tuple[str, ...], "codes"] = ()
    size: Annotated[int | None, "pixels"] = None
    extra: Annotated[dict[str, Any], "more"] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Photos(Config):
    """A group."""

    group = "photos"

    size: Annotated[int, "pixels", Interval(ge=32, le=512)] = 64
    shares: Annotated[tuple[float, ...], "of what", BETWEEN_0_AND_1] = (0.5,)


@dataclass(frozen=True, kw_only=True)
class Speed(Config):
    """Another."""

    group = "speed"

    rate: Annotated[float, "step", ABOVE_0] = 1.0
    decay: Annotated[float | None, "by layer", SHARE, TOML_ONLY] = None


@dataclass(frozen=True, kw_only=True)
class Grouped(Photos, Speed):
    """Two groups, and a setting of no group."""

    seed: Annotated[int, "which", AT_LEAST_0] = 0


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
finite = st.floats(allow_nan=False, allow_infinity=False)
recipes = st.builds(
    Recipe,
    name=words,
    epochs=st.integers(-(2**63), 2**63 - 1),
    rate=finite,
    flip=st.booleans(),
    freeze=st.sampled_from(["none", "front"]),
    head=st.lists(st.integers(0, 10**6), max_size=4).map(tuple),
    countries=st.lists(words, max_size=4).map(tuple),
    size=st.none() | st.integers(0, 10**4),
    extra=st.dictionaries(words, st.booleans() | st.integers(-9, 9) | finite | words, max_size=3),
)


@given(recipes)
def test_toml_and_back(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> None:
    path = tmp_path_factory.getbasetemp() / "recipe.toml"
    path.write_text(to_toml(recipe), encoding="utf-8", newline="")
    assert build(Recipe, read_toml(path), str(path)) == recipe


def test_settings_know_type_default_and_help() -> None:
    found = {setting.name: setting for setting in settings(Recipe)}
    assert list(found) == list(Recipe.__dataclass_fields__)
    assert found["rate"].kind is float
    assert found["rate"].default == 1e-3
    assert found["rate"].help == "step"
    assert found["extra"].default == {}


def test_a_whole_number_will_do_for_a_float_and_a_list_for_a_tuple() -> None:
    made = build(Recipe, {"name": "x", "rate": 1, "head": [512, 256]}, "here")
    assert isinstance(made.rate, float)
    assert made.head == (512, 256)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", "many"),
        ("epochs", 2.5),
        ("epochs", True),
        ("rate", "fast"),
        ("rate", True),
        ("flip", 1),
        ("freeze", "some"),
        ("head", 512),
        ("head", ["512"]),
        ("countries", "US"),
        ("size", "large"),
        ("extra", [1]),
        ("name", 3),
    ],
)
def test_a_wrong_type_is_one_line_that_names_file_setting_and_value(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(UserError) as raised:
        build(Recipe, {"name": "x", name: value}, "recipes/a.toml")
    message = str(raised.value)
    assert "recipes/a.toml" in message
    assert name in message
    assert "\n" not in message
    assert repr(value if not isinstance(value, list) else value[0]) in message or repr(value) in message


def test_an_unknown_setting_is_refused_and_the_known_are_listed() -> None:
    with pytest.raises(UserError, match=r"a\.toml.*'epoch'.*epochs"):
        build(Recipe, {"name": "x", "epoch": 3}, "a.toml")


def test_a_setting_that_must_be_given_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"a\.toml.*name"):
        build(Recipe, {}, "a.toml")


@pytest.mark.parametrize("content", [b"a = ", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_malformed_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.toml") as raised:
        read_toml(path)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.toml"):
        read_toml(tmp_path / "none.toml")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_no_bound_holds_are_refused(value: float) -> None:
    """Nothing is below or above NaN, so every bound would let it pass."""
    with pytest.raises(UserError, match="rate: expected a finite number"):
        build(Recipe, {"name": "x", "rate": value}, "flags")


def test_a_recipe_is_found_by_its_name_and_a_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert recipe_file("default").samefile(RECIPES / "default.toml")
    assert recipe_file("default.toml").samefile(RECIPES / "default.toml")
    (tmp_path / "default.toml").write_text("epochs = 1")
    assert recipe_file("default.toml").samefile(tmp_path / "default.toml")
    assert recipe_file("elsewhere/default.toml") == Path("elsewhere/default.toml")  # which reading then refuses
    with pytest.raises(UserError, match="dafault: no such file, and no recipe of that name; near: default"):
        recipe_file("dafault")


def test_groups_are_tables_and_attributes_are_not(tmp_path: Path) -> None:
    made = Grouped(size=128, rate=2.0, decay=0.5)
    text = to_toml(made)
    assert text == "seed = 0\n\n[photos]\nsize = 128\nshares = [0.5]\n\n[speed]\nrate = 2.0\ndecay = 0.5\n"
    (tmp_path / "a.toml").write_text(text)
    assert build(Grouped, read_toml(tmp_path / "a.toml"), "a.toml") == made
    assert [(s.path, s.flag) for s in settings(Grouped)][-2:] == [("speed.rate", True), ("speed.decay", False)]
    assert made.part(Photos) == Photos(size=128)
    assert differences(Grouped(), made) == ["photos.size = 128", "speed.rate = 2.0", "speed.decay = 0.5"]


def test_a_file_without_tables_is_read_and_where_its_settings_belong_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.toml"
    file.write_text("rate = 2.0\nseed = 1\nsize = 128\n")
    assert build(Grouped, read_settings(Grouped, file), "a") == Grouped(size=128, rate=2.0, seed=1)
    message = capsys.readouterr().err
    assert message.startswith(f"{file}: settings without a table are read for the last time in this version; ")
    assert message.endswith("write [photos] size; [speed] rate\n")
    file.write_text("seed = 1\n[photos]\nsize = 128\n")
    read_settings(Grouped, file)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"speed": {"size": 64}}, r"a\.toml: size is not a setting of \[speed\]: write it under \[photos\]"),
        ({"speed": {"pace": 1}}, r"a\.toml: unknown setting 'pace'"),
        ({"rate": 2.0, "speed": {"rate": 1.0}}, r"a\.toml: rate is given twice"),
        ({"fast": {"rate": 2.0}}, r"a\.toml: unknown setting 'fast'"),
        ({"speed": 3}, r"a\.toml: unknown setting 'speed'"),
    ],
)
def test_a_wrong_table_is_one_line(values: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        build(Grouped, values, "a.toml")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"size": 31}, "size 31: give 32 to 512"),
        ({"size": 513}, "size 513: give 32 to 512"),
        ({"shares": (0.5, 1.0)}, "shares 0.5,1.0: give a share between 0 and 1"),
        ({"rate": 0.0}, "rate 0.0: give a number above 0"),
        ({"rate": float("nan")}, "rate nan: give a number above 0"),
        ({"decay": 1.5}, "decay 1.5: give a share from 0 to 1"),
        ({"seed": -1}, "seed -1: give 0 or more"),
    ],
)
def test_a_value_out_of_bounds_is_named_with_what_would_do(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Grouped(**values)
