"""Many photos through a bundle: decoded ahead by threads while the model runs, in batches, in order."""

from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from whichland.images.decode import ImageError
from whichland.images.preprocess import Pixels
from whichland.model.batches import decoded_ahead
from whichland.model.runner import Probabilities as Probabilities
from whichland.model.runner import Runner, softmax, torch_runner
from whichland.progress import Progress

if TYPE_CHECKING:
    import torch

    from whichland.model.bundle import Bundle


def predict(
    bundle: "Bundle | Runner",
    uris: Iterable[str | Path],
    *,
    batch_size: int = 32,
    progress: bool = False,
    description: str = "predicting",
) -> Iterator[tuple[str, Probabilities | ImageError]]:
    """Yield (uri, probabilities) for every photo, in input order; for an unreadable one, its error.

    Probabilities are float32 of the length of `bundle.labels` and sum to one; the bundle's calibration
    temperature is applied. A torch model runs where its parameters are: fp32 on a CPU, bf16 autocast on a GPU.
    `uris` may be endless: no more than a few batches are taken from it before their results are asked for.
    """
    runner = bundle if isinstance(bundle, Runner) else torch_runner(bundle)
    total = len(uris) if isinstance(uris, Sized) else None
    batches = decoded_ahead(map(str, uris), runner.preprocess, batch_size)
    with closing(batches), Progress(description, total, show=progress) as shown:
        for names, crops in batches:
            yield from zip(names, _judge(runner, crops), strict=True)
            shown.advance(len(names))


def best_device() -> "torch.device":
    """The first CUDA device where there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _judge(runner: Runner, crops: Sequence[Pixels | ImageError]) -> Iterator[Probabilities | ImageError]:
    """Put the readable crops through the model; errors keep their places."""
    readable = [crop for crop in crops if not isinstance(crop, ImageError)]
    probabilities = iter(runner.probabilities(np.stack(readable)) if readable else ())
    return (crop if isinstance(crop, ImageError) else next(probabilities) for crop in crops)


def probabilities(bundle: "Bundle", crops_BHWC: Pixels, temperature: float = 1.0) -> Probabilities:
    """Softmax of a torch model's logits over `temperature` for uint8 crops: B×K float32."""
    return softmax(torch_runner(bundle).run(crops_BHWC), temperature)
