"""Nothing is reported to anybody: no library underneath leaves an identity in an empty home."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = {  # what is imported and opened; FILE is a network
    "onnxruntime": "import whichland, onnxruntime; onnxruntime.InferenceSession(FILE)",
    "openvino": "from whichland.model.engines import Path, open_openvino; open_openvino(Path(FILE), 'f32')",
    "ray": "import whichland, ray",
    "timm": "import whichland, torch, timm, huggingface_hub",
}


def left_in(home: Path, code: str) -> list[str]:
    """Run `code` with an empty home, as outside any CI (where some libraries are quiet by themselves).

    Identities are written by a thread of their own, so the process stays a while.
    """
    code += "; import time; time.sleep(2)"
    home.mkdir(parents=True)
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    subprocess.run([sys.executable, "-c", code], env={**kept, "HOME": str(home)}, check=True, capture_output=True)
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


def network(path: Path) -> Path:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    one = [helper.make_tensor_value_info(name, kind, [1, 8, 8, 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "one", one[:1], one[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def test_without_the_switch_there_would_be_something(tmp_path: Path) -> None:
    """Or the test below could not fail."""
    code = (
        CODE["onnxruntime"]
        .replace("whichland, ", "os; os.environ.pop('ORT_DISABLE_TELEMETRY', 0); import ")
        .replace("FILE", repr(str(network(tmp_path / "one.onnx"))))
    )
    assert left_in(tmp_path / "home", code)


@pytest.mark.parametrize("library", CODE)
def test_the_home_stays_empty(tmp_path: Path, library: str) -> None:
    pytest.importorskip(library)
    code = CODE[library].replace("FILE", repr(str(network(tmp_path / "one.onnx"))))
    assert left_in(tmp_path / "home", code) == []
