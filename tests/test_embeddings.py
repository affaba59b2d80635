"""Photos as vectors: equal to what timm's own model makes of them, resumed, and searched exactly or by a graph."""

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import timm
import torch
from PIL import Image

from saved_bundle import save_bundle
from whichland.bulk import embeddings
from whichland.bulk import search as searching
from whichland.bulk.embeddings import EmbedConfig, embed_to
from whichland.bulk.search import graph, nearest, nearest_by_graph, search
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


def made_up(path: Path, rows: int, seed: int = 1) -> np.ndarray:
    """An index of vectors without structure, every seventh of a photo that could not be read; its vectors."""
    vectors_NF = np.random.default_rng(seed).normal(size=(rows, 16)).astype(np.float32)
    vectors_NF /= np.linalg.norm(vectors_NF, axis=1, keepdims=True)
    held = [None if at % 7 == 3 else vector for at, vector in enumerate(vectors_NF.tolist())]
    table = {"path": list(map(str, range(rows))), "embedding": pl.Series(held, dtype=pl.Array(pl.Float32, 16))}
    pl.DataFrame(table).write_parquet(path)
    vectors_NF[3::7] = np.nan
    return vectors_NF


def nearest_by_sorting(vectors_NF: np.ndarray, query_F: np.ndarray, count: int) -> list[int]:
    cosine_N = np.nan_to_num(vectors_NF.astype(np.float64) @ query_F, nan=-2)
    return np.argsort(-cosine_N, kind="stable")[:count].tolist()


def test_blocks_miss_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors_NF = made_up(tmp_path / "index.parquet", 500)
    monkeypatch.setattr(searching, "BLOCK", 37)
    for query in vectors_NF[np.isfinite(vectors_NF[:, 0])][:20]:
        found = nearest(tmp_path / "index.parquet", query, 9)
        assert [int(one.row["path"]) for one in found] == nearest_by_sorting(vectors_NF, query, 9)


def test_a_graph_misses_next_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / "index.parquet"
    vectors_NF = made_up(index, 3000)
    monkeypatch.setattr(searching, "BLOCK", 700)
    right = 0
    for query in vectors_NF[:50:7]:
        found = nearest_by_graph(index, query, 10)
        right += len({int(one.row["path"]) for one in found} & set(nearest_by_sorting(vectors_NF, query, 10)))
        exact = nearest(index, query, 1)[0]
        assert (found[0].row, found[0].distance) == (exact.row, pytest.approx(exact.distance, abs=2e-3))
    assert right >= 0.97 * 80


def test_the_graph_of_an_index_that_is_another_by_now_is_made_anew(tmp_path: Path) -> None:
    index = tmp_path / "index.parquet"
    other = tmp_path / "index.val.parquet"
    nearest_by_graph(other, made_up(other, 50)[5], 1)
    (others,) = tmp_path.glob("*.usearch")
    for seed in (1, 2):
        vectors_NF = made_up(index, 200, seed)
        assert [one.row["path"] for one in nearest_by_graph(index, vectors_NF[5], 1)] == ["5"]
        assert others.exists()
        (path,) = set(tmp_path.glob("*.usearch")) - {others}
    for broken in (b"", b"no graph at all" * 20, path.read_bytes()[:500]):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"cannot be read .* remove it"):
            nearest_by_graph(index, vectors_NF[5], 1)


def test_a_graph_needs_its_extra(index: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(UserError, match="needs the extra 'search'"):
        search(index, str(photos / "a.png"), approximate=True)


def test_a_graph_finds_the_photo_itself(index: Path, photos: Path) -> None:
    found = search(index, str(photos / "d.png"), 3, approximate=True)
    assert found[0].row["path"] == str(photos / "d.png")
    assert graph(index).size == 7  # the unreadable photo has no vector


def test_what_a_manifest_knows_comes_along(bundle: Path, photos: Path, tmp_path: Path) -> None:
    names = [str(photos / f"{name}.png") for name in "ab"]
    known = {"uri": names, "country": ["NO", "NA"], "license": ["CC0-1.0", None], "width": [1, 2]}
    pl.DataFrame(known).write_parquet(tmp_path / "photos[1].parquet")
    embed_to([str(tmp_path / "photos[1].parquet")], tmp_path / "index[1].parquet", EmbedConfig(bundle=str(bundle)))
    assert len(search(tmp_path / "index[1].parquet", names[0])) == 2
    table = pl.read_parquet(tmp_path / "index[1].parquet", glob=False)
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
