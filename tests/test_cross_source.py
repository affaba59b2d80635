"""Every source against every other: what is trained, what is judged, what is done again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from whichland.cli.commands import root
from whichland.errors import UserError
from whichland.evaluation.cross_source import cross_source
from whichland.evaluation.cross_source_matrix import OTHERS, CrossSource, Transfer
from whichland.manifest import Manifest, write
from whichland.statistics import Score
from whichland.training.config import TrainConfig

CONFIG = TrainConfig(
    arch="test_resnet", weights="none", epochs=3, size=32, test_size=32, batch_size=16, lr=2e-2, ema=0.5,
    precision="fp32", workers=1, prior="trained",
)  # fmt: skip
COUNTRIES = ("FR", "JP", "NA")
COLOURS = {"FR": (200, 60, 60), "JP": (60, 200, 60), "NA": (60, 60, 200)}


def make_manifest(folder: Path, sources: dict[str, tuple[str, ...]], each: int = 12) -> Manifest:
    """Tinted photos: of the source "turned" the tints are those of the next country; a third are for test."""
    random = np.random.default_rng(0)
    rows = []
    for source, countries in sources.items():
        for code in countries:
            turn = 1 if source == "turned" else 0
            colour = COLOURS[COUNTRIES[(COUNTRIES.index(code) + turn) % 3]]
            for number in range(each):
                path = folder / f"{source}-{code}-{number}.png"
                pixels = np.array(colour) + random.integers(-40, 40, (40, 40, 3))
                Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
                split = ("train", "train", "test")[number % 3]
                rows.append((path.stem, str(path), source, code, f"{source}{code}{number // 2}", split))
    names = ["image_id", "uri", "source", "country", "group", "split"]
    return Manifest(pl.DataFrame(rows, schema=names, orient="row"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, CrossSource]:
    """Two sources that agree on two countries, one whose colours mean others, one of a single country."""
    folder = tmp_path_factory.mktemp("cross")
    table = make_manifest(folder, {"Plain": COUNTRIES, "pair": ("FR", "JP"), "turned": COUNTRIES, "only": ("NA",)})
    return table, cross_source(table, CONFIG, folder / "out")


def cell_of(result: CrossSource, trained: str, tested: str) -> Transfer:
    (cell,) = [c for c in result.cells if (c.trained_on, c.tested_on) == (trained, tested)]
    return cell


def test_every_pair_is_judged_on_the_countries_it_shares(made: tuple[Manifest, CrossSource]) -> None:
    _, result = made
    assert set(result.sources) == {"Plain", "pair", "turned", "only"}
    assert list(result.untrained) == ["only"]
    pairs = {(cell.trained_on, cell.tested_on): cell for cell in result.cells}
    assert len(pairs) == 3 * 4 + 4
    assert pairs["Plain", "pair"].countries == ("FR", "JP")
    assert pairs["pair", "Plain"].countries == ("FR", "JP")
    assert (pairs["Plain", "pair"].photos, pairs["Plain", "turned"].photos) == (8, 12)
    none = pairs["pair", "only"]
    assert (none.countries, none.photos, none.macro_f1) == ((), 0, None)
    assert pairs[OTHERS, "only"].countries == ("NA",)


def test_colours_that_mean_other_countries_are_not_known(made: tuple[Manifest, CrossSource]) -> None:
    _, result = made
    for trained, tested, least, most in (
        ("Plain", "Plain", 0.8, 1.0),
        ("Plain", "pair", 0.8, 1.0),
        ("turned", "turned", 0.8, 1.0),
        ("Plain", "turned", 0.0, 0.2),
    ):
        score = cell_of(result, trained, tested).macro_f1
        assert score is not None
        assert least <= score.value <= most, (trained, tested)
        assert score.ends[0] <= score.value <= score.ends[1]
    assert (cell_of(result, "Plain", "turned").at_home or 0) > 0.8
    assert cell_of(result, "Plain", "Plain").at_home is None
    assert result.sources.index("turned") < result.sources.index("pair")
    worst = result.worst
    assert worst is not None
    assert worst.trained_on == OTHERS
    assert worst.tested_on in ("turned", "only")  # what the others say of blue is a tie
    held_out = {tested: cell.macro_f1.value for tested, cell in result.held_out.items() if cell.macro_f1}
    assert held_out["turned"] == pytest.approx(min(held_out.values()), abs=0.1)
    written = json.loads((result.folder / "cross_source.json").read_text())
    assert written["worst_source"] == worst.tested_on
    assert len(written["cells"]) == len(result.cells)
    with Image.open(result.folder / "cross_source.png") as picture:
        assert min(picture.size) > 400


def test_models_are_trained_on_their_sources_alone_and_once(made: tuple[Manifest, CrossSource]) -> None:
    table, result = made
    runs = sorted((result.folder / "runs").iterdir())
    assert [run.name for run in runs] == [
        "all-but-only", "all-but-pair", "all-but-plain", "all-but-turned", "pair", "plain", "turned",
    ]  # fmt: skip
    info = json.loads((result.folder / "runs" / "pair" / "bundle" / "whichland.json").read_text())
    assert info["photos"] == 16
    places = json.loads((result.folder / "runs" / "pair" / "bundle" / "labels.json").read_text())["points"]
    assert list(places) == ["FR", "JP"]
    times = {run: (run / "bundle" / "model.safetensors").stat().st_mtime_ns for run in runs}
    again = cross_source(table, CONFIG, result.folder)
    assert again.cells == result.cells
    assert times == {run: (run / "bundle" / "model.safetensors").stat().st_mtime_ns for run in runs}
    with pytest.raises(UserError, match="other settings"):
        cross_source(table, replace(CONFIG, seed=1), result.folder)
    fewer = Manifest(table.frame.filter(pl.col("image_id") != "pair-FR-0"))
    with pytest.raises(UserError, match="other photos"):
        cross_source(fewer, CONFIG, result.folder)


def test_two_sources_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = make_manifest(tmp_path, {"Plain": COUNTRIES, "pair": ("FR", "JP")})
    path = write(table, tmp_path / "m.parquet")
    recipe = tmp_path / "small.toml"
    recipe.write_text(
        '[data]\nsize = 32\ntest_size = 32\n[model]\narch = "test_resnet"\nweights = "none"\n'
        '[optimisation]\nepochs = 1\nbatch_size = 16\n[run]\nprecision = "fp32"\n'
    )
    arguments = ["cross-source", str(path), "--recipe", str(recipe), "--out", str(tmp_path / "out")]
    root()(arguments, prog_name="whichland", standalone_mode=False)
    out = capsys.readouterr().out.splitlines()
    assert len([line for line in out if line.startswith(("Plain", "pair"))]) == 4
    assert any(line.startswith("worst source: ") and line.endswith("unseen") for line in out)
    root()([*arguments, "--json"], prog_name="whichland", standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert found["worst_macro_f1"]["value"] == min(
        cell["macro_f1"]["value"] for cell in found["cells"] if cell["unseen"]
    )


def test_one_source_alone_is_an_error_that_says_so(tmp_path: Path) -> None:
    table = make_manifest(tmp_path, {"Plain": COUNTRIES}, each=3)
    with pytest.raises(UserError, match="Plain alone"):
        cross_source(table, CONFIG, tmp_path / "out")
    unsplit = make_manifest(tmp_path, {"Plain": COUNTRIES, "pair": ("FR", "JP")}, each=2)  # all for training
    with pytest.raises(UserError, match="no test photos"):
        cross_source(unsplit, CONFIG, tmp_path / "out")


def test_the_worst_source_is_told_of_the_model_that_saw_most_without_it() -> None:
    def cell(trained: str, tested: str, value: float) -> Transfer:
        score = Score(value=value, low=value, high=value)
        return Transfer(
            trained_on=trained, tested_on=tested, countries=("FR",), photos=1, groups=1, macro_f1=score,
            top1=score, at_home=None,
        )  # fmt: skip

    def matrix(*cells: Transfer) -> CrossSource:
        return CrossSource(folder=Path(), sources=("a", "b", "c"), cells=cells, untrained={})

    # a and b alone do worse on c than both together; only b can be trained without a
    found = matrix(
        *(cell("a", "c", 0.1), cell("b", "c", 0.2), cell(OTHERS, "c", 0.5), cell("b", "a", 0.4)),
        *(cell("a", "b", 0.6), cell("a", "a", 0.05)),
    )
    assert {tested: best.trained_on for tested, best in found.held_out.items()} == {"c": OTHERS, "a": "b", "b": "a"}
    assert found.worst == cell("b", "a", 0.4)
    assert matrix(cell("a", "a", 0.5)).worst is None
