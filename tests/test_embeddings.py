"""Photos as vectors: equal to what timm's own model makes of them, resumed, and searched exactly."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import timm
import torch
from PIL import Image

from saved_bundle import save_bundle
from whichland.bulk import embeddings
from whichland.bulk.embeddings import EmbedConfig, embed_to, nearest, search
from whichland.errors import UserError
from whichland.model import bundle as bundles
from whichland.model.backbone import create


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bundle(tmp_path_factory.mktemp("run") / "bundle", create("test_efficientnet", 3, weights="none"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for name in "abcdefg":
        coarse = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        coarse.resize((250, 200)).save(folder / f"{name}.png")
    (folder / "h.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def index(bundle: Path, photos: Path) -> Path:
    out = photos.parent / "index.parquet"
    assert embed_to([str(photos)], out, EmbedConfig(bundle=str(bundle))) == (8, 1)
    return out


def test_a_vector_is_what_timm_makes_before_the_head(bundle: Path, photos: Path, index: Path) -> None:
    model = timm.create_model(f"local-dir:{bundle}", pretrained=True, num_classes=0).eval()
    preprocess = bundles.load(bundle).preprocess
    crop = preprocess.crop(np.asarray(Image.open(photos / "c.png")))
    with torch.inference_mode():
        expected_F = model(torch.from_numpy(preprocess.normalise(crop[None])))[0].numpy()
    row = pl.read_parquet(index).filter(pl.col("path").str.ends_with("c.png"))
    np.testing.assert_allclose(
        row["embedding"].to_numpy()[0], expected_F / np.linalg.norm(expected_F), rtol=0, atol=1e-5
    )


def test_an_unreadable_photo_has_a_reason_and_no_vector(index: Path) -> None:
    last = pl.read_parquet(index).row(-1, named=True)
    assert last["path"].endswith("h.png")
    assert last["embedding"] is None
    assert "image" in last["error"]


def test_a_photo_finds_itself_first(photos: Path, index: Path) -> None:
    found = search(index, str(photos / "d.png"), 3)
    assert found[0].row["path"] == str(photos / "d.png")
    assert found[0].distance == pytest.approx(0, abs=1e-5)
    assert [one.distance for one in found] == sorted(one.distance for one in found)


def test_blocks_miss_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    vectors_NF = random.normal(size=(500, 16)).astype(np.float32)
    vectors_NF /= np.linalg.norm(vectors_NF, axis=1, keepdims=True)
    table = {"path": list(map(str, range(500))), "embedding": pl.Series(vectors_NF, dtype=pl.Array(pl.Float32, 16))}
    pl.DataFrame(table).write_parquet(tmp_path / "index.parquet")
    monkeypatch.setattr(embeddings, "BLOCK", 37)
    for query in vectors_NF[:20]:
        order = np.argsort(-(vectors_NF.astype(np.float64) @ query), kind="stable")[:9]
        assert [int(one.row["path"]) for one in nearest(tmp_path / "index.parquet", query, 9)] == order.tolist()


def test_what_a_manifest_knows_comes_along(bundle: Path, photos: Path, tmp_path: Path) -> None:
    names = [str(photos / f"{name}.png") for name in "ab"]
    known = {"uri": names, "country": ["NO", "NA"], "license": ["CC0-1.0", None], "width": [1, 2]}
    pl.DataFrame(known).write_parquet(tmp_path / "photos.parquet")
    embed_to([str(tmp_path / "photos.parquet")], tmp_path / "index.parquet", EmbedConfig(bundle=str(bundle)))
    table = pl.read_parquet(tmp_path / "index.parquet")
    assert table.select("path", "country", "license").rows() == [(names[0], "NO", "CC0-1.0"), (names[1], "NA", None)]
    assert "width" not in table.columns


def test_a_run_that_was_stopped_goes_on(
    bundle: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "SHARD", 3)
    asked, whole = [], embeddings.embed_shard

    def stopped(shard: embeddings.Shard) -> None:
        asked.append(len(shard.photos))
        if len(asked) == 2:
            raise KeyboardInterrupt
        whole(shard)

    monkeypatch.setattr(embeddings, "embed_shard", stopped)
    out, config = tmp_path / "index.parquet", EmbedConfig(bundle=str(bundle))
    with pytest.raises(KeyboardInterrupt):
        embed_to([str(photos)], out, config)
    assert not out.exists()
    assert embed_to([str(photos)], out, config) == (8, 1)
    assert asked == [3, 3, 3, 2]
    assert not (tmp_path / "index.parquet.part").exists()


def test_a_run_of_another_model_is_not_gone_on_with(bundle: Path, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "index.parquet.part"
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps({"model": "another"}))
    with pytest.raises(UserError, match="another model or other photos"):
        embed_to([str(photos)], tmp_path / "index.parquet", EmbedConfig(bundle=str(bundle)))


def test_what_is_no_index_is_one_line(photos: Path) -> None:
    with pytest.raises(UserError, match="no embeddings"):
        search(photos / "a.png", str(photos / "b.png"))


def test_a_bundle_or_an_architecture() -> None:
    for given in ({}, {"bundle": "b", "arch": "test_vit"}):
        with pytest.raises(UserError, match="either a bundle or an --arch"):
            EmbedConfig(**given)
