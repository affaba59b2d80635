"""An exported network in 8-bit integers: scales are fitted beforehand on photos ("static"), one for each channel.

Rounding at the front of a network is amplified by all that follows: in a MobileNetV2, keeping the first 12 of 53
layers in floating point brought the share of unchanged first guesses from 0.70 to 0.96. So layers are left as they
are from the front on, in steps, until some photos that the scales were not fitted on get nearly the same
probabilities. The last layer, which makes the logits, stays too: it takes no time.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from whichland.images.preprocess import Pixels
from whichland.model.agreement import Agreement, agreement
from whichland.model.engines import Logits
from whichland.model.exported import INPUT, run_of

WEIGHTED = ("Conv", "Gemm", "MatMul")
QUANTISED = [*WEIGHTED, "Add", "Clip", "Relu"]
STEPS = (0, 3, 6, 9, 12, 16, 20)  # layers at the front that stay in floating point
AT_ONCE = 8  # photos; the ranges of all tensors are kept between batches, not the tensors


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """A network in 8-bit integers, and what it was on the photos that the steps were tried on."""

    graph: onnx.ModelProto
    float_layers: int  # at the front
    layers: int
    tried: Agreement


def quantise(
    path: Path,
    fit_NHWC: Pixels,
    try_MHWC: Pixels,
    temperature: float,
    good: Callable[[Agreement], bool],
    metadata: dict[str, str],
) -> Quantised:
    """Quantise the network at `path`, with as few layers in floating point as are `good`.

    The ranges come from the crops to fit; what is good is found on those to try. Where no step is good, the one
    that moves the probabilities least is taken.
    """
    before_MK = logits_of(path, try_MHWC)
    best: Quantised | None = None
    with TemporaryDirectory() as folder, _quiet():
        plain = Path(folder) / "plain.onnx"
        _prepare(path, plain)
        front, last = _layers(onnx.load(plain))
        for kept in (step for step in STEPS if step < max(1, len(front) / 2)):
            made = Path(folder) / f"{kept}.onnx"
            floats = [*front[kept], last]
            _quantise(plain, made, fit_NHWC, floats, Path(folder) / "ranges.json")
            tried = agreement(before_MK, logits_of(made, try_MHWC), temperature)
            if best is None or tried.moved < best.tried.moved:
                graph = onnx.load(made)
                best = Quantised(graph=graph, float_layers=kept, layers=len(front), tried=tried)
            if good(tried):
                break
    assert best is not None
    del best.graph.metadata_props[:]
    for name, value in metadata.items():
        best.graph.metadata_props.add(key=name, value=value)
    return best


def logits_of(path: Path, crops_NHWC: Pixels) -> Logits:
    """A network's logits for some crops, a few at once."""
    run = run_of(path)
    return np.concatenate([run(crops_NHWC[at : at + AT_ONCE]) for at in range(0, len(crops_NHWC), AT_ONCE)])


def _layers(graph: onnx.ModelProto) -> tuple[list[list[str]], str]:
    """For each layer with weights: the nodes that stand before it; and the name of the last layer."""
    weights = {tensor.name for tensor in graph.graph.initializer}
    before: list[list[str]] = []
    names: list[str] = []
    last = ""
    for node in graph.graph.node:
        if node.op_type in WEIGHTED and weights.intersection(node.input):
            before.append(list(names))
            last = node.name
        names.append(node.name)
    return before, last


def _prepare(path: Path, out: Path) -> None:
    """Fold what can be folded and note the shapes, as the quantiser needs it."""
    from onnxruntime.quantization.shape_inference import quant_pre_process  # type: ignore[import-untyped]

    quant_pre_process(str(path), str(out), skip_symbolic_shape=True)


def _quantise(path: Path, out: Path, crops_NHWC: Pixels, floats: Sequence[str], ranges: Path) -> None:
    """Write the quantised network; the ranges of the tensors are found once and read from then on."""
    from onnxruntime.quantization import (  # type: ignore[import-untyped]
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    quantize_static(
        str(path),
        str(out),
        _reader(crops_NHWC),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=QUANTISED,
        nodes_to_exclude=list(floats),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={"CalibMovingAverage": True},  # of the batches' extremes: one odd photo widens no range
        calibration_cache_path=ranges,
    )


def _reader(crops_NHWC: Pixels) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Crops(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[NDArray[np.uint8]] = (
                crops_NHWC[at : at + AT_ONCE] for at in range(0, len(crops_NHWC), AT_ONCE)
            )

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            batch = next(self.left, None)
            return None if batch is None else {INPUT: batch}

    return Crops()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice from the user's terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
