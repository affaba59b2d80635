"""An exported network run by OpenVINO, in the processor's bf16 where the export found that it agrees."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichland.errors import UserError
from whichland.images.preprocess import Pixels, Preprocess
from whichland.model.info import Info
from whichland.model.onnx_engine import check_file


def open_network(
    path: Path, *, labels: Sequence[str], preprocess: Preprocess, info: Info, threads: int | None
) -> Callable[[Pixels], NDArray[np.float32]]:
    """Load an exported network: crops B×H×W×3 uint8 in, logits B×K out; may be called from several threads.

    Raises UserError when OpenVINO is not installed and when the file is missing or damaged.
    """
    check_file(path, info.export)
    return open_at(path, (info.export or {}).get("openvino", {}).get("precision", "f32"), threads)


def open_at(path: Path, precision: str, threads: int | None = None) -> Callable[[Pixels], NDArray[np.float32]]:
    """Load a network to be computed in `precision`, f32 or bf16. Raises UserError as `open_network` does."""
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
