"""A torch model as an ONNX graph, and that graph in 8-bit integers.

A graph takes crops as they are decoded, uint8 pixels in and logits out: the normalisation stands in it, so whoever
runs it cannot get it wrong, and a batch of bytes is a quarter of a batch of floats.

Scales of integers are fitted beforehand on photos ("static"), one for each channel. Rounding at the front of a network
is amplified by all that follows: in a MobileNetV2, keeping the first 12 of 53 layers in floating point brought the
share of unchanged first guesses from 0.70 to 0.96. So layers are left as they are from the front on, in steps, until
some photos that the scales were not fitted on get nearly the same probabilities. The last layer, which makes the
logits, stays too: it takes no time.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from whichland.errors import UserError, first_line
from whichland.images.preprocess import Pixels, Preprocess
from whichland.model.engines import FEATURES, INPUT, OUTPUT, Logits, onnx_session, run_of
from whichland.model.head import features_behind_logits

if TYPE_CHECKING:
    from whichland.model.export import Agreement

LARGEST = 2**31 - 1  # bytes of one protocol buffer; larger models need files beside it
WEIGHTED = ("Conv", "Gemm", "MatMul")
QUANTISED = [*WEIGHTED, "Add", "Clip", "Relu"]
STEPS = (0, 3, 6, 9, 12, 16, 20)  # layers at the front that stay in floating point
AT_ONCE = 8  # photos; the ranges of all tensors are kept between batches, not the tensors


class FromPixels(nn.Module):
    """A model with its normalisation in front: B×H×W×3 uint8 → B×K, and its features where they are wanted."""

    scale: Tensor
    shift: Tensor

    def __init__(self, model: nn.Module, preprocess: Preprocess, labels: int | None) -> None:
        """`labels` is how many of the model's outputs are logits, where features follow them."""
        super().__init__()
        self.model, self.labels = model, labels
        mean, std = torch.tensor(preprocess.mean), torch.tensor(preprocess.std)
        self.register_buffer("scale", (1 / (255 * std)).view(1, 3, 1, 1))
        self.register_buffer("shift", (-mean / std).view(1, 3, 1, 1))

    def forward(self, pixels_BHWC: Tensor) -> "Tensor | tuple[Tensor, Tensor]":
        x_BCHW = pixels_BHWC.permute(0, 3, 1, 2).float() * self.scale + self.shift
        out = cast(Tensor, self.model(x_BCHW))
        return out if self.labels is None else (out[:, : self.labels], out[:, self.labels :])


def graph_of(
    model: nn.Module, preprocess: Preprocess, metadata: Mapping[str, str], *, labels: int | None = None
) -> onnx.ModelProto:
    """Export a model in evaluation mode, with any number of photos a batch.

    Given how many `labels` it has, what its head sees is a second output.

    Raises UserError for a model of 2 GB and more, or one that the exporter cannot follow.
    """
    if sum(tensor.nbytes for tensor in model.state_dict().values()) > LARGEST:
        raise UserError("a model of 2 GB and more does not fit into one ONNX file")
    pixels = torch.zeros(2, *preprocess.size, 3, dtype=torch.uint8)
    try:
        beside = contextlib.nullcontext() if labels is None else features_behind_logits(model)
        with torch.no_grad(), _quiet(), beside:
            program = torch.onnx.export(
                FromPixels(model, preprocess, labels).eval(),
                (pixels,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=[INPUT],
                output_names=[OUTPUT, *([] if labels is None else [FEATURES])],
                verbose=False,
            )
    except Exception as error:  # whatever the exporter meets in a model of anybody's making
        raise UserError(f"this architecture cannot be exported to ONNX ({first_line(error)})") from None
    assert program is not None
    return _described(program.model_proto, metadata)


class Quantised(NamedTuple):
    """A network in 8-bit integers, and what it was on the photos that the steps were tried on."""

    graph: onnx.ModelProto
    float_layers: int  # at the front
    layers: int
    tried: "Agreement"


def quantise(
    path: Path,
    fit_NHWC: Pixels,
    try_MHWC: Pixels,
    compare: Callable[[Logits, Logits], "Agreement"],
    good: Callable[["Agreement"], bool],
    metadata: Mapping[str, str],
) -> Quantised:
    """Quantise the network at `path`, with as few layers in floating point as are `good`.

    The ranges come from the crops to fit; what is good is found on those to try. Where no step is good, the one
    that moves the probabilities least is taken.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process  # type: ignore[import-untyped]

    before_MK = logits_of(path, try_MHWC)
    best: Quantised | None = None
    with TemporaryDirectory() as folder, _quiet():
        plain, made = Path(folder) / "plain.onnx", Path(folder) / "made.onnx"
        quant_pre_process(str(path), str(plain), skip_symbolic_shape=True)  # folds what can be, notes the shapes
        front, last = _layers(onnx.load(plain))
        for kept in (step for step in STEPS if step < max(1, len(front) / 2)):
            _quantise(plain, made, fit_NHWC, [*front[kept], last], Path(folder) / "ranges.json")
            tried = compare(before_MK, logits_of(made, try_MHWC))
            if best is None or tried.moved < best.tried.moved:
                best = Quantised(onnx.load(made), kept, len(front), tried)
            if good(tried):
                break
    assert best is not None
    return best._replace(graph=_described(best.graph, metadata))


def logits_of(path: Path, crops_NHWC: Pixels) -> Logits:
    """A network's logits for some crops, a few at once."""
    run = run_of(onnx_session(path), features=False)
    return np.concatenate([run(crops).logits for crops in _batches(crops_NHWC)])


def _batches(crops_NHWC: Pixels) -> Iterator[Pixels]:
    return (crops_NHWC[at : at + AT_ONCE] for at in range(0, len(crops_NHWC), AT_ONCE))


def _described(graph: onnx.ModelProto, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """A graph that says this of itself, in place."""
    onnx.helper.set_model_props(graph, dict(metadata))
    return graph


def _layers(graph: onnx.ModelProto) -> tuple[list[list[str]], str]:
    """For each layer with weights: the nodes that stand before it; and the name of the last layer."""
    weights, nodes = {tensor.name for tensor in graph.graph.initializer}, graph.graph.node
    at = [n for n, node in enumerate(nodes) if node.op_type in WEIGHTED and weights.intersection(node.input)]
    return [[node.name for node in nodes[:n]] for n in at], nodes[at[-1]].name if at else ""


def _quantise(path: Path, out: Path, crops_NHWC: Pixels, floats: list[str], ranges: Path) -> None:
    """Write the quantised network; the ranges of the tensors are found once and read from then on."""
    from onnxruntime import quantization as ort  # type: ignore[import-untyped]

    class Crops(ort.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = _batches(crops_NHWC)

        def get_next(self) -> dict[str, Pixels] | None:
            batch = next(self.left, None)
            return None if batch is None else {INPUT: batch}

    ort.quantize_static(
        str(path),
        str(out),
        Crops(),
        quant_format=ort.QuantFormat.QDQ,
        op_types_to_quantize=QUANTISED,
        nodes_to_exclude=floats,
        per_channel=True,
        activation_type=ort.QuantType.QUInt8,
        weight_type=ort.QuantType.QInt8,
        calibrate_method=ort.CalibrationMethod.MinMax,
        extra_options={"CalibMovingAverage": True},  # of the batches' extremes: one odd photo widens no range
        calibration_cache_path=ranges,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's and the quantiser's remarks from the user's terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
