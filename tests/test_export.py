"""Export: the same logits as torch in every family, int8 only where it agrees, and nothing else overwritten."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest
import torch

import forked
from curated import measured
from saved_bundle import save_bundle
from tiny_bundle import LABELS, make_photos
from whichland.errors import UserError
from whichland.manifest import Manifest, write
from whichland.model import backbone
from whichland.model.bundle import bundle_hash, load
from whichland.model.export import ExportConfig, agreement, export
from whichland.model.model import load as open_model
from whichland.model.model import model_of
from whichland.workers import cores

SMALL_VIT: dict[str, Any] = {"depth": 2, "embed_dim": 32, "num_heads": 2}
FAMILIES = {
    "ResNet": ("test_resnet", {}),
    "ResNet-D": ("resnet18d", {"layers": [1, 1, 1, 1], "channels": [8, 16, 24, 32], "stem_width": 8}),
    "ConvNeXt": ("test_convnext", {}),
    "ViT": ("vit_tiny_patch16_224", SMALL_VIT),
    "DeiT": ("deit_tiny_distilled_patch16_224", SMALL_VIT),
    "SwinV2": ("swinv2_tiny_window8_256", {"depths": (1, 1), "embed_dim": 16, "num_heads": (2, 2), "window_size": 4}),
}


def bundle_of(
    folder: Path, arch: str, model_args: dict[str, Any] | None = None, head: tuple[int, ...] = (), **info: Any
) -> Path:
    """A bundle of a model at random whose logits are as far apart as a trained one's."""
    torch.manual_seed(0)
    made = backbone.create(arch, len(LABELS), weights="none", size=64, head=head, model_args=model_args)
    for parameter in made.model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.xavier_normal_(parameter, gain=1.4)
    return save_bundle(folder, made, labels=LABELS, version="0.1.0", **info)


def crops(count: int, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def photos(folder: Path, train: int = 24, val: int = 80) -> Manifest:
    paths = make_photos(folder, train + val)
    made = measured(train + val, countries=LABELS, uri=[str(path) for path in paths], drop_reason=[None])
    split = ["train"] * train + ["val"] * val
    return made.with_step("split", made.frame.with_columns(pl.Series("split", split)))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_the_logits_of_torch_for_any_number_of_photos(family: str, tmp_path: Path) -> None:
    arch, model_args = FAMILIES[family]
    head = () if family == "DeiT" else (12,)  # its two classifiers take no hidden layers
    folder = bundle_of(tmp_path / "bundle", arch, model_args, head, temperature=1.7)
    export(folder)
    runner = open_model(folder)
    assert runner.engine == "onnx"
    for count in (1, 5):
        seen = crops(count, runner.preprocess.size)
        wanted = model_of(load(folder)).run(seen)
        assert np.unique(wanted.round(3)).size > 1, "equal logits would show nothing"
        np.testing.assert_allclose(runner.run(seen), wanted, atol=1e-3 * np.abs(wanted).max())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = bundle_of(tmp_path_factory.mktemp("run") / "bundle", "test_resnet", temperature=2.5)
    export(folder)
    return folder


def test_the_file_says_what_it_is(exported: Path) -> None:
    graph = onnx.load(exported / "model.onnx")
    said = {entry.key: entry.value for entry in graph.metadata_props}
    assert json.loads(said["labels"]) == list(LABELS)
    assert json.loads(said["preprocess"])["size"] == [64, 64]
    assert said["temperature"] == "2.5"
    assert said["weights_license"]
    (pixels,) = graph.graph.input
    assert [side.dim_value or side.dim_param for side in pixels.type.tensor_type.shape.dim] == ["batch", 64, 64, 3]
    onnx.checker.check_model(graph)


def test_exporting_again_changes_nothing_until_the_bundle_does(exported: Path) -> None:
    before, digest = (exported / "model.onnx").stat().st_mtime_ns, bundle_hash(exported)
    assert export(exported).written == ()
    assert (exported / "model.onnx").stat().st_mtime_ns == before
    info = json.loads((exported / "whichland.json").read_text(encoding="utf-8"))
    info.pop("export")
    (exported / "whichland.json").write_text(json.dumps(info | {"temperature": 3.0}), encoding="utf-8")
    assert bundle_hash(exported) != digest
    with pytest.raises(UserError, match="--force"):
        export(exported)
    assert export(exported, config=ExportConfig(force=True)).written == ("model.onnx",)
    assert open_model(exported).temperature == 3.0


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    folder = bundle_of(tmp_path / "bundle", "test_resnet")
    (folder / "model.onnx").write_bytes(b"mine")
    with pytest.raises(UserError, match="--force"):
        export(folder)
    assert (folder / "model.onnx").read_bytes() == b"mine"


def test_a_network_that_differs_from_torch_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bundle_of(tmp_path / "bundle", "test_resnet")
    monkeypatch.setattr("whichland.model.onnx_files.logits_of", lambda *_: np.full((4, len(LABELS)), np.nan))
    with pytest.raises(UserError, match="differ from torch"):
        export(folder)
    assert not list(folder.glob("*onnx*"))
    assert "export" not in json.loads((folder / "whichland.json").read_text(encoding="utf-8"))


def test_int8_of_a_cnn_is_kept_and_says_how_well_it_agrees(exported: Path, tmp_path: Path) -> None:
    done = export(exported, photos(tmp_path / "photos"), ExportConfig(int8=True, same=0.8))
    assert done.written == ("model.int8.onnx",)
    kept = done.record["files"]["model.int8.onnx"]
    assert kept["photos"] == 60
    assert kept["low"] >= 0.8
    assert kept["moved"] <= 0.06
    assert (exported / "model.int8.onnx").stat().st_size < (exported / "model.onnx").stat().st_size / 2
    plain, small = open_model(exported, engine="onnx"), open_model(exported, engine="int8")
    seen = crops(3)
    assert not np.array_equal(plain.probabilities(seen), small.probabilities(seen))
    np.testing.assert_allclose(plain.probabilities(seen), small.probabilities(seen), atol=0.2)


def test_int8_that_ruins_a_vit_is_refused_with_the_figures_and_the_rest_stays(tmp_path: Path) -> None:
    folder = bundle_of(tmp_path / "bundle", "vit_tiny_patch16_224", SMALL_VIT | {"depth": 4})
    outliers(folder)
    write(photos(tmp_path / "photos"), tmp_path / "photos.parquet")
    command = ["export", str(folder), "--int8", "--photos", str(tmp_path / "photos.parquet")]
    done = forked.run(["-m", "whichland", *command])
    assert done.returncode == 2, done.stderr
    assert "no int8: same first guess on" in done.stderr
    assert "of 60 photos" in done.stderr
    assert (folder / "model.onnx").is_file()
    assert not (folder / "model.int8.onnx").exists()
    assert open_model(folder).engine == "onnx"


def test_int8_is_skipped_in_one_line_where_the_photos_are_too_few_to_judge_it(exported: Path, tmp_path: Path) -> None:
    table = photos(tmp_path / "photos")
    few = Manifest(table.frame.with_columns(split=pl.when(pl.int_range(pl.len()) < 40).then("split")))
    write(few, tmp_path / "few.parquet")
    command = ["export", str(exported), "--int8", "--force", "--photos", str(tmp_path / "few.parquet")]
    done = forked.run(["-m", "whichland", *command])
    assert done.returncode == 0, done.stderr
    assert re.search(r"^no int8: \d+ validation photos cannot show .* which takes 22$", done.stdout, re.M)
    assert (exported / "model.onnx").is_file()


def outliers(folder: Path) -> None:
    """Give a ViT what training gives large ones: a few channels hundreds of times as strong as the rest."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    for name in tensors:
        if name.endswith(("norm1.weight", "norm2.weight")):
            tensors[name][:2] *= 300
        if name.endswith(("qkv.weight", "fc1.weight")):
            tensors[name][:, :2] /= 300
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a bundle"):
        export(tmp_path)
    folder = bundle_of(tmp_path / "bundle", "test_resnet")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="safetensors is missing"):
        export(folder)


def test_int8_needs_photos(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--photos"):
        export(exported, config=ExportConfig(int8=True, force=True))
    unsplit = measured(4, countries=LABELS)
    with pytest.raises(UserError, match="data split"):
        export(exported, unsplit, ExportConfig(int8=True, force=True))


def test_openvino_computes_in_bf16_only_where_that_agrees(exported: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    made = photos(tmp_path / "photos", train=1, val=40)
    lenient = export(exported, made, ExportConfig(openvino=True, same=0.5, moved=0.5)).record["openvino"]
    assert lenient["precision"] == "bf16"
    strict = export(exported, made, ExportConfig(openvino=True, same=0.999)).record["openvino"]
    assert strict["precision"] == "f32", "40 photos cannot show so much"
    seen = crops(3)
    np.testing.assert_allclose(
        open_model(exported, engine="openvino").probabilities(seen),
        open_model(exported, engine="onnx").probabilities(seen),
        atol=1e-3,
    )


SIGNALLED = """
import signal, sys
from pathlib import Path
from whichland.model.engines import open_openvino
first, second = (open_openvino(Path(sys.argv[1]), "bf16") for _ in range(2))
del first
del second
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
signal.raise_signal(signal.SIGTERM)
"""


def test_a_signal_is_handled_after_networks_of_openvino_have_gone(exported: Path) -> None:
    pytest.importorskip("openvino")
    done = subprocess.run([sys.executable, "-c", SIGNALLED, exported / "model.onnx"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


BOUND = """
import contextlib, os, sys, threading
from pathlib import Path
import numpy as np
from whichland.model.engines import open_openvino
network, before = open_openvino(Path(sys.argv[1]), "f32", threads=1), os.sched_getaffinity(0)
work = threading.Thread(target=network, args=[np.zeros((2000, *map(int, sys.argv[2:]), 3), np.uint8)])
work.start()
found = set()
while work.is_alive():
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):
            found.add(frozenset(os.sched_getaffinity(int(thread))))
print(found == {frozenset(before)})
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir() or cores() < 2, reason="needs Linux and two cores")
def test_processes_are_not_bound_to_one_core(exported: Path) -> None:
    pytest.importorskip("openvino")
    command = [sys.executable, "-c", BOUND, exported / "model.onnx", *map(str, crops(1).shape[1:3])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_auto_takes_the_fastest_that_is_there(exported: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    done = export(exported, photos(tmp_path / "photos", train=1, val=40), ExportConfig(openvino=True))
    speeds = done.record["photos_per_second"]
    assert set(speeds) == {"onnx", "openvino"}
    assert open_model(exported).engine == max(speeds, key=speeds.__getitem__)
    info = json.loads((exported / "whichland.json").read_text(encoding="utf-8"))
    for fastest in ("openvino", "int8"):  # the second has no file here
        info["export"]["photos_per_second"] = {"onnx": 1, "openvino": 2, fastest: 9}
        (exported / "whichland.json").write_text(json.dumps(info), encoding="utf-8")
        assert open_model(exported).engine == "openvino"
    seen = crops(5)
    several, alone = open_model(exported), open_model(exported, threads=1)
    np.testing.assert_allclose(several.probabilities(seen), alone.probabilities(seen), atol=1e-3)


@pytest.mark.parametrize("values", [{"same": 0.0}, {"moved": 1.0}, {"fit_on": 0}, {"judge_on": 0}])
def test_settings_that_make_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(values))):
        ExportConfig(**values)


def test_agreement_counts_first_guesses_and_what_the_odds_lost() -> None:
    before = np.log(np.array([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1]], np.float32))
    after = np.log(np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1]], np.float32))
    found = agreement(before, after, 1.0, np.array([0, 1, 0]))
    assert found.same == pytest.approx(2 / 3)
    assert found.moved == pytest.approx(0.1)
    assert found.most_moved == pytest.approx(0.2)
    assert (found.right, found.right_before) == (pytest.approx(2 / 3), 1.0)


def test_the_interval_is_wilsons() -> None:
    before = np.log(np.array([[0.7, 0.3]] * 200, np.float32))
    found = agreement(before, np.concatenate([before[:180], before[180:, ::-1]]), 1.0)
    assert (found.low, found.high) == pytest.approx((0.851, 0.934), abs=5e-4)
    assert agreement(before[:5], before[:5], 1.0).high == 1.0
