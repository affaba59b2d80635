"""What may run a bundle's network: one table, from which the flags, the settings and the messages are made.

Only the engine that is used gets imported, so that an exported bundle answers where torch is not installed.
"""

import ctypes
import json
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from whichland.errors import UserError, first_line
from whichland.images.preprocess import Pixels
from whichland.model.bundle import WEIGHTS, Settings, read_settings
from whichland.printed import install
from whichland.whole_file import file_sha256

if TYPE_CHECKING:
    import torch

    from whichland.model.bundle import Bundle

Logits = NDArray[np.float32]
Features = NDArray[np.float32]


class Outputs(NamedTuple):
    """What a network makes of B crops."""

    logits: Logits  # B×K
    features: Features | None = None  # B×F: what the head sees; None where the network does not give it


Network = Callable[[Pixels], Outputs]  # of crops B×H×W×3 uint8, as `Preprocess.crop` cuts them; thread-safe

Engine = Literal["torch", "onnx", "int8", "openvino"]
EngineChoice = Literal["auto", Engine]
ENGINES: tuple[Engine, ...] = get_args(Engine)
ENGINE_HELP = (
    "what runs the network; auto: torch on a GPU, else the one that was fastest when the bundle was exported, of those "
    "that are installed and agree with it, else torch"
)
NEEDED = {"torch": "torch", "onnx": "onnxruntime", "int8": "onnxruntime", "openvino": "openvino"}  # packages

FLOAT_FILE, INT8_FILE = "model.onnx", "model.int8.onnx"
INPUT, OUTPUT = "pixels", "logits"  # of an exported network: B×H×W×3 uint8 RGB → B×K float32
FEATURES = "features"  # its second output, of models of one classifier: B×F float32
PARITY = 1e-3  # of the largest logit: what fp32 sums in another order may differ by
SILENT = 4  # ONNX Runtime prints on stderr what it also raises
AGAIN = "make it anew with `whichland export --force`"


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
        measured = read_settings(folder).info.record.get("photos_per_second", {})
        ranked = sorted((name for name in ENGINES if name in measured), key=lambda name: -measured[name])
        return next((name for name in ranked if usable(folder, name)), "onnx")
    if torch_there:
        return "torch"
    read_settings(folder)  # what is no bundle at all is said first
    raise UserError(
        f"{folder} holds no {FLOAT_FILE} and torch is not installed: run `whichland export` on it where it was "
        f"trained, or {install('train')}"
    )


def usable(folder: Path, engine: Engine) -> bool:
    """Whether an engine's package is installed and its file lies in the bundle."""
    return (folder / file_of(engine)).is_file() and find_spec(NEEDED[engine]) is not None


def file_of(engine: Engine) -> str:
    """The file of a bundle that an engine runs."""
    return {"torch": WEIGHTS, "int8": INT8_FILE}.get(engine, FLOAT_FILE)


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


def load_torch(folder: Path) -> "Bundle":
    """A bundle with its weights, on the best device. Raises UserError where torch is not installed."""
    if find_spec("torch") is None:
        raise UserError(f"{folder}: engine torch is not installed: {install('train')}")
    from whichland.model.bundle import load

    bundle = load(folder)
    bundle.model.to(best_device())
    return bundle


def finite(logits_BK: Logits) -> Logits:
    """The same logits. Raises UserError where they are no finite numbers: no answer can be made of them."""
    if not np.isfinite(logits_BK).all():
        raise UserError("the network's outputs are not finite numbers (NaN or infinite): its weights are damaged")
    return logits_BK


def unit_length(vectors_NF: NDArray[Any]) -> NDArray[Any]:
    """Rows scaled to length 1; those of length 0 stay."""
    unit_NF: NDArray[Any] = vectors_NF / np.maximum(np.linalg.norm(vectors_NF, axis=1, keepdims=True), 1e-12)
    return unit_NF


def torch_network(bundle: "Bundle", threads: int | None = None, *, features: bool = False) -> Network:
    """A torch model where its parameters are: fp32 on a CPU, bf16 autocast on a GPU.

    `threads` bounds the cores for the length of a call: torch has one number of them for the whole process.
    """
    import torch

    from whichland.model.head import with_features

    bundle.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    alone = threading.Lock()

    def run(crops_BHWC: Pixels) -> Outputs:
        device = next(bundle.model.parameters()).device
        # normalise gives a transposed view, which is channels_last already
        x_BCHW = torch.from_numpy(bundle.preprocess.normalise(crops_BHWC)).to(device)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            found = with_features(bundle.model, x_BCHW) if features else (bundle.model(x_BCHW),)
        return Outputs(*(part.float().cpu().numpy() for part in found))

    def run_on_threads(crops_BHWC: Pixels) -> Outputs:
        with alone:
            others = torch.get_num_threads()
            torch.set_num_threads(threads or others)
            try:
                return run(crops_BHWC)
            finally:
                torch.set_num_threads(others)

    return run if threads is None else run_on_threads


def exported_network(read: Settings, engine: Engine, threads: int | None) -> Network:
    """Open the network that was exported for an engine; with features where it gives them in floating point.

    Raises UserError when the engine is not installed, or its file is missing, damaged, or not of this bundle.
    """
    path = read.folder / file_of(engine)
    check_exported(path, read)
    if engine == "openvino":
        kept = read.info.record.get("openvino", {})
        return open_openvino(path, kept.get("precision", "f32"), threads, front=kept.get("float_layers", 0))
    session = onnx_session(path, threads)
    said = session.get_modelmeta().custom_metadata_map
    for name, value in description(read).items():
        if said.get(name) != value:
            raise UserError(f"{path}: exported with other {name} than config.json states; {AGAIN}")
    inputs = [(one.name, one.type, one.shape[1:]) for one in session.get_inputs()]
    outputs = [(one.name, one.type, one.shape[1:]) for one in session.get_outputs() if one.name != FEATURES]
    takes, gives = [*read.preprocess.size, 3], [len(read.space)]
    if inputs != [(INPUT, "tensor(uint8)", takes)] or outputs != [(OUTPUT, "tensor(float)", gives)]:
        raise UserError(f"{path}: takes {inputs} and gives {outputs}, not crops and logits; {AGAIN}")
    return run_of(session, features=engine != "int8")


def check_exported(path: Path, read: Settings) -> None:
    """Raise UserError unless whichland.json says that this very file was exported, from the weights beside it."""
    if not path.is_file():
        how = " --int8 --photos MANIFEST" if path.name == INT8_FILE else ""
        raise UserError(f"{path.parent} holds no {path.name}; make it with `whichland export{how}`")
    recorded = read.info.record["files"].get(path.name, {}).get("sha256")
    if recorded is None:
        raise UserError(f"{path}: whichland.json does not say that it was exported; {AGAIN}")
    if file_sha256(path) != recorded:
        raise UserError(f"{path}: damaged, or not the file that was exported (its SHA-256 differs); {AGAIN}")
    weights = path.with_name(WEIGHTS)  # a bundle that only answers may do without them
    if weights.is_file() and file_sha256(weights) != read.info.record.get("metadata", {}).get("weights_sha256"):
        raise UserError(f"{path}: exported from other weights than those of {WEIGHTS} beside it; {AGAIN}")


def description(read: Settings) -> dict[str, str]:
    """What an exported network says of itself and must agree with its bundle."""
    return {"labels": json.dumps(list(read.labels)), "preprocess": json.dumps(asdict(read.preprocess))}


def onnx_session(path: Path, threads: int | None = None) -> Any:
    """Open a network with ONNX Runtime, on some threads; on one a core when None. Raises UserError."""
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads = threads or 0
    # threads that spin while they wait take the core from those that decode photos
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # each kind of damage has its own class there, with no common one
        raise _cannot_run(path, error) from None


def run_of(session: Any, *, features: bool = True) -> Network:
    """Run an open network of ONNX Runtime, with its features where it gives any and they are wanted.

    Crops run one by one: the activations of one fit into a core's cache.
    """
    given = {one.name for one in session.get_outputs()}
    names = [name for name in (OUTPUT, FEATURES) if name in given and (features or name == OUTPUT)]

    def run(crops_BHWC: Pixels) -> Outputs:
        found = [session.run(names, {INPUT: crops_BHWC[at : at + 1]}) for at in range(len(crops_BHWC))]
        return Outputs(*map(np.concatenate, zip(*found, strict=True)))

    return run


def open_openvino(path: Path, precision: str, threads: int | None = None, *, front: int = 0) -> Network:
    """Open a network with OpenVINO, to be computed in `precision`: f32, or bf16 where the processor has it.

    The first `front` of its layers with weights are computed in f32 all the same: rounding there is amplified by all
    that follows. Crops run one by one, several at a time: each on its own core, in whose cache the activations of one
    fit. Raises UserError.
    """
    core = _openvino_core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        precision = "f32"
    options: dict[str, Any] = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": precision}
    options["ENABLE_CPU_PINNING"] = False  # else the processes of one machine all bind themselves to its first cores
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    try:
        graph = core.read_model(str(path))
        graph.reshape([1, *(side.get_length() for side in list(graph.input().partial_shape)[1:])])
        if precision == "bf16" and front:
            graph = _with_float_front(core, graph, front)
        network = core.compile_model(graph, "CPU", options)
    except RuntimeError as error:
        raise _cannot_run(path, error) from None
    own = threading.local()

    given = {name: at for at, one in enumerate(network.outputs) for name in one.names}
    places = [given[name] for name in (OUTPUT, FEATURES) if name in given]

    def one(crop_HWC: Pixels) -> list[NDArray[np.float32]]:
        if not hasattr(own, "request"):
            own.request = network.create_infer_request()
        found = own.request.infer([crop_HWC[None]])
        return [found[at][0].copy() for at in places]

    height, width, channels = graph.input().shape[1:]
    one(np.zeros((height, width, channels), np.uint8))  # two threads that make the very first call deadlock
    streams = ThreadPoolExecutor(network.get_property("NUM_STREAMS"), thread_name_prefix="openvino")
    return lambda crops_BHWC: Outputs(*map(np.stack, zip(*streams.map(one, crops_BHWC), strict=True)))


@cache
def _openvino_core() -> Any:
    """The one Core of the process, which stays: where a processor has AMX, each brings a stack for signals, and the
    end of one of several would leave the process with the stack of one that has gone, so that its next signal kills it.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it then reports no use to its maker
    try:
        import openvino  # type: ignore[import-untyped]
    except ImportError:
        raise UserError(f"engine openvino is not installed: {install('fast')}") from None
    return openvino.Core()


def _with_float_front(core: Any, graph: Any, layers: int) -> Any:
    """The same graph with its first layers marked as precise, for which only OpenVINO's file format has a word."""
    import openvino

    names: set[str] = set()
    for node in graph.get_ordered_ops():
        layers -= node.get_type_name() in ("Convolution", "GroupConvolution", "MatMul")
        if layers < 0:
            break
        names.add(node.get_friendly_name())
    with TemporaryDirectory() as folder:
        file = Path(folder) / "network.xml"
        openvino.serialize(graph, str(file), str(file.with_suffix(".bin")))
        written = ElementTree.parse(file)
        for layer in written.iter("layer"):
            takes = layer.find("input")
            if takes is not None and layer.get("name") in names:
                facts = layer.find("rt_info")
                if facts is None:
                    facts = ElementTree.Element("rt_info")
                    layer.insert(list(layer).index(takes), facts)
                ElementTree.SubElement(facts, "attribute", name="precise", version="0")
        core.set_property({"ENABLE_MMAP": False})  # the file goes
        return core.read_model(ElementTree.tostring(written.getroot()), file.with_suffix(".bin").read_bytes())


def _cannot_run(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: no network that can be run ({first_line(error)[:200]}); {AGAIN}")
