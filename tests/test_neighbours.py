"""The k-nearest-neighbour head: as scikit-learn's, blind to a photo's own group, and a peer in the report."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.neighbors import KNeighborsClassifier

from test_report import make_manifest
from tiny_bundle import make_bundle, make_photos
from whichland.bulk.config import EmbedConfig
from whichland.bulk.embeddings import embed_to
from whichland.cli.commands import root
from whichland.errors import UserError
from whichland.evaluation.evaluate import evaluate
from whichland.evaluation.neighbours import KS, TEMPERATURE, NeighbourHead
from whichland.manifest import Manifest, read, write


def blobs(count: int, seed: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Photos of three labels whose features lie about three points, far from the origin."""
    random = np.random.default_rng(seed)
    label_N = random.integers(3, size=count)
    middles = np.array([[9, 5, 5, 5], [5, 9, 5, 5], [5, 5, 9, 5]])
    return (middles[label_N] + spread * random.normal(size=(count, 4))).astype(np.float32), label_N


@pytest.mark.parametrize("k", KS[1:5])
def test_the_votes_are_those_of_scikit_learn(k: int) -> None:
    x_NF, label_N = blobs(200, 0, spread=3)
    head = NeighbourHead.fit(x_NF, label_N, np.arange(200), 3)
    peer = KNeighborsClassifier(k, metric="cosine", weights=lambda distance: np.exp(-distance / TEMPERATURE))
    peer.fit(x_NF - x_NF.mean(axis=0), label_N)
    asked_MF, _ = blobs(80, 1, spread=3)
    wanted_MK = (peer.predict_proba(asked_MF - x_NF.mean(axis=0)) * k + 1 / 3) / (k + 1)
    np.testing.assert_allclose(head.votes(asked_MF)[KS.index(k)], wanted_MK, atol=2e-4)


def test_the_own_group_does_not_choose_k() -> None:
    """Pairs of equal photos, labels at random: one neighbour would always be right if the twin could vote."""
    random = np.random.default_rng(2)
    x_NF = np.repeat(random.normal(size=(150, 8)).astype(np.float32), 2, axis=0)
    label_N = np.repeat(random.choice(3, size=150, p=[0.8, 0.1, 0.1]), 2)
    assert NeighbourHead.fit(x_NF, label_N, np.arange(300), 3).k == 1
    assert NeighbourHead.fit(x_NF, label_N, np.repeat(np.arange(150), 2), 3).k > 1


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A manifest whose 48 test photos are joined by training photos that are copies of them; a bundle; features."""
    place = tmp_path_factory.mktemp("world")
    table = make_manifest(place / "photos")
    tested = table.kept.filter(
        pl.col("split") == "test", pl.col("country") != "IS", ~pl.col("uri").str.contains("brok")
    )
    copies = [str(path) for path in make_photos(place / "copies", 48)]
    training = tested.with_columns(uri=pl.Series(copies), split=pl.lit("train"), image_id="c" + pl.col("image_id"))
    manifest = write(Manifest(pl.concat([table.frame, training])), place / "world.parquet")
    bundle = make_bundle(place / "run" / "bundle")
    embed_to([str(manifest)], place / "features.parquet", EmbedConfig(bundle=str(bundle)))
    return manifest, bundle, place / "features.parquet"


def test_it_stands_beside_the_bundle_in_every_face(
    world: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, bundle, features = world
    words = ["evaluate", bundle, manifest, "--out", tmp_path / "report", "--knn", features]
    root()([*map(str, words)], prog_name="whichland", standalone_mode=False)
    out = capsys.readouterr().out
    found = json.loads((tmp_path / "report" / "metrics.json").read_text())
    other = found["neighbours"]
    assert (other["photos"], other["features"]) == (49, "features.parquet")  # 48 copies and one more
    assert other["scores"]["top1"]["value"] == 1  # each test photo's copy outvotes all others
    own = found["scores"]["top1"]["value"]
    assert other["ahead"]["top1"]["value"] == pytest.approx(own - 1)
    assert other["ahead"]["top1"]["low"] < own - 1 < other["ahead"]["top1"]["high"] < 0
    assert "top-1 100.0% [" in out
    assert f"this model differs from it by {(own - 1) * 100:+.1f} points" in out
    assert f"{other['k']} nearest photos" in (tmp_path / "report" / "report.html").read_text()


def test_what_is_missing_is_said_in_one_line(world: tuple[Path, Path, Path], tmp_path: Path) -> None:
    manifest, bundle, features = world
    with pytest.raises(UserError, match="judge another split"):
        evaluate(bundle, manifest, "train", tmp_path / "a", knn=features)
    half = pl.read_parquet(features).head(60)
    half.write_parquet(tmp_path / "half.parquet", metadata=pl.read_parquet_metadata(features))
    with pytest.raises(UserError, match=r"lacks \d+ of 97 photos, such as .*; embed the whole manifest"):
        evaluate(bundle, manifest, "test", tmp_path / "b", knn=tmp_path / "half.parquet")
    with pytest.raises(UserError, match=r"no features; make them with `whichland embed"):
        evaluate(bundle, manifest, "test", tmp_path / "c", knn=manifest)
    with pytest.raises(UserError, match="not readable"):
        evaluate(bundle, read(manifest), "test", tmp_path / "d", knn=tmp_path / "none.parquet")
