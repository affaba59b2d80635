"""A torch model as an ONNX graph that takes crops as they are decoded: uint8 pixels in, logits out.

The normalisation stands in the graph. Whoever runs it cannot get it wrong, and a batch of bytes is a quarter of a
batch of floats: normalising in numpy took as long as a third of a small network.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from whichland.errors import UserError
from whichland.images.preprocess import Preprocess
from whichland.model.exported import INPUT, OUTPUT

if TYPE_CHECKING:
    import onnx

LARGEST = 2**31 - 1  # bytes of one protocol buffer; larger models need files beside it


class FromPixels(nn.Module):
    """A model with its normalisation in front: B×H×W×3 uint8 → B×K."""

    scale: Tensor
    shift: Tensor

    def __init__(self, model: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.model = model
        mean, std = torch.tensor(preprocess.mean), torch.tensor(preprocess.std)
        self.register_buffer("scale", (1 / (255 * std)).view(1, 3, 1, 1))
        self.register_buffer("shift", (-mean / std).view(1, 3, 1, 1))

    def forward(self, pixels_BHWC: Tensor) -> Tensor:
        x_BCHW = pixels_BHWC.permute(0, 3, 1, 2).float() * self.scale + self.shift
        return cast(Tensor, self.model(x_BCHW))


def graph_of(model: nn.Module, preprocess: Preprocess, metadata: Mapping[str, str]) -> "onnx.ModelProto":
    """Export a model in evaluation mode, with any number of photos a batch.

    Raises UserError for a model of 2 GB and more, or one that the exporter cannot follow.
    """
    if sum(tensor.nbytes for tensor in model.state_dict().values()) > LARGEST:
        raise UserError("a model of 2 GB and more does not fit into one ONNX file")
    pixels = torch.zeros(2, *preprocess.size, 3, dtype=torch.uint8)
    batch = torch.export.Dim("batch")
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                FromPixels(model, preprocess).eval(),
                (pixels,),
                dynamo=True,
                dynamic_shapes=({0: batch},),
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
    except Exception as error:  # whatever the exporter meets in a model of anybody's making
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"this architecture cannot be exported to ONNX ({reason})") from None
    assert program is not None
    graph = program.model_proto
    for name, value in metadata.items():
        graph.metadata_props.add(key=name, value=value)
    return graph


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about torch's own code from the user's terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
