"""Settings as TOML and back, and what is said of wrong ones."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichland.config import build, read_toml, recipe_file, settings, to_toml
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
