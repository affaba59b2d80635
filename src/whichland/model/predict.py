"""Many photos through a bundle: decoded ahead by threads while the model runs, in batches, in order."""

from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from whichland.allocator import keep_freed_memory
from whichland.images.decode import ImageError
from whichland.images.preprocess import Pixels
from whichland.model.batches import decoded_ahead
from whichland.model.bundle import Bundle
from whichland.progress import Progress

Odds = NDArray[np.float32]  # one probability a label, in the order of `bundle.labels`


def predict(
    bundle: Bundle,
    uris: Iterable[str | Path],
    *,
    batch_size: int = 32,
    progress: bool = False,
    description: str = "predicting",
) -> Iterator[tuple[str, Odds | ImageError]]:
    """Yield (uri, probabilities) for every photo, in input order; for an unreadable one, its error.

    Probabilities are float32 of the length of `bundle.labels` and sum to one; the bundle's calibration
    temperature is applied. The model runs where its parameters are: fp32 on a CPU, bf16 autocast on a GPU.
    `uris` may be endless: no more than a few batches are taken from it before their results are asked for.
    The process keeps the memory it frees from then on (see `allocator`).
    """
    keep_freed_memory()
    total = len(uris) if isinstance(uris, Sized) else None
    temperature = float(bundle.info.get("temperature", 1.0))
    bundle.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = decoded_ahead(map(str, uris), bundle.preprocess, batch_size)
    with closing(batches), Progress(description, total, show=progress) as shown:
        for names, crops in batches:
            yield from zip(names, _judge(bundle, crops, temperature), strict=True)
            shown.advance(len(names))


def best_device() -> torch.device:
    """The first CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _judge(
    bundle: Bundle, crops: Sequence[Pixels | ImageError], temperature: float
) -> Iterator[Odds | ImageError]:
    """Put the readable crops through the model; errors keep their places."""
    readable = [crop for crop in crops if not isinstance(crop, ImageError)]
    odds = iter(probabilities(bundle, np.stack(readable), temperature) if readable else ())
    return (crop if isinstance(crop, ImageError) else next(odds) for crop in crops)


@torch.inference_mode()
def probabilities(bundle: Bundle, crops_BHWC: Pixels, temperature: float = 1.0) -> Odds:
    """Softmax of the model's logits over `temperature` for uint8 crops: B×K float32."""
    device = next(bundle.model.parameters()).device
    # normalise gives a transposed view, which is channels_last already
    x_BCHW = torch.from_numpy(bundle.preprocess.normalise(crops_BHWC)).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        logits_BK = bundle.model(x_BCHW)
    odds: Odds = torch.softmax(logits_BK.float() / temperature, dim=1).cpu().numpy()
    return odds
