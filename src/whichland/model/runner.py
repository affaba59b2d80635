"""A bundle that answers, whatever runs its network: torch, ONNX Runtime or OpenVINO.

    runner = open_bundle("runs/demo/run/bundle")
    runner.probabilities(crops_BHWC)

Only the engine that is used gets imported, so that an exported bundle answers where torch is not installed.
"""

import ctypes
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from whichland.errors import UserError
from whichland.images.preprocess import Pixels, Preprocess
from whichland.model.bundle import read_settings

if TYPE_CHECKING:
    from whichland.model.bundle import Bundle

Engine = Literal["torch", "onnx", "int8", "openvino"]
Probabilities = NDArray[np.float32]  # one probability a label, in the order of `labels`
Logits = NDArray[np.float32]

ENGINES: tuple[str, ...] = get_args(Engine)
FLOAT_FILE, INT8_FILE = "model.onnx", "model.int8.onnx"


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A bundle that answers, whatever runs its network."""

    folder: Path
    labels: tuple[str, ...]  # ISO 3166-1 alpha-2, in the order of the logits
    preprocess: Preprocess
    info: dict[str, Any]  # whichland.json
    engine: Engine
    run: Callable[[Pixels], Logits]  # crops B×H×W×3 uint8, as `preprocess.crop` cuts them → logits B×K; thread-safe

    @property
    def temperature(self) -> float:
        """What logits are divided by before the softmax; 1 where the bundle was not calibrated."""
        return float(self.info.get("temperature", 1.0))

    def probabilities(self, crops_BHWC: Pixels) -> Probabilities:
        """The probability of every label for crops B×H×W×3 uint8: B×K float32, rows sum to one."""
        return softmax(self.run(crops_BHWC), self.temperature)


def softmax(logits_BK: Logits, temperature: float = 1.0) -> Probabilities:
    """Probabilities of logits over `temperature`: B×K float32, rows sum to one."""
    scaled_BK = logits_BK / np.float32(temperature)
    scaled_BK -= scaled_BK.max(axis=1, keepdims=True)
    np.exp(scaled_BK, out=scaled_BK)
    probabilities: Probabilities = scaled_BK / scaled_BK.sum(axis=1, keepdims=True)
    return probabilities


def open_bundle(folder: str | Path, *, engine: str = "auto", threads: int | None = None) -> Runner:
    """Open a bundle for prediction.

    `engine` is one of `ENGINES`, or "auto": torch where there is a GPU for it, else model.onnx where it was
    exported, else torch. `threads` bounds the processor's cores that one batch is computed on; all when None.
    Raises UserError when the folder is no bundle, a file of it is damaged, or the engine cannot be had.
    """
    folder = Path(folder)
    if engine not in ("auto", *ENGINES):
        raise UserError(f"engine {engine!r} is not one of auto, {', '.join(ENGINES)}")
    chosen = _choose(folder) if engine == "auto" else engine
    if chosen == "torch":
        return _open_torch(folder, threads)
    _, info, labels, preprocess = read_settings(folder)
    if chosen == "openvino":
        from whichland.model.openvino_engine import open_network
    else:
        from whichland.model.onnx_engine import open_network
    file = INT8_FILE if chosen == "int8" else FLOAT_FILE
    run = open_network(folder / file, labels=labels, preprocess=preprocess, info=info, threads=threads)
    return Runner(folder=folder, labels=labels, preprocess=preprocess, info=info, engine=cast(Engine, chosen), run=run)


def torch_runner(bundle: "Bundle") -> Runner:
    """A loaded bundle as a runner: where its parameters are, fp32 on a CPU and bf16 autocast on a GPU."""
    import torch

    bundle.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(crops_BHWC: Pixels) -> Logits:
        device = next(bundle.model.parameters()).device
        # normalise gives a transposed view, which is channels_last already
        x_BCHW = torch.from_numpy(bundle.preprocess.normalise(crops_BHWC)).to(device)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits_BK: Logits = bundle.model(x_BCHW).float().cpu().numpy()
        return logits_BK

    return Runner(
        folder=bundle.folder,
        labels=bundle.labels,
        preprocess=bundle.preprocess,
        info=bundle.info,
        engine="torch",
        run=run,
    )


def _choose(folder: Path) -> str:
    torch_there = find_spec("torch") is not None
    if torch_there and _gpu_driver():
        import torch

        if torch.cuda.is_available():
            return "torch"
    if (folder / FLOAT_FILE).is_file():
        return "onnx"
    if torch_there:
        return "torch"
    read_settings(folder)  # what is no bundle at all is said first
    raise UserError(
        f"{folder} holds no {FLOAT_FILE} and torch is not installed: run `whichland export` on it where it was "
        "trained, or pip install 'whichland[train]'"
    )


def _gpu_driver() -> bool:
    """Tell whether NVIDIA's driver is there, which takes no time; importing torch to ask takes seconds."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _open_torch(folder: Path, threads: int | None) -> Runner:
    if find_spec("torch") is None:
        raise UserError(f"{folder}: engine torch is not installed: pip install 'whichland[train]'")
    import torch

    from whichland.model.bundle import load

    bundle = load(folder)
    bundle.model.to("cuda" if torch.cuda.is_available() else "cpu")
    runner = torch_runner(bundle)
    if threads is None:
        return runner

    own = threading.Lock()

    def on_these(crops_BHWC: Pixels) -> Logits:
        with own:  # torch knows one number for the whole process
            others = torch.get_num_threads()
            torch.set_num_threads(threads)
            try:
                return runner.run(crops_BHWC)
            finally:
                torch.set_num_threads(others)

    return replace(runner, run=on_these)
