"""What may run a bundle's network: one table, from which the flags, the settings and the messages are made.

Only the engine that is used gets imported, so that an exported bundle answers where torch is not installed.
"""

import ctypes
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from whichland.errors import UserError
from whichland.images.preprocess import Pixels
from whichland.model.bundle import Settings, read_settings

if TYPE_CHECKING:
    import torch

    from whichland.model.bundle import Bundle

Logits = NDArray[np.float32]
Run = Callable[[Pixels], Logits]  # crops B×H×W×3 uint8, as `Preprocess.crop` cuts them → logits B×K; thread-safe

Engine = Literal["torch", "onnx", "int8", "openvino"]
EngineChoice = Literal["auto", Engine]
ENGINES: tuple[Engine, ...] = get_args(Engine)
ENGINE_HELP = (
    "what runs the network; auto: torch on a GPU, else what was exported to ONNX, else torch; int8 and openvino only "
    "if asked for"
)

FLOAT_FILE, INT8_FILE = "model.onnx", "model.int8.onnx"


def choose_engine(folder: Path, engine: str) -> Engine:
    """The engine of that name, or for "auto" the one to take. Raises UserError when there is none."""
    if engine in ENGINES:
        return engine
    if engine != "auto":
        raise UserError(f"engine {engine!r} is not one of auto, {', '.join(ENGINES)}")
    torch_there = find_spec("torch") is not None
    if torch_there and _gpu_driver() and best_device().type == "cuda":
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


def exported_network(folder: Path, engine: Engine, threads: int | None, read: Settings) -> Run:
    """Open the network that was exported for an engine. Raises UserError."""
    from whichland.model.exported import open_onnx, open_openvino

    if engine == "openvino":
        return open_openvino(folder / FLOAT_FILE, info=read.info, threads=threads)
    path = folder / (INT8_FILE if engine == "int8" else FLOAT_FILE)
    return open_onnx(path, read, threads)


def load_torch(folder: Path) -> "Bundle":
    """A bundle with its weights, on the best device. Raises UserError where torch is not installed."""
    if find_spec("torch") is None:
        raise UserError(f"{folder}: engine torch is not installed: pip install 'whichland[train]'")
    from whichland.model.bundle import load

    bundle = load(folder)
    bundle.model.to(best_device())
    return bundle


def torch_network(bundle: "Bundle", threads: int | None = None) -> Run:
    """A torch model where its parameters are: fp32 on a CPU, bf16 autocast on a GPU."""
    import torch

    bundle.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(crops_BHWC: Pixels) -> Logits:
        device = next(bundle.model.parameters()).device
        # normalise gives a transposed view, which is channels_last already
        x_BCHW = torch.from_numpy(bundle.preprocess.normalise(crops_BHWC)).to(device)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits_BK: Logits = bundle.model(x_BCHW).float().cpu().numpy()
        return logits_BK

    return run if threads is None else _on_threads(run, threads)


def _on_threads(run: Run, threads: int) -> Run:
    """The same on so many threads; torch has one number of them for the whole process."""
    import torch

    own = threading.Lock()

    def on_these(crops_BHWC: Pixels) -> Logits:
        with own:
            others = torch.get_num_threads()
            torch.set_num_threads(threads)
            try:
                return run(crops_BHWC)
            finally:
                torch.set_num_threads(others)

    return on_these


def best_device() -> "torch.device":
    """The first CUDA device where there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _gpu_driver() -> bool:
    """Whether NVIDIA's driver is there, which takes no time to ask; importing torch takes seconds."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
