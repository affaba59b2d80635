"""Exported networks, run by ONNX Runtime, or by OpenVINO in bf16 where the export found that it agrees."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichland.errors import UserError
from whichland.images.preprocess import Pixels, Preprocess
from whichland.model.bundle import Settings
from whichland.model.engines import Run
from whichland.model.info import Info
from whichland.whole_file import file_sha256

INPUT, OUTPUT = "pixels", "logits"  # B×H×W×3 uint8 RGB → B×K float32
SILENT = 4  # ONNX Runtime prints on stderr what it also raises


def open_onnx(path: Path, read: Settings, threads: int | None) -> Run:
    """Load an exported network: crops B×H×W×3 uint8 in, logits B×K out; may be called from several threads.

    Raises UserError when the file is missing, damaged, or was not exported from this bundle.
    """
    check_file(path, read.info.export)
    try:
        session = session_of(path, threads)
    except Exception as error:  # each kind of damage has its own class there, with no common one
        raise UserError(f"{path}: no network that can be run ({_first_line(error)}); {AGAIN}") from None
    check_fits(path, session.get_modelmeta().custom_metadata_map, read.space.codes, read.preprocess)
    _check_shapes(path, session, read.space.codes, read.preprocess)
    return _run(session)


def run_of(path: Path) -> Run:
    """Run a network that has just been made, unchecked."""
    return _run(session_of(path))


def _run(session: Any) -> Run:
    def run(crops_BHWC: Pixels) -> NDArray[np.float32]:
        logits_BK: NDArray[np.float32] = session.run([OUTPUT], {INPUT: crops_BHWC})[0]
        return logits_BK

    return run


def session_of(path: Path, threads: int | None = None) -> Any:
    """Open a network with ONNX Runtime, on some threads; on one a core when None."""
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads = threads or 0
    # threads that spin while they wait take the core from those that decode photos
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


AGAIN = "make it anew with `whichland export --force`"


def check_file(path: Path, export: Mapping[str, Any] | None) -> None:
    """Raise UserError unless the file is the one that the bundle's whichland.json says was exported."""
    if not path.is_file():
        how = " --int8 --photos MANIFEST" if path.name.endswith(".int8.onnx") else ""
        raise UserError(f"{path.parent} holds no {path.name}; make it with `whichland export{how}`")
    recorded = (export or {}).get("files", {}).get(path.name, {}).get("sha256")
    if recorded is None:
        raise UserError(f"{path}: whichland.json does not say that it was exported; {AGAIN}")
    if file_sha256(path) != recorded:
        raise UserError(f"{path}: damaged, or not the file that was exported (its SHA-256 differs); {AGAIN}")


def metadata_of(labels: Sequence[str], preprocess: Preprocess) -> dict[str, str]:
    """What an exported network says of itself and must agree with its bundle."""
    return {"labels": json.dumps(list(labels)), "preprocess": json.dumps(asdict(preprocess))}


def check_fits(path: Path, metadata: Mapping[str, str], labels: Sequence[str], preprocess: Preprocess) -> None:
    """Raise UserError when the labels or the preprocessing of the bundle are not those that were exported."""
    for name, value in metadata_of(labels, preprocess).items():
        if metadata.get(name) != value:
            raise UserError(f"{path}: exported with other {name} than config.json states; {AGAIN}")


def _check_shapes(path: Path, session: Any, labels: Sequence[str], preprocess: Preprocess) -> None:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    asked = [(inputs[0].name, inputs[0].type, inputs[0].shape[1:])] if len(inputs) == 1 else []
    given = [(output.name, output.type, output.shape[1:]) for output in outputs]
    height, width = preprocess.size
    if asked != [(INPUT, "tensor(uint8)", [height, width, 3])] or given != [(OUTPUT, "tensor(float)", [len(labels)])]:
        raise UserError(f"{path}: takes {asked or 'several inputs'} and gives {given}, not crops and logits; {AGAIN}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def open_openvino(path: Path, *, info: Info, threads: int | None) -> Run:
    """The same by OpenVINO. Raises UserError when it is not installed and when the file is missing or damaged."""
    check_file(path, info.export)
    return open_at(path, (info.export or {}).get("openvino", {}).get("precision", "f32"), threads)


def open_at(path: Path, precision: str, threads: int | None = None) -> Run:
    """Load a network to be computed in `precision`, f32 or bf16. Raises UserError as `open_openvino` does."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it then reports no use to its maker
    try:
        import openvino  # type: ignore[import-untyped]
    except ImportError:
        raise UserError("engine openvino is not installed: pip install 'whichland[fast]'") from None
    options: dict[str, Any] = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": precision}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    try:
        network = openvino.Core().compile_model(str(path), "CPU", options)
    except RuntimeError as error:
        raise UserError(f"{path}: no network that can be run ({str(error).splitlines()[0]})") from None

    def run(crops_BHWC: Pixels) -> NDArray[np.float32]:
        request = network.create_infer_request()
        logits_BK: NDArray[np.float32] = request.infer([crops_BHWC])[0].copy()
        return logits_BK

    return run
