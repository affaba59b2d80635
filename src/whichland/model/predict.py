"""Many photos through a bundle: decoded ahead by threads while the model runs, in batches, in order."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from whichland.allocator import keep_freed_memory
from whichland.images.decode import ImageError, load
from whichland.images.preprocess import Pixels, Preprocess
from whichland.model.bundle import Bundle
from whichland.progress import Progress

DECODE_THREADS = 2
BATCHES_AHEAD = 3  # decoded crops that wait, in batches; with the model's own batch this bounds the memory

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
    pool = ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode")
    try:
        with Progress(description, total, show=progress) as shown:
            for names, crops in _decoded(pool, bundle.preprocess, map(str, uris), batch_size):
                yield from zip(names, _judge(bundle, crops, temperature), strict=True)
                shown.advance(len(names))
    finally:
        pool.shutdown(cancel_futures=True)


def best_device() -> torch.device:
    """The first CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _decoded(
    pool: ThreadPoolExecutor, preprocess: Preprocess, uris: Iterator[str], batch_size: int
) -> Iterator[tuple[list[str], list[Pixels | ImageError]]]:
    """Yield batches of (uris, crops), while the next ones are already being decoded."""
    waiting: deque[tuple[list[str], list[Future[Pixels | ImageError]]]] = deque()

    def submit() -> None:
        if names := list(islice(uris, batch_size)):
            waiting.append((names, [pool.submit(_crop, preprocess, name) for name in names]))

    for _ in range(BATCHES_AHEAD):
        submit()
    while waiting:
        names, futures = waiting.popleft()
        crops = [future.result() for future in futures]
        submit()
        yield names, crops


def _crop(preprocess: Preprocess, uri: str) -> Pixels | ImageError:
    try:
        return preprocess.crop(load(uri, short_side=preprocess.short_side))
    except ImageError as error:
        return error


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
