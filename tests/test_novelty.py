"""How unlike the training photos a photo is: the distance, its share, and the same in every face and engine."""

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
from fastapi.testclient import TestClient
from scipy.spatial.distance import mahalanobis
from scipy.stats import binomtest

import whichland as wl
from serving import calibrated_bundle, create
from unlike import bundle_with_novelty, usual_and_unlike
from whichland.cli.commands import root
from whichland.errors import UserError
from whichland.model.answer import DECIMALS
from whichland.model.export import export
from whichland.model.novelty import FILE, Novelty, fit
from whichland.whole_file import file_sha256


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_with_novelty(tmp_path_factory.mktemp("novelty"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return usual_and_unlike(tmp_path_factory.mktemp("pictures"))


def clouds(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of two labels, spread unequally in six directions."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    spread = random.normal(size=(count, 6)) * [5, 3, 2, 1, 1, 1]
    return (spread + 4 * labels[:, None] * np.eye(6)[0]).astype(np.float32), labels


def test_the_distance_is_that_of_mahalanobis_from_the_nearest_label() -> None:
    seen, labels = clouds(3000, 0)
    found = fit(seen, labels, clouds(50, 1)[0], [None] * 50)
    means = [seen[labels == label].mean(axis=0) for label in (0, 1)]
    within = [np.cov(seen[labels == label].T, bias=True) * np.mean(labels == label) for label in (0, 1)]
    covariance = within[0] + within[1]
    pooled = np.linalg.inv(covariance / np.diag(covariance).mean())
    others = clouds(20, 2)[0] + np.float32(1.5)
    expected = [min(mahalanobis(one, mean, pooled) for mean in means) for one in others]
    np.testing.assert_allclose(found.distances(others), expected, rtol=0.005)


def test_photos_like_those_of_validation_are_beyond_a_share_as_seldom_as_it_says() -> None:
    seen, labels = clouds(1000, 0)
    found = fit(seen, labels, clouds(399, 1)[0], [None] * 399)
    shares = np.array([found.share(float(one)) for one in found.distances(clouds(4000, 2)[0])])
    for level in (0.5, 0.9):
        beyond = binomtest(int((shares >= level).sum()), 4000).proportion_ci(0.999, "wilson")
        assert beyond.low - 0.03 < 1 - level < beyond.high + 0.03  # 399 photos, too, are a sample
    assert found.share(0.0) == 0
    assert found.share(1e9) == pytest.approx(1 - 1 / 400)


def test_a_group_counts_once_however_many_photos_it_has() -> None:
    seen, labels = clouds(1000, 0)
    held = np.concatenate([clouds(30, 1)[0], np.repeat(seen[:1] + 100, 70, axis=0)])
    found = fit(seen, labels, held, [None] * 30 + ["drive"] * 70)
    assert found.share(20.0) == pytest.approx(1 - 2 / 32)


def test_fewer_photos_than_directions_still_have_distances() -> None:
    random = np.random.default_rng(0)
    seen, held = (random.normal(size=(count, 40)).astype(np.float32) for count in (8, 5))
    found = fit(seen, np.array([0, 0, 0, 1, 1, 1, 1, 2]), held, [None] * 5)
    assert np.isfinite(found.known).all()
    assert (found.known > found.distances(seen).max()).all(), "photos of training are nearer than any other"


@pytest.fixture(scope="module")
def exported(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(bundle, tmp_path_factory.mktemp("exported") / "bundle"))
    export(folder)
    return folder


def test_every_engine_finds_the_same(bundle: Path, exported: Path, pictures: list[Path]) -> None:
    with_torch = wl.load(bundle, engine="torch").predict(pictures)
    assert [answer.unlike for answer in with_torch] == [False, True]
    assert repr(with_torch[1]).endswith("; unlike what it was trained on>")
    for engine in ("onnx", "openvino"):
        found = wl.load(exported, engine=engine).predict(pictures)  # type: ignore[arg-type]
        np.testing.assert_allclose([one.distance for one in found], [one.distance for one in with_torch], rtol=1e-3)
    code = (
        "import sys; sys.modules['torch'] = sys.modules['timm'] = sys.modules['safetensors'] = None\n"
        "import whichland as wl\n"
        f"print([a.unlike for a in wl.load({str(exported)!r}).predict({list(map(str, pictures))!r})])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[False, True]"


def test_bundles_and_networks_without_it_answer_and_say_nothing(
    exported: Path, pictures: list[Path], tmp_path: Path
) -> None:
    never = wl.load(calibrated_bundle(tmp_path / "never")).predict(pictures[1])
    assert (never.novelty, never.unlike, never.distance) == (None, False, None)
    old = Path(shutil.copytree(exported, tmp_path / "old"))
    graph = onnx.load(old / "model.onnx")
    del graph.graph.output[1]  # as exported before there was a second output
    onnx.save(graph, old / "model.onnx")
    info = json.loads((old / "whichland.json").read_text())
    info["export"]["files"]["model.onnx"]["sha256"] = file_sha256(old / "model.onnx")
    (old / "whichland.json").write_text(json.dumps(info))
    before, now = (wl.load(folder, engine="onnx").predict(pictures[1]) for folder in (old, exported))
    assert (before.novelty, before.unlike) == (None, False)
    np.testing.assert_array_equal(before.probabilities, now.probabilities)


def test_every_face_says_it(
    bundle: Path, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = [(round(answer.novelty or 0, DECIMALS), answer.unlike) for answer in wl.load(bundle).predict(pictures)]

    def call(*arguments: object) -> str:
        asked = ("predict", bundle, *pictures, *arguments)
        root()([*map(str, asked)], standalone_mode=False)
        return capsys.readouterr().out

    lines = call().splitlines()
    assert "unlike" not in lines[0]
    assert lines[1].endswith(f"; unlike what it was trained on, more so than {own[1][0]:.1%} of validation photos")
    assert [(one["novelty"], one["unlike"]) for one in map(json.loads, call("--json").splitlines())] == own
    rows = list(csv.DictReader(io.StringIO(call("--csv"))))
    assert [(float(row["novelty"]), row["unlike"] == "true") for row in rows] == own
    call("-o", tmp_path / "a.parquet")
    assert pl.read_parquet(tmp_path / "a.parquet").select("novelty", "unlike").rows() == own
    with TestClient(create(bundle)) as client:
        sent = [("files", (path.name, path.read_bytes())) for path in pictures]
        found = client.post("/api/predict", files=sent, data={"among": "EU"}).json()["results"]
    assert [(one["novelty"], one["unlike"]) for one in found] == own


def test_a_file_that_is_not_the_bundles_is_refused(bundle: Path, tmp_path: Path) -> None:
    for file in bundle.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / FILE).write_bytes((bundle / FILE).read_bytes()[:-9])
    with pytest.raises(UserError, match=r"novelty\.npz: damaged, or not the file of this bundle"):
        wl.load(tmp_path)
    pickled = {name: np.array([{}], dtype=object) for name in Novelty.__annotations__}
    np.savez(tmp_path / FILE, **pickled, allow_pickle=True)
    info = json.loads((tmp_path / "whichland.json").read_text())
    info["novelty"]["sha256"] = file_sha256(tmp_path / FILE)
    (tmp_path / "whichland.json").write_text(json.dumps(info))
    with pytest.raises(UserError, match="no novelty of a bundle"):
        wl.load(tmp_path)
    (tmp_path / FILE).unlink()
    with pytest.raises(UserError, match=r"novelty\.npz: missing"):
        wl.load(tmp_path)
