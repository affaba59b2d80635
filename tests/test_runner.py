"""The runner: which engine answers, what is refused, and that an exported bundle needs none of torch's world."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tiny_bundle import LABELS, make_bundle, make_photos
from whichland.errors import UserError
from whichland.images.decode import ImageError
from whichland.model.bundle import load
from whichland.model.export import export
from whichland.model.model import load as open_model
from whichland.model.model import model_of, predict, softmax

# Run where nothing of the extra `train` can be imported, as after a plain installation.
WITHOUT_TORCH = """
import sys
class Missing:
    blocked = ("torch", "torchvision", "timm", "safetensors", "sklearn", "matplotlib", "onnx", "onnxscript",
               "accelerate", "huggingface_hub", "openvino", "scipy")
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.blocked:
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Missing())
import whichland as wl
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in Missing.blocked else find(name, *rest)
from whichland.model.labels import read_labels
model = wl.load(sys.argv[1])
model.info.calibration, model.space.points
for answer in wl.predict(model, sys.argv[2:]):
    print(model.engine, answer.country, round(answer.probability, 4))
assert not [name for name in sys.modules if name.partition(".")[0] in Missing.blocked]
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("plain") / "bundle", temperature=1.5)


@pytest.fixture(scope="module")
def exported(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    shutil.copytree(plain, folder)
    export(folder)
    return folder


def test_an_exported_bundle_answers_the_same_without_torch(exported: Path, tmp_path: Path) -> None:
    photos = [str(path) for path in make_photos(tmp_path, 5)]
    bundle = load(exported)
    wanted = [answer.probabilities for answer in predict(bundle, photos)]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(exported), *photos], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = [line.split() for line in done.stdout.splitlines()]
    for (engine, country, probabilities), expected in zip(said, wanted, strict=True):
        assert not isinstance(expected, ImageError)
        assert (engine, country) == ("onnx", LABELS[expected.argmax()])
        assert float(probabilities) == pytest.approx(float(expected.max()), abs=2e-4)


def test_without_torch_a_bundle_that_was_not_exported_says_what_to_do(plain: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(plain)], capture_output=True, text=True, check=False
    )
    assert "whichland export" in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("whichland.errors.UserError")


def test_auto_takes_what_was_exported_and_torch_else(plain: Path, exported: Path) -> None:
    assert open_model(exported).engine == "onnx"
    assert open_model(plain).engine == "torch"
    assert open_model(exported, engine="torch").engine == "torch"


def test_odds_are_the_softmax_at_the_bundles_temperature(exported: Path) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    for engine in ("torch", "onnx"):
        runner = open_model(exported, engine=engine)
        scaled = np.exp(runner.run(crops).astype(float) / 1.5)
        expected = scaled / scaled.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(runner.probabilities(crops), expected, atol=1e-6)
        assert runner.probabilities(crops).dtype == np.float32


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_no_numbers_are_refused(broken: float) -> None:
    with pytest.raises(UserError, match="not finite numbers"):
        softmax(np.array([[1.0, broken, 0.0]], np.float32))


def test_softmax_of_large_logits_is_finite() -> None:
    np.testing.assert_allclose(softmax(np.array([[1e4, 0.0]], np.float32)), [[1, 0]])


def test_a_bound_on_threads_is_the_runners_own(plain: Path) -> None:
    runner = open_model(plain, engine="torch", threads=1)
    crops = np.zeros((2, 64, 64, 3), np.uint8)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        runner.probabilities(crops)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_runner_may_be_used_from_several_threads(exported: Path) -> None:
    runner = open_model(exported, threads=1)
    crops = np.random.default_rng(0).integers(0, 256, (8, 4, 64, 64, 3), dtype=np.uint8)
    wanted = [runner.probabilities(batch) for batch in crops]
    found: list[np.ndarray | None] = [None] * len(crops)

    def ask(at: int) -> None:
        found[at] = runner.probabilities(crops[at])

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(len(crops))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_torch_bundle_and_its_runner_answer_alike(plain: Path, tmp_path: Path) -> None:
    photos = make_photos(tmp_path, 3)
    bundle = load(plain)
    for one, other in zip(predict(bundle, photos), model_of(bundle).predict(photos), strict=True):
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


def cut(folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:2000])


def flip_a_byte(folder: Path) -> None:
    path = folder / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace(content: bytes) -> Callable[[Path], None]:
    """Another file, which whichland.json vouches for: what a hostile bundle does."""

    def damage(folder: Path) -> None:
        from whichland.model.bundle import Info, read_info, update_info
        from whichland.whole_file import file_sha256

        (folder / "model.onnx").write_bytes(content)
        record = read_info(folder).record
        record["files"]["model.onnx"]["sha256"] = file_sha256(folder / "model.onnx")
        update_info(folder, Info(export=record), "export")

    return damage


def another_network(outside: bool = False, outputs: int = len(LABELS)) -> bytes:
    """A network of other shapes, or one whose weights lie in a file outside of the bundle."""
    from onnx import TensorProto, helper

    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", 64, 64, 3])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", outputs])
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    if outside:
        weight.ClearField("float_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="../../../../../../etc/passwd")
    node = helper.make_node("Identity", ["w"], ["logits"])
    return helper.make_model(helper.make_graph([node], "g", [pixels], [logits], [weight])).SerializeToString()


def relabel(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["label_names"] = [*config["label_names"][1:], config["label_names"][0]]
    path.write_text(json.dumps(config), encoding="utf-8")
    (folder / "labels.json").unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, "damaged"),
        (flip_a_byte, "damaged"),
        (lambda folder: (folder / "model.onnx").unlink(), "holds no model.onnx"),
        (replace(b"not a network"), "no network that can be run"),
        (replace(b""), "no network that can be run"),
        (replace(another_network()), "exported with other labels"),
        (replace(another_network(outside=True)), "no network that can be run|exported with other labels"),
        (relabel, "exported with other labels"),
    ],
    ids=["cut", "a flipped bit", "gone", "no ONNX", "empty", "another network", "a file outside", "labels turned"],
)
def test_a_damaged_or_hostile_network_is_one_line(
    exported: Path, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(exported, folder)
    damage(folder)
    with pytest.raises(UserError, match=said) as raised:
        open_model(folder, engine="onnx")
    assert "\n" not in str(raised.value)
    assert "whichland export" in str(raised.value)


@pytest.fixture(scope="module")
def other(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the same architecture, labels and size, exported from other weights."""
    folder = tmp_path_factory.mktemp("other") / "bundle"
    shutil.copytree(exported, folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["fc.bias"] += 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert export(folder).written == ("model.onnx",), "made anew without --force, as it was exported before"
    return folder


@pytest.mark.parametrize("swapped", [["model.onnx"], ["model.onnx", "whichland.json"], ["model.safetensors"]], ids=str)
@pytest.mark.parametrize("engine", ["auto", "onnx", "openvino"])
def test_a_network_of_other_weights_is_refused(
    exported: Path, other: Path, tmp_path: Path, swapped: list[str], engine: str
) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    mixed = tmp_path / "mixed"
    shutil.copytree(exported, mixed)
    for name in swapped:
        shutil.copy(other / name, mixed / name)
    with pytest.raises(UserError, match=r"model\.onnx: (damaged|exported from other weights).*export --force"):
        open_model(mixed, engine=engine)
    (mixed / "model.safetensors").unlink()
    if swapped != ["model.onnx"]:
        assert open_model(mixed, engine=engine).labels == LABELS, "a bundle that only answers does without its weights"


def test_what_cannot_be_opened(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a bundle"):
        open_model(tmp_path)
    with pytest.raises(UserError, match="not one of auto"):
        open_model(plain, engine="cuda")
    with pytest.raises(UserError, match="whichland export --int8"):
        open_model(plain, engine="int8")
