"""Scores with a real, tiny classifier whose answer is set by hand, and with real weights where they are."""

import math
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from curated import measured, photo, save
from whichland.cli.main import main
from whichland.curate.clean import CleanConfig, clean
from whichland.errors import UserError
from whichland.manifest import Manifest, read, write
from whichland.model import street
from whichland.model.street import SIDES, ScoreConfig, class_names, classifier, pieces, score

ARCH = "test_resnet"
SHARED = Path(__file__).parents[2] / "shared"
WEIGHTS = SHARED / "weights" / "mobilenetv2_100.safetensors"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that is sure of a street in a bright photo and of a room in a dark one."""
    torch.manual_seed(0)
    model = timm.create_model(ARCH)
    names = class_names()
    with torch.no_grad():
        model.fc.weight.zero_()
        model.fc.bias.fill_(-30.0)
        model.fc.bias[names.index("streetcar")] = math.log(3.0)
        model.fc.bias[names.index("restaurant")] = 0.0
    path = tmp_path_factory.mktemp("weights") / "sure.safetensors"
    save_file(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("photos")
    sizes = [(300, 200), (200, 300), (900, 225), (300, 200), (300, 200)]
    uris = [str(save(photo(seed, size=size), folder / f"{seed}.jpg")) for seed, size in enumerate(sizes)]
    Path(uris[3]).write_bytes(b"no photo")
    return measured(5, uri=uris, unreadable=[None, None, None, None, "known to be broken"])


def test_the_score_is_the_share_of_outdoors(table: Manifest, weights: Path) -> None:
    done = score(table, ScoreConfig(arch=ARCH, weights=str(weights), batch_size=2), progress=False)
    expected = (0.75 + street.DOUBT) / (1 + 2 * street.DOUBT)
    values = done.frame["street"].to_list()
    assert values[:3] == pytest.approx([expected] * 3, abs=1e-5)
    assert values[3:] == [None, None]
    step = done.history[-1]
    assert (step.step, step.params["scored"], step.params["waiting"]) == ("score", 4, 0)
    assert step.params["weights"] == weights.name


def test_only_rows_without_a_score_are_looked_at(table: Manifest, weights: Path) -> None:
    given = Manifest(table.frame.with_columns(street=pl.Series([0.25, None, 0.5, 0.1, None])))
    done = score(given, ScoreConfig(arch=ARCH, weights=str(weights)), progress=False)
    assert done.history[-1].params["scored"] == 1
    assert done.frame["street"].to_list()[0] == 0.25
    again = score(done, ScoreConfig(arch=ARCH, weights="no file is opened"), progress=False)
    assert again.frame.equals(done.frame)


def test_interrupted_it_keeps_what_is_done(table: Manifest, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ScoreConfig(arch=ARCH, weights=str(weights), batch_size=2)
    plain, calls, saved = street._judged, [], []

    def second_is_interrupted(*batch: object) -> object:
        calls.append(batch)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*batch)

    monkeypatch.setattr(street, "_judged", second_is_interrupted)
    with pytest.raises(KeyboardInterrupt):
        score(table, config, checkpoint=saved.append, progress=False)
    monkeypatch.undo()
    assert saved[0].frame["street"].null_count() == 3
    resumed = score(saved[0], config, progress=False)
    assert resumed.frame.equals(score(table, config, progress=False).frame)


def test_a_panorama_is_cut_into_pieces_side_by_side(tmp_path: Path, weights: Path) -> None:
    preprocess = classifier(ScoreConfig(arch=ARCH, weights=str(weights))).preprocess
    counts = {(224, 224): 1, (300, 200): 2, (200, 400): 1, (896, 224): 4, (4000, 200): 8}
    for size, count in counts.items():
        path = save(photo(1, size=size), tmp_path / "photo.jpg")
        found = pieces(str(path), preprocess)
        assert found is not None
        assert found.shape == (count, *preprocess.size, 3)
    assert pieces(str(tmp_path / "gone.jpg"), preprocess) is None


def test_every_class_is_one_of_imagenet_and_on_one_side() -> None:
    sides = pl.read_csv(SIDES)
    outdoors, indoors = (sides.filter(side=side)["class"].to_list() for side in ("outdoors", "indoors"))
    assert min(len(outdoors), len(indoors)) >= 90
    names = class_names()
    assert len(names) == 1000
    for name in outdoors + indoors:
        assert names.count(name) == 1, name
    assert len(set(outdoors + indoors)) == len(outdoors) + len(indoors)


def test_what_is_no_imagenet_classifier_is_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no classifier"):
        classifier(ScoreConfig(arch=ARCH, weights="none"))
    headless = {name: value for name, value in load_file(weights).items() if not name.startswith("fc.")}
    save_file(headless, tmp_path / "headless.safetensors")
    with pytest.raises(UserError, match="no classifier"):
        classifier(ScoreConfig(arch=ARCH, weights=str(tmp_path / "headless.safetensors")))


def test_the_command_fills_the_column(
    table: Manifest, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(table, tmp_path / "photos.parquet")
    words = ["score", str(path), "-o", str(path), "--arch", ARCH, "--weights", str(weights)]
    monkeypatch.setattr(sys, "argv", ["whichland", "data", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert read(path).frame["street"].null_count() == 2
    assert clean(read(path), CleanConfig(min_street=0.9)).history[-1].dropped["off_street"] == 3


@pytest.mark.skipif(not WEIGHTS.is_file(), reason=f"needs the ImageNet weights {WEIGHTS}, which are not here")
def test_real_weights_tell_rooms_from_streets() -> None:
    shards = sorted((SHARED / "data" / "pano_parquet" / "data").glob("*.parquet"))
    rows = {60: False, 11: False, 140: False, 203: True, 150: True, 57: True}  # seen by eye
    sizes = [pl.scan_parquet(shard).select(pl.len()).collect().item() for shard in shards]
    uris = [f"{shards[0]}#{row}" if row < sizes[0] else f"{shards[1]}#{row - sizes[0]}" for row in rows]
    config = ScoreConfig(arch="mobilenetv2_100", weights=str(WEIGHTS))
    found = score(measured(len(uris), uri=uris), config, progress=False).frame["street"].to_numpy()
    assert ((found > 0.5) == np.array(list(rows.values()))).all()
